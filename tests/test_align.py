"""A face gives the same crop however it lies in the picture, and maps lead back exactly."""

import cv2
import numpy as np
import pytest

from emotion.align import CROP_SIZE, alignment, warp
from emotion.detect import HogDetector
from emotion.geometry import apply, invert
from emotion.images import RGBImage
from emotion.landmarks import HOG_BOX, MEAN_FACE, YUNET_FIVE, find_landmarks, five_points
from emotion.results import Face, FloatArray

BOX = np.array([179, 83, 267, 171], np.float32)


@pytest.fixture(scope="module")
def landmarks(astronaut: RGBImage, hog: HogDetector) -> FloatArray:
    (face,) = hog.detect(astronaut)
    points = find_landmarks(astronaut, face)
    assert points is not None
    return points


def moved(image: RGBImage, *, angle: float, scale: float) -> tuple[RGBImage, np.ndarray]:
    """The picture turned and scaled about the face, and the matrix that did it."""
    matrix = cv2.getRotationMatrix2D((225, 120), angle, scale)
    matrix[:, 2] += 100
    turned = cv2.warpAffine(image, matrix, (800, 800), borderMode=cv2.BORDER_REPLICATE)
    return turned, matrix


def difference(a: RGBImage, b: RGBImage) -> float:
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("count", [5, 68])
@pytest.mark.parametrize(("angle", "scale"), [(15, 1), (-60, 1.2), (180, 1), (0, 1.7), (90, 0.7)])
def test_turning_and_scaling_the_picture_leaves_the_crop(
    astronaut: RGBImage, landmarks: FloatArray, count: int, angle: float, scale: float
) -> None:
    points = landmarks if count == 68 else five_points(landmarks)
    image, matrix = moved(astronaut, angle=angle, scale=scale)
    crop = warp(astronaut, alignment(Face(BOX, 1.0, points)))
    face = Face(BOX, 1.0, apply(matrix, points).astype(np.float32))
    assert difference(warp(image, alignment(face)), crop) < 4
    assert difference(crop[:, ::-1], crop) > 30  # another crop is far from that


def test_found_again_after_a_turn(
    astronaut: RGBImage, hog: HogDetector, landmarks: FloatArray
) -> None:
    crop = warp(astronaut, alignment(Face(BOX, 1.0, landmarks)))
    image, _ = moved(astronaut, angle=15, scale=1.0)
    (face,) = hog.detect(image)
    found = Face(face.box, face.score, find_landmarks(image, face))
    assert difference(warp(image, alignment(found)), crop) < 12


def test_way_back_is_exact(landmarks: FloatArray) -> None:
    to_unit = alignment(Face(BOX, 1.0, landmarks))
    back = apply(invert(to_unit), apply(to_unit, landmarks))
    np.testing.assert_allclose(back, landmarks, atol=1e-9)


@pytest.mark.parametrize("places", [YUNET_FIVE, MEAN_FACE])
def test_mean_face_fills_the_crop_as_in_training(places: np.ndarray) -> None:
    points = (places * 100 + [20, 30]).astype(np.float32)
    to_unit = alignment(Face(BOX, 1.0, points))
    np.testing.assert_allclose(to_unit, [[0.01, 0, -0.2], [0, 0.01, -0.3]], atol=1e-5)


def test_without_landmarks_the_box_frames_the_face() -> None:
    to_unit = alignment(Face(BOX, 1.0))
    corners = apply(to_unit, BOX.reshape(2, 2))
    np.testing.assert_allclose(corners.reshape(4), HOG_BOX, atol=1e-3)


@pytest.mark.parametrize("count", [5, 68])
@pytest.mark.parametrize("value", [0.0, 150.0, np.nan])
def test_landmarks_at_one_place_are_left_aside(count: int, value: float) -> None:
    face = Face(BOX, 1.0, np.full((count, 2), value, np.float32))
    np.testing.assert_allclose(alignment(face), alignment(Face(BOX, 1.0)), atol=1e-3)


def test_crop_shows_the_pixels_that_the_matrix_names() -> None:
    # Each pixel holds its own coordinates; the crop must hold those that to_crop maps there.
    rows, columns = np.mgrid[:200, :200].astype(np.uint8)
    image = np.stack([columns, rows, rows], 2)
    # In the picture a whole number is a pixel's centre, in the crop 0 is the outer edge.
    to_unit = np.array([[1 / 96, 0, -49.5 / 96], [0, 1 / 96, -19.5 / 96]])
    crop = warp(image, to_unit, 96)
    np.testing.assert_array_equal(crop, image[20:116, 50:146])


def test_shrinking_averages() -> None:
    # Stripes of one pixel: picked pixels would be black or white, averaged ones are grey.
    image = np.zeros((768, 768, 3), np.uint8)
    image[:, ::2] = 255
    crop = warp(image, np.array([[1 / 768, 0, 0], [0, 1 / 768, 0]]))
    assert crop.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert np.abs(crop[:, 2:-2].astype(int) - 128).max() < 20


def test_face_at_the_border_continues_the_edge() -> None:
    image = np.full((40, 40, 3), (10, 20, 30), np.uint8)
    crop = warp(image, alignment(Face(np.array([0, 0, 30, 40], np.float32), 1.0)))
    assert (crop == [10, 20, 30]).all()


def test_one_pixel() -> None:
    face = Face(np.array([0, 0, 1, 1], np.float32), 1.0)
    assert warp(np.zeros((1, 1, 3), np.uint8), alignment(face)).shape == (CROP_SIZE,) * 2 + (3,)
