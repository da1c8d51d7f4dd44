"""Two figures of explanations that need no trial: what a map costs, and what FACS expects."""

import time

import numpy as np
from numpy.typing import NDArray

from emotion.evidence import class_evidence, spread
from emotion.facs import EXPECTED
from emotion.faithfulness import MOST, SIDE
from emotion.images import RGBImage
from emotion.model import EmotionModel
from emotion.regions import OUTSIDE, REGIONS
from emotion.results import FloatArray

ROUNDS = 60


def map_cost(model: EmotionModel, crop: RGBImage) -> dict[str, float]:
    """Time the maps of all labels against the pass through the network that they come from.

    Returns:
        ``forward_ms``, ``maps_ms``: medians of alternating rounds on one face; ``share``: the
        second over the first.
    """
    features, spent = model.features([crop]), np.zeros((2, ROUNDS))
    for i in range(ROUNDS):
        began = time.perf_counter()
        features = model.features([crop])
        middle = time.perf_counter()
        class_evidence(model, features)
        spent[:, i] = middle - began, time.perf_counter() - middle
    forward, maps = (1e3 * float(np.median(row)) for row in spent)
    return {"forward_ms": forward, "maps_ms": maps, "share": maps / forward}


def facs_overlap(
    model: EmotionModel, maps: FloatArray, labels: NDArray[np.int64], regions: NDArray[np.uint8]
) -> dict[str, float | None]:
    """Return how far the hottest fifth of each face is where FACS expects its label's units.

    Args:
        maps: (N, h, w) of each face's own label. labels: (N,). regions: (N, 96, 96) numbers.

    Returns:
        ``mean`` intersection over union over the faces whose label has units, and that by label;
        None where there is no such face. ``chance``: of an area of the same size drawn at random.
    """
    origin, step = model.spec.grid_on_crop()
    names, found, chance = [], [], []
    for evidence, row, numbers in zip(maps, labels, regions, strict=True):
        name = model.spec.labels[row]
        if name not in EXPECTED:
            continue
        wanted = np.isin(numbers, [REGIONS.index(r) for r in EXPECTED[name].regions])
        inside = numbers != OUTSIDE
        laid = np.where(inside, spread(evidence, SIDE, origin=origin, step=step), -np.inf)
        count = max(int(MOST * inside.sum()), 1)
        hot = laid >= np.partition(laid.ravel(), -count)[-count]
        names.append(name)
        found.append(float((hot & wanted).sum() / max((hot | wanted).sum(), 1)))
        share = wanted[inside].mean() if inside.any() else 0.0
        both = share * count
        chance.append(float(both / max(count + wanted.sum() - both, 1)))
    by_label = {
        name: mean([v for n, v in zip(names, found, strict=True) if n == name])
        for name in model.spec.labels
        if name in EXPECTED
    }
    return {"mean": mean(found), "chance": mean(chance), **by_label}


def mean(values: list[float]) -> float | None:
    """Return the mean; None of nothing."""
    return float(np.mean(values)) if values else None
