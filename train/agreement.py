"""How near a model comes to what ten people saw, beside how near one person comes to the rest."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from train.datasets import VOTES
from train.metrics import Logits, probabilities_of

Shares = NDArray[np.float64]


def vote_figures(
    logits: Logits, votes: NDArray[np.int64], names: Sequence[str]
) -> dict[str, Any] | None:
    """Compare a model's probabilities, and one tagger's vote, with the votes of the others.

    Each tagger of a face is held out in turn, and the mean is taken: that is what one tagger
    drawn at random gives on average. Both the tagger and the model are compared with the
    distribution of the *other* taggers' votes. So that one vote can be compared with a
    distribution at all, it is read as the average distribution of the other taggers' votes over
    all faces where somebody voted so. Of all ways to turn a vote into a distribution this is the
    one with the least divergence, so the tagger is at its best here; it is in no need of a
    smoothing constant, since what the others said is never given zero.

    Args:
        logits: (N, C). votes: (N, 10) in the order of :data:`train.datasets.VOTES`; those for
            ``unknown``, ``nf`` and emotions that the model does not have are dropped.
        names: C labels of the model.

    Returns:
        None where no face has two votes, else ``n`` (faces with at least two votes), and in nats,
        means over faces: ``kl_model`` and ``kl_tagger``, and ``kl_average``: of the votes of all
        faces together as the answer to each. Further ``agree_model`` and ``agree_tagger``: how
        often the model's top label, or one tagger's, is the vote of another tagger.

    Source: Kullback and Leibler, 1951. That the mean minimises it is a property of every Bregman
    divergence (Banerjee et al., JMLR 2005).
    """
    kept = votes[:, [VOTES.index(name) for name in names]]
    enough = kept.sum(1) >= 2
    if not enough.any():
        return None
    kept, probabilities = kept[enough].astype(np.float64), probabilities_of(logits[enough])
    total = kept.sum(1, keepdims=True)
    weight, others = kept / total, others_of(kept)
    reading = (weight[..., None] * others).sum(0) / np.maximum(weight.sum(0), 1e-12)[:, None]
    average = np.broadcast_to(weight.mean(0), weight.shape)
    top = np.take_along_axis(kept, probabilities.argmax(1)[:, None], 1)
    return {
        "n": int(enough.sum()),
        "kl_model": mean_divergence(weight, others, probabilities[:, None]),
        "kl_tagger": mean_divergence(weight, others, reading[None]),
        "kl_average": mean_divergence(weight, others, average[:, None]),
        "agree_model": float((top / total).mean()),
        "agree_tagger": float((kept * (kept - 1) / (total * (total - 1))).sum(1).mean()),
    }


def others_of(votes: Shares) -> Shares:
    """Return the distribution of the other taggers' votes for each vote that one may have given.

    Args:
        votes: (N, C), at least two per row.

    Returns:
        (N, C, C): row c of a face is what is left after one vote for c is taken away; zeros
        where nobody voted for c.
    """
    count = votes.shape[1]
    left = (votes[:, None] - np.eye(count)) / (votes.sum(1) - 1)[:, None, None]
    return np.where(votes[:, :, None] > 0, left, 0.0)


def mean_divergence(weight: Shares, others: Shares, answer: Shares) -> float:
    """Return the mean Kullback-Leibler divergence from the others' votes to an answer, in nats.

    Args:
        weight: (N, C) share of the taggers who voted for each class.
        others: (N, C, C) of :func:`others_of`.
        answer: broadcasts to (N, C, C), distributions along the last axis.
    """
    # A network may round a probability to nothing; a vote for it would cost infinity.
    per_vote = rel_entr(others, np.maximum(answer, 1e-12)).sum(2)
    return float((weight * per_vote).sum(1).mean())
