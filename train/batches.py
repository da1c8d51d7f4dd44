"""Faces in the order of an epoch, as batches of tensors."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from emotion.labels import FER2013
from emotion.preprocess import reduce, resize
from emotion.weights import ModelSpec
from train.config import FitConfig
from train.datasets import FaceDataset


def seed_of(config: FitConfig, epoch: int) -> int:
    """Return the seed from which all randomness of an epoch follows, so that it can be repeated."""
    return config.seed * 100_003 + epoch


def epoch_order(faces: FaceDataset, config: FitConfig, epoch: int) -> NDArray[np.int64]:
    """Return the shuffled indices of one epoch, faces of rare classes more than once.

    A class with a share f of the faces below ``config.balance`` = t is repeated sqrt(t / f)
    times, whole repeats always and the rest by chance.

    Source: repeat-factor sampling, Gupta et al., LVIS, CVPR 2019, arXiv:1908.03195.
    """
    generator = torch.Generator().manual_seed(seed_of(config, epoch))
    shares = faces.targets.mean(0)
    factors = np.sqrt(np.maximum(1.0, config.balance / np.maximum(shares, 1e-9)))
    wanted = factors[faces.targets.argmax(1)]
    chance = torch.rand(len(faces), generator=generator).numpy()
    repeats = np.floor(wanted + chance).astype(np.int64)
    order = np.repeat(np.arange(len(faces)), repeats)
    return order[torch.randperm(len(order), generator=generator).numpy()]


def batches(
    faces: FaceDataset, spec: ModelSpec, config: FitConfig, order: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor, torch.Tensor]]:
    """Yield (index, images, targets): (N,), (N, C, s, s) float32 in [0, 1], (N, K) float32.

    The index says which faces they are. Images have the side ``spec.source_size`` (or the input's
    where that is 0); targets are those of :func:`all_targets`.
    """
    side = spec.source_size or spec.input_size
    targets = all_targets(faces, config)
    # Batch norm cannot learn from a last batch of one face, so an incomplete one is left out.
    for start in range(0, max(len(order) - config.batch_size, 0) + 1, config.batch_size):
        index = order[start : start + config.batch_size]
        stack = np.stack([resize(reduce(faces.crops[i], spec), side) for i in index])
        yield index, to_float(stack), torch.from_numpy(targets[index])


def all_targets(faces: FaceDataset, config: FitConfig) -> NDArray[np.float32]:
    """Return the targets of all outputs: FER+'s eight, then FER2013's seven if they are learnt.

    A row of seven zeros stands for a face without such a label.
    """
    if not config.fer2013:
        return faces.targets
    rows = np.vstack([np.eye(len(FER2013)), np.zeros(len(FER2013))]).astype(np.float32)
    return np.hstack([faces.targets, rows[faces.fer2013]])


def to_float(stack: NDArray[np.uint8]) -> torch.Tensor:
    """Turn (N, S, S) or (N, S, S, 3) uint8 into (N, C, S, S) float32 in [0, 1]."""
    images = torch.from_numpy(stack).float().div_(255)
    return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)


def enlarge(images: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Bring (N, C, s, s) in [0, 1] to the input size by the code that serves.

    It rounds to 8 bits as a picture file does, and a face that was not degraded reaches the
    network exactly as it will when the model is used.
    """
    if images.shape[-1] == spec.input_size:
        return images
    faces = images.mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    faces = np.ascontiguousarray(faces[..., 0] if faces.shape[-1] == 1 else faces)
    return to_float(np.stack([resize(face, spec.input_size) for face in faces])).to(images.device)
