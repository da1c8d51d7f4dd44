"""Temperature, offsets for rare classes, prediction-set threshold."""

import numpy as np
import pytest
from scipy.special import softmax

from train.calibration import fit_set_threshold, fit_temperature, rare_offsets
from train.metrics import accuracy_of, macro_recall_of


def drawn(count: int, *, seed: int = 0, shares=(0.7, 0.25, 0.05)):
    """Logits whose softmax is the true probability of each label, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, count, p=shares)
    logits = rng.normal(size=(count, 3)) + 1.5 * np.eye(3)[truth] + np.log(shares)
    # The posterior of a unit normal shifted by 1.5 at the true class.
    probabilities = softmax(1.5 * (logits - np.log(shares)) + np.log(shares), axis=1)
    return np.log(probabilities).astype(np.float32), truth.astype(np.int64)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_undoes_a_scaling(factor):
    logits, labels = drawn(20_000)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.04)


def test_offsets_raise_macro_recall_within_their_cost():
    logits, labels = drawn(20_000)
    offsets = rare_offsets(logits, labels, cost=0.02)
    moved = logits + offsets
    assert macro_recall_of(moved, labels) > macro_recall_of(logits, labels) + 0.05
    assert accuracy_of(moved, labels) >= accuracy_of(logits, labels) - 0.02
    assert offsets.argmax() == 2, "the rarest class gains most"


def test_no_cost_gives_no_offset():
    logits, labels = drawn(2_000)
    assert not rare_offsets(logits, labels, cost=0.0).any()


def test_a_class_without_a_face_is_left_alone():
    logits, labels = drawn(2_000, shares=(0.8, 0.1999, 0.0001))
    logits, labels = logits[labels < 2], labels[labels < 2]
    offsets = rare_offsets(logits, labels, cost=0.05)
    assert np.isfinite(offsets).all()
    assert offsets[2] <= max(offsets[:2])


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_cover_what_they_promise_on_fresh_faces(coverage):
    threshold = fit_set_threshold(*drawn(4_000), coverage=coverage)
    logits, labels = drawn(40_000, seed=1)
    inside = softmax(logits, axis=1)[np.arange(len(labels)), labels] >= threshold
    assert inside.mean() == pytest.approx(coverage, abs=0.015)


def test_too_few_faces_give_sets_of_everything():
    logits, labels = drawn(5)
    assert fit_set_threshold(logits, labels) < 1e-6


def test_the_threshold_is_the_conformal_quantile():
    """Nineteen faces at 90 %: the second smallest probability of a true label."""
    p = np.linspace(0.05, 0.95, 19)
    logits = np.log(np.stack([p, 1 - p], 1)).astype(np.float32)
    labels = np.zeros(19, np.int64)
    assert fit_set_threshold(logits, labels) == pytest.approx(p[1], abs=1e-6)
