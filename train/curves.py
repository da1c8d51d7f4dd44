"""ROC and precision-recall curves, each class against all others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from train.metrics import Labels

POINTS = 200
"""As many points of a curve are kept; more cannot be seen."""

Points = list[list[float]]


def class_curves(
    probabilities: NDArray[np.float64], labels: Labels, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the curves of the classes that some, and not all, of the faces belong to.

    Args:
        probabilities: (N, C). labels: (N,). names: C label names.

    Returns:
        By class name: ``n``, ``roc_auc``, ``average_precision`` (the area under the
        precision-recall curve), ``roc``: points (false positive rate, recall), ``pr``: points
        (recall, precision).
    """
    found = {}
    for i, name in enumerate(names):
        own, score = labels == i, probabilities[:, i]
        if own.all() or not own.any():
            continue
        false, true, _ = roc_curve(own, score)
        precision, recall, _ = precision_recall_curve(own, score)
        found[name] = {
            "n": int(own.sum()),
            "roc_auc": float(roc_auc_score(own, score)),
            "average_precision": float(average_precision_score(own, score)),
            "roc": thin(false, true),
            # Once all are found, a lower threshold only adds errors: that tail is left out.
            "pr": thin(recall[::-1][: full(recall)], precision[::-1][: full(recall)]),
        }
    return found


def full(recall: NDArray[np.float64]) -> int:
    """Return how many points of a falling recall it takes, from its end, to reach 1."""
    return int((recall < 1).sum()) + 1


def thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> Points:
    """Return the points of a curve, evenly left out where there are too many."""
    index = np.unique(np.linspace(0, len(x) - 1, POINTS).round().astype(int))
    return np.stack([x, y], 1)[index].round(4).tolist()
