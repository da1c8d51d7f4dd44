"""Which cells of the feature map each logit comes from: exact, for all classes, for free.

With a global average pool and one linear layer, the logit of class c is

    y_c = b_c + sum_ij (1/hw) sum_k w_ck A_kij

so M_c = (1/hw) sum_k w_ck A_k is a map whose cells and b_c sum to the logit. Before any
normalising it equals Grad-CAM and HiResCAM at that layer. It needs the features that the
classification has computed anyway: no backward pass, no hooks.

Source: Zhou et al., CVPR 2016 (CAM); Selvaraju et al., ICCV 2017 (Grad-CAM); Draelos & Carin,
arXiv:2011.08891 (when they agree and are faithful).
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from emotion.model import EmotionModel
from emotion.results import FloatArray


def class_evidence(model: EmotionModel, features: torch.Tensor) -> FloatArray:
    """Return the maps of all classes.

    Args:
        features: (N, K, h, w) float32, from :meth:`EmotionModel.features`.

    Returns:
        (N, C, h, w) float32, signed, in logits; a map and the bias sum to the logit.
    """
    height, width = features.shape[2:]
    with torch.inference_mode():
        maps = torch.matmul(model.weight / (height * width), features.flatten(2))
    out: FloatArray = maps.cpu().numpy().reshape(len(features), len(model.weight), height, width)
    return out


@lru_cache(maxsize=32)
def spread_kernel(cells: int, size: int, *, origin: float, step: float) -> FloatArray:
    """Return how one row of cells is laid over one row of pixels.

    Each cell becomes a tent as wide as the distance to its neighbours, and sums to 1 over
    the pixels: nothing of it is lost at the border.

    Args:
        cells: in a row of the map. size: pixels in a row of the crop.
        origin, step: centre of the first cell, distance of centres, as fractions of the crop.

    Returns:
        (cells, size) float32, rows sum to 1; read-only, since calls share it.
    """
    centres = origin + step * np.arange(cells)
    pixels = (np.arange(size) + 0.5) / size
    tents = np.maximum(1 - np.abs(pixels - centres[:, None]) / step, 0)
    total = tents.sum(1, keepdims=True)
    if not (total > 0).all():
        raise ValueError(f"cells at {centres} do not all lie on the crop")
    kernel = (tents / total).astype(np.float32)
    kernel.flags.writeable = False
    return kernel


def spread(evidence: FloatArray, size: int, *, origin: float, step: float) -> FloatArray:
    """Lay maps (..., h, w) over a crop: (..., size, size) float32 with the same sums."""
    rows = spread_kernel(evidence.shape[-2], size, origin=origin, step=step)
    columns = spread_kernel(evidence.shape[-1], size, origin=origin, step=step)
    out: FloatArray = np.matmul(np.matmul(rows.T, evidence), columns)
    return out


def share_by_region(
    evidence: FloatArray, masks: NDArray[np.bool_], *, origin: float, step: float
) -> FloatArray:
    """Sum evidence over regions of the crop.

    Args:
        evidence: (C, h, w). masks: (R, S, S), each pixel in exactly one region.
        origin, step: see :func:`spread_kernel`.

    Returns:
        (C, R) float32; rows sum to what the maps sum to.
    """
    size = masks.shape[-1]
    rows = spread_kernel(evidence.shape[-2], size, origin=origin, step=step)
    columns = spread_kernel(evidence.shape[-1], size, origin=origin, step=step)
    # Which share of each cell falls on each region: masks are cut down to the grid, which is
    # far less work than blowing every map up to the pixels.
    shares = np.matmul(np.matmul(rows, masks.astype(np.float32)), columns.T)
    out: FloatArray = evidence.reshape(len(evidence), -1) @ shares.reshape(len(masks), -1).T
    return out
