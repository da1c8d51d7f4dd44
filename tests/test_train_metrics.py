"""train.metrics, train.curves and train.agreement: figures against cases worked out by hand."""

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from emotion.labels import FERPLUS
from emotion.results import Prediction
from train.agreement import vote_figures
from train.curves import POINTS, class_curves
from train.datasets import VOTES
from train.metrics import (
    COMMON,
    accuracy_of,
    calibration_error,
    evaluate_logits,
    interval,
    macro_recall_of,
    mcnemar,
    probabilities_of,
    reliability_bins,
    set_figures,
    subset_figures,
)

PAIR = ("neutral", "happiness")


def certain(guesses: list[int], classes: int = 3, logit: float = 50.0) -> NDArray[np.float32]:
    """Logits that leave no doubt about each guess."""
    return (np.eye(classes)[guesses] * logit).astype(np.float32)


def logits_for(probabilities: list[list[float]]) -> NDArray[np.float32]:
    return np.log(np.array(probabilities)).astype(np.float32)


def votes_for(rows: list[dict[str, int]]) -> NDArray[np.int64]:
    return np.array([[row.get(name, 0) for name in VOTES] for row in rows], np.int64)


# --- figures of answers --------------------------------------------------------------------------


def test_figures_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    figures = evaluate_logits(certain([0, 0, 0, 1, 1, 0]), labels, ["a", "b", "c"])
    assert figures["n"] == 6
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["accuracy_interval"] == interval(4, 6)
    # Class c has no face: it stays out of the means.
    assert figures["macro_recall"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert figures["precision"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert figures["macro_f1"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert figures["weighted_f1"] == pytest.approx((4 * 3 / 4 + 2 * 1 / 2) / 6)
    assert figures["weighted_precision"] == pytest.approx((4 * 3 / 4 + 2 * 1 / 2) / 6)
    assert figures["confusion"] == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    row = {"n": 2, "precision": 0.5, "recall": 0.5, "recall_interval": interval(1, 2), "f1": 0.5}
    assert figures["per_class"]["b"] == row
    empty = {"n": 0, "precision": 0.0, "recall": 0.0, "recall_interval": None, "f1": 0.0}
    assert figures["per_class"]["c"] == empty
    assert figures["ece"] == pytest.approx(2 / 6), "all confidence is 1, two of six are wrong"
    assert figures["macro_recall_common"] is None
    assert figures["common"] == []


def test_confusion_rows_are_the_truth() -> None:
    figures = evaluate_logits(certain([2, 2]), np.array([0, 2]), ["a", "b", "c"])
    assert figures["confusion"][0] == [0, 0, 1]
    assert figures["per_class"]["a"]["recall"] == 0.0
    assert figures["per_class"]["c"]["precision"] == 0.5


def test_an_absent_class_stays_out_of_the_means_even_when_guessed() -> None:
    figures = evaluate_logits(certain([0, 2]), np.array([0, 0]), ["a", "b", "c"])
    assert figures["macro_recall"] == pytest.approx(0.5)
    assert figures["precision"] == pytest.approx(1.0)


def test_a_class_is_common_above_the_threshold() -> None:
    labels = np.array([0] * (COMMON + 1) + [1] * COMMON + [2])
    guesses = [0] * COMMON + [1] + [1] * COMMON + [0]
    figures = evaluate_logits(certain(guesses), labels, ["a", "b", "c"])
    assert figures["common"] == ["a"]
    assert figures["common_above"] == COMMON
    assert figures["macro_recall_common"] == pytest.approx(COMMON / (COMMON + 1))
    assert figures["macro_recall"] == pytest.approx((COMMON / (COMMON + 1) + 1 + 0) / 3)


def test_figures_are_plain_json() -> None:
    logits, labels = certain([0, 1]), np.array([0, 1])
    figures = evaluate_logits(logits, labels, ["a", "b", "c"])
    figures["sets"] = set_figures(logits, labels, ["a", "b", "c"], threshold=0.3)
    figures["bins"] = reliability_bins(probabilities_of(logits), labels)
    figures["curves"] = class_curves(probabilities_of(logits), labels, ["a", "b", "c"])
    figures["test"] = mcnemar(labels == 0, labels == 1)
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize("threshold", [0.1, 0.4, 0.7, 1.0])
def test_sets_are_those_that_are_served(threshold: float) -> None:
    names = ("a", "b", "c", "d")
    logits = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    labels = np.arange(200) % 4
    served = [
        Prediction(names, row, p.astype(np.float32), threshold).candidates
        for row, p in zip(logits, probabilities_of(logits), strict=True)
    ]
    figures = set_figures(logits, labels, names, threshold=threshold)
    held = [names[label] in own for label, own in zip(labels, served, strict=True)]
    assert figures["coverage"] == pytest.approx(np.mean(held))
    assert figures["size"] == pytest.approx(np.mean([len(own) for own in served]))


def test_no_rows() -> None:
    with pytest.raises(ValueError, match="no labelled face"):
        evaluate_logits(np.empty((0, 3), np.float32), np.empty(0, np.int64), ["a", "b", "c"])


def test_accuracy_and_macro_recall() -> None:
    logits, labels = certain([0, 1, 2, 2]), np.array([0, 1, 2, 0])
    assert accuracy_of(logits, labels) == 0.75
    assert macro_recall_of(logits, labels) == pytest.approx((0.5 + 1 + 1) / 3)


# --- intervals and tests -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # z = 1.95996; without a hit the upper end is z^2 / (n + z^2).
        (0, 10, 0.0, 0.277533),
        (5, 10, 0.236593, 0.763407),
        (16, 16, 0.806392, 1.0),
        (2758, 3153, 0.862684, 0.885770),
    ],
)
def test_wilson_interval(hits: int, n: int, low: float, high: float) -> None:
    z2, share = 1.959964**2, hits / n
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
    by_formula = [(share + z2 / (2 * n) + sign * half) / (1 + z2 / n) for sign in (-1, 1)]
    assert interval(hits, n) == pytest.approx(by_formula, abs=1e-6)
    assert interval(hits, n) == pytest.approx([low, high], abs=1e-4)


def test_no_faces_no_interval() -> None:
    assert interval(0, 0) is None


def test_mcnemar_by_hand() -> None:
    # 2 faces only this model gets right, 8 only the other: 2 (1 + 10 + 45) / 2^10.
    right = np.array([True] * 2 + [False] * 8 + [True] * 30 + [False] * 5)
    other = np.array([False] * 2 + [True] * 8 + [True] * 30 + [False] * 5)
    found = mcnemar(right, other)
    assert found == {"n": 45, "only_this": 2, "only_other": 8, "p": pytest.approx(112 / 1024)}
    assert mcnemar(other, right)["p"] == pytest.approx(112 / 1024)
    assert mcnemar(right, right)["p"] == 1.0
    assert mcnemar(right[2:10], other[2:10])["p"] == pytest.approx(2 / 2**8)


# --- calibration and sets ------------------------------------------------------------------------


def test_calibration_error_by_hand() -> None:
    # Two bins of ten: 0.95 is right once in two, 0.65 always.
    probabilities = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.35, 0.65]], np.float32)
    labels = np.array([0, 1, 1, 1])
    error = calibration_error(probabilities, labels, bins=10)
    assert error == pytest.approx(0.5 * abs(0.5 - 0.95) + 0.5 * abs(1 - 0.65), abs=1e-6)
    low, high = reliability_bins(probabilities, labels, bins=10)
    assert (low["low"], low["high"], low["n"], low["accuracy"]) == (0.6, 0.7, 2, 1.0)
    assert high == {
        "low": 0.9,
        "high": 1.0,
        "n": 2,
        "confidence": pytest.approx(0.95),
        "accuracy": 0.5,
    }


def test_calibration_error_of_an_honest_classifier_is_zero() -> None:
    probabilities = np.tile(np.array([0.75, 0.25], np.float32), (4, 1))
    assert calibration_error(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0, abs=1e-6)
    sure = np.array([[1.0, 0.0]], np.float32)
    assert calibration_error(sure, np.array([0])) == pytest.approx(0, abs=1e-6)


def test_sets_by_hand() -> None:
    logits = logits_for([[0.6, 0.3, 0.1], [0.4, 0.35, 0.25], [0.2, 0.1, 0.7], [0.2, 0.19, 0.61]])
    labels = np.array([1, 2, 2, 0])
    found = set_figures(logits, labels, ["a", "b", "c"], threshold=0.3)
    # Sets: ab, ab, c, c.
    assert found["coverage"] == 0.5
    assert found["size"] == 1.5
    assert found["sizes"] == [0.5, 0.5, 0.0]
    assert found["per_class"]["a"] == {"coverage": 0.0, "size": 1.0}
    assert found["per_class"]["b"] == {"coverage": 1.0, "size": 2.0}
    assert found["per_class"]["c"] == {"coverage": 0.5, "size": 1.5}
    # The likeliest label is in even where it is below the threshold.
    alone = set_figures(logits, labels, ["a", "b", "c"], threshold=1.0)
    assert (alone["coverage"], alone["size"]) == (accuracy_of(logits, labels), 1.0)
    everything = set_figures(logits, labels, ["a", "b", "c"], threshold=0.05)
    assert (everything["coverage"], everything["size"]) == (1.0, 3.0)


def test_subset_figures_count_what_is_left_out() -> None:
    logits, labels = certain([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    common = np.array([True, True, False])
    rest = subset_figures(logits, labels, np.array([True, False, True, True]), common=common)
    assert rest == {
        "n": 3,
        "left_out": 1,
        "accuracy": 1.0,
        "accuracy_interval": interval(3, 3),
        "macro_recall": 1.0,
        "macro_recall_common": 1.0,
    }
    nothing = subset_figures(logits, labels, np.zeros(4, bool), common=common)
    assert (nothing["n"], nothing["left_out"], nothing["accuracy"]) == (0, 4, None)
    assert nothing["macro_recall"] is nothing["macro_recall_common"] is None


# --- curves --------------------------------------------------------------------------------------


def test_areas_by_hand() -> None:
    # The textbook case of scikit-learn: three of four pairs are in order.
    score = np.array([0.1, 0.4, 0.35, 0.8])
    probabilities = np.stack([1 - score, score, np.zeros(4)], 1)
    curves = class_curves(probabilities, np.array([0, 0, 1, 1]), ["a", "b", "c"])
    assert list(curves) == ["a", "b"], "no face is of class c"
    assert curves["b"]["roc_auc"] == pytest.approx(0.75)
    assert curves["b"]["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert curves["b"]["n"] == 2
    assert curves["b"]["roc"][0] == [0.0, 0.0]
    assert curves["b"]["roc"][-1] == [1.0, 1.0]
    assert curves["b"]["pr"] == [
        [0.0, 1.0],
        [0.5, 1.0],
        [0.5, 0.5],
        [1.0, pytest.approx(2 / 3, abs=1e-4)],
    ]


def test_a_class_of_all_faces_has_no_curve() -> None:
    assert class_curves(np.full((3, 2), 0.5), np.zeros(3, int), ["a", "b"]) == {}


def test_long_curves_are_thinned() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 5000)
    score = rng.random(5000)
    curves = class_curves(np.stack([1 - score, score], 1), labels, ["a", "b"])
    for points in (curves["b"]["roc"], curves["b"]["pr"]):
        assert len(points) <= POINTS
        assert np.diff(np.array(points)[:, 0]).min() >= 0
    assert curves["b"]["pr"][-1][0] == 1.0


# --- votes ---------------------------------------------------------------------------------------


def test_divergence_by_hand() -> None:
    # Face one: both say neutral. Face two: one says neutral, one happiness.
    votes = votes_for([{"neutral": 2}, {"neutral": 1, "happiness": 1}])
    found = vote_figures(logits_for([[0.6, 0.4], [0.6, 0.4]]), votes, PAIR)
    assert found is not None
    assert found["n"] == 2
    # Face one costs -ln 0.6; on face two the other tagger says either with equal chance.
    by_hand = (-math.log(0.6) + (-math.log(0.4) - math.log(0.6)) / 2) / 2
    assert found["kl_model"] == pytest.approx(by_hand, abs=1e-6)
    # Where one says neutral, the others say it with weight 1 of 1 + 1/2; where one says
    # happiness, always.
    assert found["kl_tagger"] == pytest.approx((math.log(1.5) + math.log(3) / 2) / 2)
    # All votes together: three quarters neutral.
    average = (-math.log(0.75) + (-math.log(0.25) - math.log(0.75)) / 2) / 2
    assert found["kl_average"] == pytest.approx(average)
    assert found["agree_model"] == pytest.approx((1 + 0.5) / 2)
    assert found["agree_tagger"] == pytest.approx((1 + 0) / 2)


def test_votes_for_no_emotion_and_single_votes_do_not_count() -> None:
    plain = votes_for([{"neutral": 2}, {"neutral": 1, "happiness": 1}])
    more = votes_for(
        [
            {"neutral": 2, "unknown": 5},
            {"neutral": 1, "happiness": 1, "nf": 3, "contempt": 2},
            {"happiness": 1, "unknown": 9},
            {"nf": 10},
        ]
    )
    logits = logits_for([[0.6, 0.4], [0.3, 0.7], [0.5, 0.5], [0.5, 0.5]])
    assert vote_figures(logits, more, PAIR) == vote_figures(logits[:2], plain, PAIR)
    assert vote_figures(logits, np.zeros((4, 10), np.int64), PAIR) is None


def drawn_votes() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What 400 faces show, as distributions, and ten votes drawn from each."""
    rng = np.random.default_rng(0)
    shown = rng.dirichlet(np.full(8, 0.3), 400)
    given = np.array([rng.multinomial(10, row) for row in shown])
    return shown, np.hstack([given, np.zeros((400, 2), np.int64)])


def test_a_model_that_knows_the_faces_beats_one_tagger() -> None:
    shown, votes = drawn_votes()
    knows = vote_figures(np.log(np.maximum(shown, 1e-9)).astype(np.float32), votes, FERPLUS)
    guesses = vote_figures(np.zeros((400, 8), np.float32), votes, FERPLUS)
    assert knows is not None
    assert guesses is not None
    assert knows["kl_model"] < knows["kl_tagger"] < knows["kl_average"]
    assert guesses["kl_model"] >= guesses["kl_average"] * 0.99
    assert knows["agree_model"] > knows["agree_tagger"] > guesses["agree_model"]


def test_no_smoothing_constant_would_serve_the_tagger_better() -> None:
    _, votes = drawn_votes()
    best = vote_figures(np.zeros((400, 8), np.float32), votes, FERPLUS)
    assert best is not None
    for constant in (0.1, 0.3, 0.5, 1.0, 3.0):
        reading = (np.eye(8) + constant / 8) / (1 + constant)
        total = 0.0
        for row in votes[:, :8]:
            for c in np.flatnonzero(row):
                others = (row - np.eye(8)[c]) / 9
                seen = others > 0
                terms = others[seen] * np.log(others[seen] / reading[c][seen])
                total += row[c] / 10 * terms.sum()
        assert best["kl_tagger"] < total / len(votes)
