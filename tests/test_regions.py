"""Regions divide the crop without gap or overlap, and the sentence says what they hold."""

from dataclasses import replace

import numpy as np
import pytest

from emotion.landmarks import MEAN_FACE, YUNET_FIVE
from emotion.regions import MASK_SIZE, REGIONS, crop_landmarks, describe, region_map, region_masks
from emotion.results import Explanation, Face, Prediction

BOX = np.zeros(4, np.float32)


def centre(masks: np.ndarray, name: str) -> np.ndarray:
    """Centre (x, y) of a region in crop units."""
    rows, columns = np.nonzero(masks[REGIONS.index(name)])
    return (np.array([columns.mean(), rows.mean()]) + 0.5) / masks.shape[-1]


def shapes() -> list[np.ndarray]:
    """Landmarks as they come, shaken, turned, and beyond all reason."""
    rng = np.random.default_rng(0)
    shaken = [MEAN_FACE + rng.normal(0, sigma, (68, 2)) for sigma in (0.01, 0.05, 0.3, 5)]
    turned = [(MEAN_FACE - 0.5) @ np.array([[0, 1], [-1, 0]]) + 0.5, 1 - MEAN_FACE]
    points = [np.full((68, 2), value) for value in (0.0, 0.5, 1.0, -3.0, 1e4)]
    line = np.linspace([0, 0], [1, 1], 68)
    return [MEAN_FACE, *shaken, *turned, *points, line, MEAN_FACE * 20, MEAN_FACE * 0.01]


@pytest.mark.parametrize("points", shapes())
@pytest.mark.parametrize("size", [MASK_SIZE, 7])
def test_each_pixel_is_in_exactly_one_region(points: np.ndarray, size: int) -> None:
    masks = region_masks(points, size)
    assert masks.shape == (len(REGIONS), size, size)
    assert masks.dtype == bool
    assert (masks.sum(0) == 1).all()


def test_mean_face_has_all_regions() -> None:
    masks = region_masks(MEAN_FACE)
    assert (masks.sum((1, 2)) >= 30).all()


def test_left_and_right_are_the_viewers() -> None:
    masks = region_masks(MEAN_FACE)
    for part in ("brow", "eye", "cheek"):
        left, right = centre(masks, f"left {part}"), centre(masks, f"right {part}")
        assert left[0] < 0.5 < right[0]
        assert left[0] + right[0] == pytest.approx(1, abs=0.03)


def test_parts_lie_below_each_other_as_in_a_face() -> None:
    masks = region_masks(MEAN_FACE)
    order = ("forehead", "left brow", "left eye", "left cheek", "mouth", "jaw")
    heights = [centre(masks, name)[1] for name in order]
    assert heights == sorted(heights)
    for corner in (masks[:, 0, 0], masks[:, -1, 0], masks[:, 0, -1], masks[:, -1, -1]):
        assert corner[REGIONS.index("outside")]


def test_landmarks_lie_in_their_region() -> None:
    numbers = region_map(MEAN_FACE, 256)
    for name, points in (("nose", MEAN_FACE[27:36]), ("mouth", MEAN_FACE[48:68])):
        for x, y in (points * 256).astype(int):
            assert REGIONS[numbers[y, x]] == name


def test_masks_follow_a_shift() -> None:
    shift = np.array([4, 6]) / MASK_SIZE  # whole pixels
    masks, moved = region_masks(MEAN_FACE), region_masks(MEAN_FACE + shift)
    mouth = REGIONS.index("mouth")
    np.testing.assert_array_equal(moved[mouth, 6:, 4:], masks[mouth, :-6, :-4])


def test_crop_landmarks_of_sixty_eight_are_mapped() -> None:
    to_crop = np.array([[0.01, 0, 0.1], [0, 0.01, 0.2]])
    pixels = ((MEAN_FACE - [0.1, 0.2]) * 100).astype(np.float32)
    points = crop_landmarks(Face(BOX, 1.0, pixels), to_crop)
    np.testing.assert_allclose(points, MEAN_FACE, atol=1e-5)


def test_crop_landmarks_without_any_are_the_mean_face() -> None:
    np.testing.assert_array_equal(crop_landmarks(Face(BOX, 1.0), np.eye(2, 3)), MEAN_FACE)


def test_crop_landmarks_of_five_move_each_part() -> None:
    five = YUNET_FIVE.copy()
    five[3:, 1] += 0.05  # an open mouth
    five[0, 0] -= 0.02
    points = crop_landmarks(Face(BOX, 1.0, five.astype(np.float32)), np.eye(2, 3))
    np.testing.assert_allclose(points[48:68] - MEAN_FACE[48:68], [[0, 0.05]] * 20, atol=1e-6)
    np.testing.assert_allclose(points[36:42] - MEAN_FACE[36:42], [[-0.02, 0]] * 6, atol=1e-6)
    np.testing.assert_allclose(points[42:48], MEAN_FACE[42:48], atol=1e-6)


def explain(**values: float) -> Explanation:
    """An explanation of two labels; the evidence for the first is given by region."""
    regions = tuple(name.replace("_", " ") for name in values)
    return Explanation(
        labels=("happiness", "fear"),
        evidence=np.zeros((2, 1, 1), np.float32),
        bias=np.zeros(2, np.float32),
        regions=regions,
        region_evidence=np.array([list(values.values()), [0.0] * len(values)], np.float32),
        grid_origin=0.5,
        grid_step=1.0,
        scale=1.0,
    )


PREDICTION = Prediction(
    labels=("happiness", "fear"),
    logits=np.zeros(2, np.float32),
    probabilities=np.array([0.97, 0.03], np.float32),
)


def test_sentence_of_the_requirements() -> None:
    explanation = explain(
        left_brow=-0.5, right_brow=-0.3, left_cheek=0.7, right_cheek=0.5, mouth=3.1, nose=0.05
    )
    assert describe(PREDICTION, explanation) == (
        "Happiness (0.97): mostly the mouth (+3.1) and the cheeks (+1.2); "
        "the brows (-0.8) spoke against it."
    )


def test_sentence_when_nothing_speaks_for_it() -> None:
    explanation = explain(mouth=-1.0, nose=0.02, outside=-0.5)
    assert describe(PREDICTION, explanation) == (
        "Happiness (0.97): no region spoke for it; "
        "the mouth (-1.0) and the area outside the face (-0.5) spoke against it."
    )
    assert describe(PREDICTION, explanation, "fear") == "Fear (0.03): no region spoke for it."


def test_sides_of_opposite_sign_are_named_apart() -> None:
    explanation = explain(left_eye=1.0, right_eye=-0.6, mouth=0.0)
    assert describe(PREDICTION, explanation) == (
        "Happiness (0.97): mostly the left eye (+1.0); the right eye (-0.6) spoke against it."
    )


def test_only_region_is_not_called_most_of_it() -> None:
    assert describe(PREDICTION, explain(mouth=2.0)) == "Happiness (0.97): the mouth (+2.0)."


def test_three_regions_at_most_are_named() -> None:
    explanation = explain(mouth=4.0, nose=3.0, jaw=2.0, forehead=1.5)
    said = describe(PREDICTION, explanation)
    assert said.endswith("mostly the mouth (+4.0), the nose (+3.0) and the jaw (+2.0).")


def test_unknown_label() -> None:
    with pytest.raises(ValueError, match="expected one of happiness, fear"):
        describe(PREDICTION, replace(explain(mouth=1.0)), "joy")
