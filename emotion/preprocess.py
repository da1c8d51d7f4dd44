"""Face crops to the network's input tensor. Training evaluates through this very function."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from emotion.weights import ModelSpec

Crop = NDArray[np.uint8]


def preprocess(crops: Sequence[Crop], spec: ModelSpec) -> torch.Tensor:
    """Turn face crops into one batch for the network.

    A crop larger than ``spec.source_size`` is first reduced to it by area averaging: the
    network has only seen faces with that much detail, and a sharper one would be a stranger.

    Args:
        crops: N arrays, each (S, S, 3) RGB uint8 or (S, S) grey uint8; sides may differ
            between crops.
        spec: of the model that will see them.

    Returns:
        (N, 3, input_size, input_size) float32, normalised by the spec's mean and std.

    Raises:
        ValueError: a crop of another shape or dtype.
    """
    size = spec.input_size
    batch = np.empty((len(crops), 3, size, size), np.float32)
    scale = 1.0 / (255.0 * np.asarray(spec.std, np.float32))
    shift = np.asarray(spec.mean, np.float32) / np.asarray(spec.std, np.float32)
    for row, crop in zip(batch, crops, strict=True):
        planes = resample(crop, spec)
        for channel in range(3):
            plane = planes if planes.ndim == 2 else planes[..., channel]
            np.multiply(plane, scale[channel], out=row[channel])
            row[channel] -= shift[channel]
    return torch.from_numpy(batch)


def resample(crop: Crop, spec: ModelSpec) -> Crop:
    """Bring a crop to the spec's colour and size.

    Returns:
        (input_size, input_size) uint8 when the spec is grey, else (..., 3).
    """
    return resize(reduce(crop, spec), spec.input_size)


def resize(crop: Crop, side: int) -> Crop:
    """Scale a square crop: by area averaging when it gets smaller, else cubic."""
    if crop.shape[0] == side:
        return crop
    how = cv2.INTER_AREA if crop.shape[0] > side else cv2.INTER_CUBIC
    return cv2.resize(crop, (side, side), interpolation=how)


def reduce(crop: Crop, spec: ModelSpec) -> Crop:
    """Bring a crop to the spec's colour, and to its source size if it is larger."""
    check_crop(crop)
    if spec.grayscale and crop.ndim == 3:
        crop = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    elif not spec.grayscale and crop.ndim == 2:
        crop = cv2.cvtColor(crop, cv2.COLOR_GRAY2RGB)
    if 0 < spec.source_size < crop.shape[0]:
        side = spec.source_size
        crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return crop


def check_crop(crop: Crop) -> None:
    """Raise ``ValueError`` unless ``crop`` is a square uint8 picture, grey or RGB."""
    shape: tuple[int, ...] = getattr(crop, "shape", ())
    dtype = getattr(crop, "dtype", None)
    square = len(shape) in (2, 3) and shape[0] == shape[1] > 0
    if not square or shape[2:] not in ((), (3,)) or dtype != np.uint8:
        raise ValueError(f"expected a crop (S, S, 3) or (S, S) of uint8, got {shape} {dtype}")
