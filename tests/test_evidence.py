"""The evidence is exact: it sums to the logit and equals Grad-CAM."""

import numpy as np
import pytest
import torch

from emotion.cam import CamExplainer
from emotion.classify import predictions
from emotion.evidence import class_evidence, share_by_region, spread, spread_kernel
from emotion.images import RGBImage
from emotion.landmarks import MEAN_FACE
from emotion.model import EmotionModel
from emotion.regions import region_masks


@pytest.fixture(scope="module")
def crops(face_tile: RGBImage) -> list[np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    return [face_tile, face_tile[40:180, 30:170].copy(), noise, np.zeros((9, 9, 3), np.uint8)]


def test_maps_and_bias_sum_to_the_logits(model: EmotionModel, crops: list[np.ndarray]) -> None:
    features = model.features(crops)
    maps = class_evidence(model, features)
    assert maps.shape == (len(crops), 8, 7, 7)
    assert maps.dtype == np.float32
    for answer, evidence in zip(predictions(model, features), maps, strict=True):
        total = evidence.sum((1, 2)) + model.bias.numpy()
        error = np.abs(total - answer.logits)
        assert (error <= 1e-4 * np.maximum(1, np.abs(answer.logits))).all()


@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
def test_maps_equal_grad_cam_before_normalising(
    model: EmotionModel, crops: list[np.ndarray], method: str
) -> None:
    explainer = CamExplainer(model)
    maps = class_evidence(model, model.features(crops[:1]))[0]
    for label, expected in zip(model.spec.labels, maps, strict=True):
        found = explainer.explain(crops[0], label, method=method).map
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_difference_of_two_maps_explains_the_margin(
    model: EmotionModel, crops: list[np.ndarray]
) -> None:
    features = model.features(crops[:1])
    maps, answer = class_evidence(model, features)[0], predictions(model, features)[0]
    margin = answer.logits[1] - answer.logits[0]
    bias = float(model.bias[1] - model.bias[0])
    assert (maps[1] - maps[0]).sum() + bias == pytest.approx(margin, abs=1e-4)


def test_no_faces_have_no_maps(model: EmotionModel) -> None:
    assert class_evidence(model, torch.empty(0, 256, 1, 1)).shape == (0, 8, 1, 1)


@pytest.mark.parametrize("size", [7, 64, 96, 191])
def test_spread_keeps_the_sum(size: int) -> None:
    maps = np.random.default_rng(1).normal(size=(8, 7, 7)).astype(np.float32)
    laid = spread(maps, size, origin=15.5 / 128, step=16 / 128)
    assert laid.shape == (8, size, size)
    np.testing.assert_allclose(laid.sum((1, 2)), maps.sum((1, 2)), atol=1e-4)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 3), (2, 6)])
def test_spread_puts_a_cell_at_its_place(row: int, column: int) -> None:
    cell = np.zeros((7, 7), np.float32)
    cell[row, column] = 1
    laid = spread(cell, 128, origin=15.5 / 128, step=16 / 128)
    peak = np.unravel_index(laid.argmax(), laid.shape)
    assert peak == (15 + 16 * row, 15 + 16 * column)
    assert laid.min() == 0


def test_kernel_rows_sum_to_one_and_overlap_only_neighbours() -> None:
    kernel = spread_kernel(7, 64, origin=15.5 / 128, step=16 / 128)
    np.testing.assert_allclose(kernel.sum(1), 1, atol=1e-6)
    assert (kernel[0] * kernel[2] == 0).all()
    assert (kernel[0] * kernel[1]).sum() > 0


@pytest.mark.parametrize(("origin", "step"), [(-0.5, 0.1), (0.1, 0.5), (1.2, 0.1)])
def test_cells_beside_the_crop_are_refused(origin: float, step: float) -> None:
    with pytest.raises(ValueError, match="do not all lie on the crop"):
        spread_kernel(7, 64, origin=origin, step=step)


def test_shares_equal_the_maps_laid_out_and_cut(model: EmotionModel) -> None:
    maps = np.random.default_rng(2).normal(size=(8, 7, 7)).astype(np.float32)
    masks = region_masks(MEAN_FACE)
    place = {"origin": 15.5 / 128, "step": 16 / 128}
    shares = share_by_region(maps, masks, **place)
    laid = spread(maps, masks.shape[-1], **place)
    expected = np.stack([(laid * mask).sum((1, 2)) for mask in masks], 1)
    np.testing.assert_allclose(shares, expected, atol=1e-4)
    np.testing.assert_allclose(shares.sum(1), maps.sum((1, 2)), atol=1e-4)
