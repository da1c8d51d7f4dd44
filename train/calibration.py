"""What is fitted on the validation faces after training: temperature, offsets, set threshold.

None of it changes the network; all of it ends up in the linear head or in the spec.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from train.metrics import Labels, Logits, accuracy_of, macro_recall_of

COVERAGE = 0.9
"""Share of faces whose prediction set is to hold the true label."""

STRENGTHS = np.linspace(0, 1, 21)
"""Strengths of the offsets that are tried: 0 for none, 1 for all classes as if equally frequent."""


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """Return the divisor of the logits that makes the labels most likely.

    Source: Guo et al., ICML 2017, arXiv:1706.04599.
    """

    def loss(log_t: float) -> float:
        scores = log_softmax(logits.astype(np.float64) / np.exp(log_t), axis=1)
        return float(-scores[np.arange(len(labels)), labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def rare_offsets(logits: Logits, labels: Labels, *, cost: float) -> NDArray[np.float32]:
    """Return what to add to each logit so that rare classes are answered more often.

    The offsets are ``-strength * log(share of the class)``. The strength is the one with the best
    macro recall among those that cost at most ``cost`` of the accuracy, both on these faces. One
    number is fitted, not one a class: a class with a dozen faces could not bear more.

    Args:
        logits: (N, C), calibrated. labels: (N,). cost: share of 1; 0 gives no offset.

    Source: logit adjustment, Menon et al., ICLR 2021, arXiv:2007.07314.
    """
    shares = np.bincount(labels, minlength=logits.shape[1]) / len(labels)
    # A class without a face is left where it is: nothing is known about how rare it is.
    surprise = np.where(shares > 0, -np.log(np.maximum(shares, 1e-9)), 0.0)
    surprise -= (surprise * shares).sum()
    best, offsets = -1.0, np.zeros(logits.shape[1])
    floor = accuracy_of(logits, labels) - cost
    for strength in STRENGTHS if cost > 0 else STRENGTHS[:1]:
        moved = (logits + strength * surprise).astype(np.float32)
        recall = macro_recall_of(moved, labels)
        if recall > best and accuracy_of(moved, labels) >= floor:
            best, offsets = recall, strength * surprise
    return offsets.astype(np.float32)


def fit_set_threshold(logits: Logits, labels: Labels, *, coverage: float = COVERAGE) -> float:
    """Return the probability from which on a label belongs to a face's prediction set.

    The set of all labels with at least this probability holds the true one for the wanted share
    of faces like these: split conformal prediction with the least ambiguous sets.

    Source: Sadinle, Lei and Wasserman, JASA 2019, arXiv:1609.00451.
    """
    true = softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    # The small number keeps 20 * (1 - 0.9), which is 1.9999999999999996, from being cut to 1.
    rank = math.floor((len(true) + 1) * (1 - coverage) + 1e-9)
    # Too few faces for the coverage: every label belongs to every set.
    return float(np.sort(true)[rank - 1]) if rank >= 1 else 1e-9
