"""Figures of a classifier from its logits and the true labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


def accuracy_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the share of rows whose largest logit is at the label."""
    return float((logits.argmax(1) == labels).mean())


def calibration_error(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15
) -> float:
    """Return the expected calibration error of the top label, equal-width bins.

    Source: Guo et al., ICML 2017, arXiv:1706.04599.
    """
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(correct[index == b].mean() - confidence[index == b].mean()) * (index == b).mean()
        for b in range(bins)
        if (index == b).any()
    ]
    return float(sum(gaps))


def evaluate_logits(
    logits: NDArray[np.float32], labels: NDArray[np.int64], names: Sequence[str]
) -> dict[str, Any]:
    """Return all figures of a classifier.

    Args:
        logits: (N, K). labels: (N,) in 0..K-1. names: K label names.

    Returns:
        ``n``, ``accuracy``, ``macro_recall``, ``macro_f1``, ``weighted_f1``, ``precision``
        (macro), ``ece``, ``per_class`` by name, ``confusion`` (rows are the truth). A class
        without a face in the data is left out of the macro means.

    Raises:
        ValueError: no rows.
    """
    if not len(labels):
        raise ValueError("there is no labelled face to evaluate on")
    classes = np.arange(len(names))
    guess = logits.argmax(1)
    precision, recall, f1, count = precision_recall_fscore_support(
        labels, guess, labels=classes, zero_division=0
    )
    seen = count > 0
    return {
        "n": len(labels),
        "accuracy": accuracy_of(logits, labels),
        "macro_recall": float(recall[seen].mean()),
        "macro_f1": float(f1[seen].mean()),
        "weighted_f1": float(np.average(f1, weights=count)),
        "precision": float(precision[seen].mean()),
        "ece": calibration_error(softmax(logits.astype(np.float64), axis=1), labels),
        "per_class": {
            name: {
                "n": int(count[i]),
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
            }
            for i, name in enumerate(names)
        },
        "confusion": confusion_matrix(labels, guess, labels=classes).tolist(),
    }
