"""What the network is fed: computed here a second time, step by step."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from emotion.model import EmotionModel
from emotion.preprocess import preprocess
from emotion.weights import ModelSpec


@pytest.fixture
def spec(model: EmotionModel) -> ModelSpec:
    return replace(model.spec, input_size=128, source_size=48, grayscale=True)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def normalise(planes: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """(S, S, 3) uint8 to (3, S, S), by the definition of mean and std."""
    values = planes.astype(np.float64) / 255
    return ((values - spec.mean) / spec.std).transpose(2, 0, 1)


def test_training_face_is_enlarged_and_normalised(spec: ModelSpec) -> None:
    face = noise(48, 48)
    enlarged = cv2.resize(face, (128, 128), interpolation=cv2.INTER_CUBIC)
    expected = normalise(enlarged[..., None].repeat(3, 2), spec)
    batch = preprocess([face], spec)
    assert batch.dtype == torch.float32
    assert batch.shape == (1, 3, 128, 128)
    np.testing.assert_allclose(batch[0].numpy(), expected, atol=1e-6)


def test_large_crop_is_first_reduced_to_the_training_detail(spec: ModelSpec) -> None:
    crop = noise(192, 192)
    small = cv2.resize(crop, (48, 48), interpolation=cv2.INTER_AREA)
    assert torch.equal(preprocess([crop], spec), preprocess([small], spec))
    # The mean of each 4 x 4 block, so nothing aliases.
    blocks = crop.reshape(48, 4, 48, 4).mean((1, 3))
    assert np.abs(small - blocks).max() <= 0.5 + 1e-6


def test_source_size_zero_keeps_the_detail(spec: ModelSpec) -> None:
    crop = noise(192, 192)
    sharp = preprocess([crop], replace(spec, source_size=0))
    assert sharp.std() > 1.5 * preprocess([crop], spec).std()


def test_crop_of_input_size_is_not_resampled(spec: ModelSpec) -> None:
    crop = noise(128, 128, 3)
    batch = preprocess([crop], replace(spec, source_size=0, grayscale=False))
    np.testing.assert_allclose(batch[0].numpy(), normalise(crop, spec), atol=1e-6)


def test_grey_spec_takes_luma_of_colour(spec: ModelSpec) -> None:
    # Red and green differ, so swapped channels would show.
    crop = np.full((48, 48, 3), (200, 50, 10), np.uint8)
    luma = round(0.299 * 200 + 0.587 * 50 + 0.114 * 10)
    grey = np.full((48, 48), luma, np.uint8)
    assert torch.equal(preprocess([crop], spec), preprocess([grey], spec))


def test_colour_spec_repeats_grey(spec: ModelSpec) -> None:
    face = noise(48, 48)
    colour = replace(spec, grayscale=False)
    assert torch.equal(preprocess([face], colour), preprocess([face], spec))


def test_batch_of_mixed_crops_equals_one_by_one(spec: ModelSpec) -> None:
    crops = [noise(48, 48), noise(192, 192, 3), noise(1, 1), noise(128, 128, 3)]
    batch = preprocess(crops, spec)
    for row, crop in zip(batch, crops, strict=True):
        assert torch.equal(row, preprocess([crop], spec)[0])


def test_no_crops_give_an_empty_batch(spec: ModelSpec) -> None:
    assert preprocess([], spec).shape == (0, 3, 128, 128)


def test_crops_are_not_changed(spec: ModelSpec) -> None:
    crop = noise(128, 128, 3)
    before = crop.copy()
    preprocess([crop], replace(spec, source_size=0, grayscale=False)).zero_()
    np.testing.assert_array_equal(crop, before)


@pytest.mark.parametrize(
    "crop",
    [
        noise(48, 40),
        noise(48, 48, 4),
        noise(48, 48, 1),
        noise(1, 48, 48, 3),
        noise(48),
        np.zeros((0, 0), np.uint8),
        np.zeros((48, 48), np.float32),
        np.full((48, 48), np.nan),
        [[0]],
        None,
    ],
)
def test_bad_crops(crop: object, spec: ModelSpec) -> None:
    with pytest.raises(ValueError, match="expected a crop"):
        preprocess([crop], spec)  # type: ignore[list-item]
