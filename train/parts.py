"""Faces with a part hidden, so that a network learns evidence which hiding bears out.

The evidence of a cell is exact as a summand of the logit. That alone does not mean that the face
under the cell caused it: a deep cell sees most of the face. With ``faithful`` above 0 a run also
learns that a logit falls, when a part of the face is hidden, by the evidence that lies on the part.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from emotion.evidence import spread_kernel
from emotion.faithfulness import INFILLS, hide
from emotion.geometry import Matrix
from emotion.images import RGBImage
from emotion.landmarks import HOG_BOX, find_landmarks
from emotion.preprocess import Crop
from emotion.regions import crop_landmarks, region_map
from emotion.results import Face
from emotion.weights import ModelSpec

ENLARGED = 192
"""Side in pixels at which the landmarks of a face are looked for."""
UNIT: Matrix = np.array([[1.0 / ENLARGED, 0, 0], [0, 1.0 / ENLARGED, 0]])
ALIKE = 0.05
"""Weight of the correlation of two maps, beside gaps in logits."""
BETA = 0.3
"""Gap in logits below which the loss is quadratic: small parts count as well as large ones."""
BLOBS = 0.25
"""Share of the faces of which an ellipse is hidden anywhere, and no named part."""


def as_rgb(crop: Crop, side: int) -> RGBImage:
    """Return a crop as (side, side, 3) uint8."""
    colour = crop if crop.ndim == 3 else np.repeat(crop[..., None], 3, 2)
    how = cv2.INTER_AREA if len(crop) > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(colour, (side, side), interpolation=how), np.uint8)


def region_numbers(crops: Sequence[Crop], side: int) -> NDArray[np.uint8]:
    """Return the number of the region at each pixel of faces, (N, side, side).

    The crops of a data set are framed as the app frames a face, so dlib's predictor is given the
    place where its box lies on average; no detector is needed.
    """
    box = (HOG_BOX * ENLARGED).astype(np.float32)
    out = np.empty((len(crops), side, side), np.uint8)
    for row, crop in zip(out, crops, strict=True):
        found = find_landmarks(as_rgb(crop, ENLARGED), Face(box=box, score=0.0))
        row[:] = region_map(crop_landmarks(Face(box, 0.0, found), UNIT), side)
    return out


def with_hidden(images: torch.Tensor, numbers: NDArray[np.uint8]) -> torch.Tensor:
    """Hide a part of each face.

    Args:
        images: (N, 1, s, s) float32 in [0, 1]. numbers: (N, s, s) uint8, of the regions.

    Returns:
        (N, 3, s, s) float32 in [0, 1]: the face, the face with a part hidden, and the part. What
        turns and moves these three together keeps them in step.
    """
    rng = np.random.default_rng(int(torch.randint(2**31, ())))
    faces = images[:, 0].mul(255).round().byte().cpu().numpy()
    out = []
    for face, regions in zip(faces, numbers, strict=True):
        mask = random_part(regions, rng)
        hidden = hide(face, mask, INFILLS[rng.integers(len(INFILLS))])
        out.append(np.stack([face, hidden, np.where(mask, np.uint8(255), np.uint8(0))]))
    return torch.from_numpy(np.stack(out)).to(images.device).float().div_(255)


def random_part(regions: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw what to hide: one or two regions, or an ellipse somewhere; (s, s) bool, never all."""
    side = len(regions)
    if rng.random() < BLOBS:
        centre = rng.uniform(0.15, 0.85, 2) * side
        axes = rng.uniform(0.08, 0.28, 2) * side
        turn = rng.uniform(0, np.pi)
        offset = np.mgrid[:side, :side] - centre[:, None, None]
        u = np.cos(turn) * offset[0] + np.sin(turn) * offset[1]
        v = np.cos(turn) * offset[1] - np.sin(turn) * offset[0]
        return np.asarray((u / axes[0]) ** 2 + (v / axes[1]) ** 2 <= 1)
    present = np.unique(regions)
    chosen = rng.choice(present, min(1 + int(rng.random() < 0.15), len(present) - 1), replace=False)
    return np.isin(regions, chosen) if len(present) > 1 else np.zeros(regions.shape, bool)


def unfaithfulness(
    features: torch.Tensor, masks: torch.Tensor, head: torch.nn.Linear, spec: ModelSpec
) -> torch.Tensor:
    """Compare the evidence on a hidden part with what hiding it did to the logits.

    Args:
        features: (2N, K, h, w) float32, of N faces and then of the same with a part hidden.
        masks: (N, S, S) float32 in [0, 1], the hidden parts at the size of the input.
        head: the linear layer behind the average pool. spec: says where the cells lie.

    Returns:
        A scalar: the mean distance (smooth L1) between the two, over faces and classes, without
        what is common to all classes; and :data:`ALIKE` times the correlation, where above 0, of
        the maps of each face's two likeliest labels, since two answers need two reasons.
    """
    before, after = features[: len(masks)], features[len(masks) :]
    origin, step = spec.grid_on_crop()
    rows, columns = (
        torch.tensor(spread_kernel(cells, masks.shape[-1], origin=origin, step=step))
        for cells in features.shape[2:]
    )
    shares = rows.to(masks.device) @ masks @ columns.T.to(masks.device)
    weight = head.weight.float()
    evidence = (before * shares[:, None]).mean((2, 3)) @ weight.T
    drops = (before - after).mean((2, 3)) @ weight.T
    gap = drops - evidence
    gap = gap - gap.mean(1, keepdim=True)
    distance = F.smooth_l1_loss(gap, torch.zeros_like(gap), beta=BETA)
    return distance + ALIKE * likeness(before, head, len(spec.labels))


def likeness(features: torch.Tensor, head: torch.nn.Linear, labels: int) -> torch.Tensor:
    """Return the mean correlation, where above 0, of the maps of the two likeliest labels."""
    weight = head.weight.float()[:labels]
    likeliest = (features.mean((2, 3)) @ weight.T + head.bias.float()[:labels]).topk(2, 1).indices
    maps = torch.einsum("nlk,nkp->nlp", weight[likeliest], features.flatten(2))
    centred = maps - maps.mean(2, keepdim=True)
    correlation: torch.Tensor = F.cosine_similarity(centred[:, 0], centred[:, 1], dim=1)
    return correlation.relu().mean()
