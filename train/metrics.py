"""Figures of a classifier from its logits and the true labels; shares of 1, plain JSON types."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]

COMMON = 80
"""A class with more faces than this counts as common: one face is then about a point of recall."""


def accuracy_of(logits: Logits, labels: Labels) -> float:
    """Return the share of rows whose largest logit is at the label."""
    return float((logits.argmax(1) == labels).mean())


def macro_recall_of(logits: Logits, labels: Labels) -> float:
    """Return the mean over the classes that occur of the share of them that is found."""
    found = logits.argmax(1) == labels
    return float(np.mean([found[labels == c].mean() for c in np.unique(labels)]))


def interval(hits: int, n: int) -> list[float] | None:
    """Return the 95 % interval of a share ``hits / n``, as two shares; None where n is 0.

    Source: Wilson, JASA 1927; it holds for small n too (Brown et al., Statistical Science 2001).
    """
    if not n:
        return None
    found = binomtest(int(hits), int(n)).proportion_ci(0.95, method="wilson")
    return [float(found.low), float(found.high)]


def reliability_bins(
    probabilities: NDArray[np.floating], labels: Labels, bins: int = 15
) -> list[dict[str, Any]]:
    """Return, for equal-width bins of the top probability, how often the top label is right.

    Args:
        probabilities: (N, C), rows sum to 1. labels: (N,).

    Returns:
        The bins with a face in them: ``low``, ``high``, ``n``, ``confidence`` (mean top
        probability), ``accuracy``.
    """
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "low": b / bins,
            "high": (b + 1) / bins,
            "n": int((index == b).sum()),
            "confidence": float(confidence[index == b].mean()),
            "accuracy": float(correct[index == b].mean()),
        }
        for b in np.unique(index).tolist()
    ]


def calibration_error(probabilities: NDArray[np.floating], labels: Labels, bins: int = 15) -> float:
    """Return the expected calibration error of the top label, equal-width bins.

    Source: Guo et al., ICML 2017, arXiv:1706.04599.
    """
    rows = reliability_bins(probabilities, labels, bins)
    return sum(abs(r["accuracy"] - r["confidence"]) * r["n"] for r in rows) / len(labels)


def evaluate_logits(logits: Logits, labels: Labels, names: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a classifier's answers.

    Args:
        logits: (N, C). labels: (N,) in 0..C-1. names: C label names.

    Returns:
        ``n``, ``accuracy`` with ``accuracy_interval`` (95 %), ``macro_recall``,
        ``macro_recall_common`` (over the classes of ``common``, those with more than
        ``common_above`` faces; None if there is none), ``precision`` (macro), ``macro_f1``,
        ``weighted_precision``, ``weighted_f1``, ``ece``, ``per_class`` by name, ``confusion``
        (rows are the truth). A class without a face is left out of the macro means.

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
    seen, common = count > 0, count > COMMON
    table = confusion_matrix(labels, guess, labels=classes)
    return {
        "n": len(labels),
        "accuracy": accuracy_of(logits, labels),
        "accuracy_interval": interval(table.trace(), len(labels)),
        "macro_recall": float(recall[seen].mean()),
        "macro_recall_common": float(recall[common].mean()) if common.any() else None,
        "common": [names[i] for i in np.flatnonzero(common).tolist()],
        "common_above": COMMON,
        "precision": float(precision[seen].mean()),
        "macro_f1": float(f1[seen].mean()),
        "weighted_precision": float(np.average(precision, weights=count)),
        "weighted_f1": float(np.average(f1, weights=count)),
        "ece": calibration_error(probabilities_of(logits), labels),
        "per_class": {
            name: {
                "n": int(count[i]),
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "recall_interval": interval(table[i, i], count[i]),
                "f1": float(f1[i]),
            }
            for i, name in enumerate(names)
        },
        "confusion": table.tolist(),
    }


def probabilities_of(logits: Logits) -> NDArray[np.float64]:
    """Return the softmax of each row."""
    out: NDArray[np.float64] = softmax(logits.astype(np.float64), axis=1)
    return out


def set_figures(
    logits: Logits, labels: Labels, names: Sequence[str], *, threshold: float
) -> dict[str, Any]:
    """Return how often prediction sets hold the true label, and how large they are.

    The sets are those of :attr:`emotion.results.Prediction.candidates`.

    Args:
        logits: (N, C). labels: (N,). names: C label names.
        threshold: the model's ``spec.set_threshold``.

    Returns:
        ``threshold``, ``coverage``, ``size`` (mean number of labels), ``sizes`` (share of the
        faces with a set of 1, 2 ... C labels) and ``per_class`` by name (None for a class
        without a face).
    """
    probabilities = probabilities_of(logits)
    rows = np.arange(len(labels))
    member = probabilities >= threshold
    best, second = np.argsort(-probabilities, axis=1, kind="stable").T[:2]
    if threshold < 1:
        none = ~member.any(1)
        member[rows[none], second[none]] = True
    member[rows, best] = True
    covered, size = member[rows, labels], member.sum(1)
    shares = np.bincount(size, minlength=len(names) + 1)[1:] / len(labels)
    per_class = {}
    for i, name in enumerate(names):
        own = labels == i
        per_class[name] = {
            "coverage": float(covered[own].mean()) if own.any() else None,
            "size": float(size[own].mean()) if own.any() else None,
        }
    return {
        "threshold": threshold,
        "coverage": float(covered.mean()),
        "size": float(size.mean()),
        "sizes": shares.tolist(),
        "per_class": per_class,
    }


def subset_figures(
    logits: Logits, labels: Labels, keep: NDArray[np.bool_], *, common: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the main figures of the faces for which ``keep`` (N,) is true.

    Args:
        common: (C,) which classes count for ``macro_recall_common``: those of all faces, so that
            the figure can be set beside the one for all.

    Returns:
        ``n``, ``left_out``, and None for each other figure where nothing is kept.
    """
    logits, labels = logits[keep], labels[keep]
    hits = logits.argmax(1) == labels
    frequent = common[labels]
    return {
        "n": len(labels),
        "left_out": int((~keep).sum()),
        "accuracy": float(hits.mean()) if len(labels) else None,
        "accuracy_interval": interval(hits.sum(), len(labels)),
        "macro_recall": macro_recall_of(logits, labels) if len(labels) else None,
        "macro_recall_common": (
            macro_recall_of(logits[frequent], labels[frequent]) if frequent.any() else None
        ),
    }


def mcnemar(right: NDArray[np.bool_], other_right: NDArray[np.bool_]) -> dict[str, Any]:
    """Test whether two models differ on the same faces: McNemar's test, exact and two-sided.

    Only the faces that one model gets right and the other wrong say anything; if the models were
    equally good, each such face would fall to either side by the toss of a coin.

    Args:
        right, other_right: (N,) whether each model is right.

    Returns:
        ``n``, ``only_this``, ``only_other`` (faces that only one of them gets right), ``p``.

    Source: McNemar, Psychometrika 1947, in its exact binomial form.
    """
    only_this = int((right & ~other_right).sum())
    only_other = int((other_right & ~right).sum())
    discordant = only_this + only_other
    p = float(binomtest(only_this, discordant, 0.5).pvalue) if discordant else 1.0
    return {"n": len(right), "only_this": only_this, "only_other": only_other, "p": p}
