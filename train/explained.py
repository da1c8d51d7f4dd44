"""Faces with what a model says of them, and the statistics that compare their maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from emotion.evidence import class_evidence
from emotion.faithfulness import SIDE
from emotion.images import RGBImage
from emotion.model import EmotionModel
from emotion.results import FloatArray
from train.parts import as_rgb, region_numbers

BATCH = 256


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """Faces and what the model says of them.

    Attributes:
        crops: N of (96, 96, 3) uint8. regions: (N, 96, 96) uint8, numbers of regions.
        logits: (N, C). maps: (N, C, h, w) evidence. labels: (N,) the label that is named.
    """

    crops: list[RGBImage]
    regions: NDArray[np.uint8]
    logits: FloatArray
    maps: FloatArray
    labels: NDArray[np.int64]

    def chosen(self) -> FloatArray:
        """Return the map of each face's own label, (N, h, w)."""
        out: FloatArray = self.maps[np.arange(len(self.maps)), self.labels]
        return out


def explained(model: EmotionModel, crops: Sequence[NDArray[np.uint8]]) -> Explained:
    """Enlarge faces, find their regions, and ask the model."""
    small = [as_rgb(crop, SIDE) for crop in crops]
    logits, maps = ask(model, small)
    return Explained(small, region_numbers(crops, SIDE), logits, maps, logits.argmax(1))


def ask(model: EmotionModel, crops: Sequence[RGBImage]) -> tuple[FloatArray, FloatArray]:
    """Return logits (N, C) and evidence maps (N, C, h, w) of crops."""
    maps = [
        class_evidence(model, model.features(crops[start : start + BATCH]))
        for start in range(0, len(crops), BATCH)
    ]
    joined: FloatArray = np.concatenate(maps)
    logits: FloatArray = joined.sum((2, 3)) + model.bias.cpu().numpy()
    return logits, joined


def second_labels(logits: FloatArray) -> NDArray[np.int64]:
    """Return the second most probable label of each face."""
    return np.argsort(-logits, 1)[:, 1]


def spearman_rows(
    a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Return Spearman's correlation of each row of two (N, M) arrays; 0 where a row is constant."""
    ranks = [rankdata(values, axis=1) for values in (a, b)]
    centred = [r - r.mean(1, keepdims=True) for r in ranks]
    norms = [np.linalg.norm(r, axis=1) for r in centred]
    shared = (centred[0] * centred[1]).sum(1)
    out: NDArray[np.float64] = shared / np.maximum(norms[0] * norms[1], 1e-12)
    return out


def mean_and_interval(values: NDArray[np.floating[Any]]) -> dict[str, float | None]:
    """Return the mean over faces, and its 95 % interval by the normal approximation.

    Without two faces there is no interval; without any, no mean.
    """
    if len(values) < 2:
        return {"mean": float(values[0]) if len(values) else None, "low": None, "high": None}
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "low": mean - 1.96 * error, "high": mean + 1.96 * error}
