"""The landmarks lie on the parts of the face that they are named after."""

import numpy as np
import pytest

from emotion.detect import HogDetector, YunetDetector
from emotion.images import RGBImage
from emotion.landmarks import MEAN_FACE, YUNET_FIVE, find_landmarks, five_points
from emotion.results import Face, FloatArray

MIRROR = [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46),
    *(39, 38, 37, 36, 41, 40),
    *range(54, 47, -1),
    *range(59, 54, -1),
    *range(64, 59, -1),
    *range(67, 64, -1),
]
"""Which landmark each becomes in a mirror."""


def test_mean_face_is_symmetric_and_in_order() -> None:
    assert MEAN_FACE.shape == (68, 2)
    np.testing.assert_allclose(MEAN_FACE[MIRROR] * [-1, 1] + [1, 0], MEAN_FACE, atol=2e-3)
    left_eye, right_eye, nose, left_mouth, right_mouth = five_points(MEAN_FACE)
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < left_mouth[1] < MEAN_FACE[8, 1]
    assert left_mouth[0] < right_mouth[0]


def test_yunets_points_are_near_the_mean_faces() -> None:
    np.testing.assert_allclose(YUNET_FIVE, five_points(MEAN_FACE), atol=0.05)


@pytest.fixture(params=["hog", "yunet"])
def found(request: pytest.FixtureRequest, astronaut: RGBImage) -> FloatArray:
    (face,) = request.getfixturevalue(request.param).detect(astronaut)
    points = find_landmarks(astronaut, face)
    assert points is not None
    return points


def test_landmarks_of_a_known_face(found: FloatArray) -> None:
    assert found.shape == (68, 2)
    assert found.dtype == np.float32
    # Read off the photograph by eye: eyes, nose tip, mouth corners.
    expected = [[203, 102], [247, 104], [224, 126], [202, 140], [244, 141]]
    np.testing.assert_allclose(five_points(found), expected, atol=6)


def test_both_detectors_lead_to_the_same_landmarks(
    astronaut: RGBImage, hog: HogDetector, yunet: YunetDetector
) -> None:
    points = [find_landmarks(astronaut, d.detect(astronaut)[0]) for d in (hog, yunet)]
    assert np.abs(points[0] - points[1]).mean() < 4


@pytest.mark.parametrize("value", [0.0, 100.0, np.nan])
def test_five_points_at_one_place_fall_back_to_the_box(astronaut: RGBImage, value: float) -> None:
    box = np.array([179, 83, 267, 171], np.float32)
    collapsed = find_landmarks(astronaut, Face(box, 1.0, np.full((5, 2), value, np.float32)))
    np.testing.assert_array_equal(collapsed, find_landmarks(astronaut, Face(box, 1.0)))


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [0, 0, 512, 512], [500, 500, 512, 512]])
def test_any_box_gives_points(astronaut: RGBImage, box: list[float]) -> None:
    points = find_landmarks(astronaut, Face(np.array(box, np.float32), 1.0))
    assert points is not None
    assert np.isfinite(points).all()
