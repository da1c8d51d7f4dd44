"""Accuracy on damaged and differently cut faces, beside that on the faces as they are."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from emotion.preprocess import Crop
from train.corruptions import CORRUPTIONS, STRENGTHS, corrupt, framings, reframe

Change = Callable[[Crop, int], Crop]
"""Takes a crop and the face's index in its data set."""


def changes() -> dict[tuple[str, int], Change]:
    """Return all changes by kind and strength; a framing has strength 0."""
    found: dict[tuple[str, int], Change] = {
        (kind, s): partial(damage, kind, s) for kind in CORRUPTIONS for s in STRENGTHS
    }
    for name, framing in framings().items():
        found[name, 0] = partial(cut, framing)
    return found


def damage(kind: str, strength: int, crop: Crop, index: int) -> Crop:
    """Call :func:`train.corruptions.corrupt` with what varies last."""
    return corrupt(crop, kind, strength=strength, index=index)


def cut(framing: tuple[float, float, float], crop: Crop, index: int) -> Crop:
    """Call :func:`train.corruptions.reframe`; the index makes no difference."""
    return reframe(crop, *framing)


def robustness(accuracy: Callable[[Change], float], clean: float) -> dict[str, Any]:
    """Measure every change.

    Args:
        accuracy: of the model on its faces after a change. clean: the same without one.

    Returns:
        ``corruptions``: the accuracies at strength 1, 2, 3 by kind; ``corruption_mean`` of them
        all, and ``corruption_relative``, its share of the clean accuracy (None if that is 0);
        ``framings``: accuracy by name; ``framing_worst``: the name of the lowest, and
        ``framing_gap``: clean less lowest.
    """
    found = {key: accuracy(change) for key, change in changes().items()}
    corruptions = {kind: [found[kind, s] for s in STRENGTHS] for kind in CORRUPTIONS}
    framed = {name: found[name, 0] for name in framings()}
    mean = float(np.mean(list(corruptions.values())))
    worst = min(framed, key=lambda name: framed[name])
    return {
        "corruptions": corruptions,
        "corruption_mean": mean,
        "corruption_relative": mean / clean if clean else None,
        "framings": framed,
        "framing_worst": worst,
        "framing_gap": clean - framed[worst],
    }
