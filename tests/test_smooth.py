"""emotion.smooth: averages by the clock, labels that do not flicker, resting faces."""

from itertools import pairwise

import numpy as np
import pytest

from emotion.results import Prediction
from emotion.smooth import HOLD, REST_LEAD, Smoother, decay, rest_offset, softmax

LABELS = ("neutral", "happiness", "surprise")


def saying(*logits: float, threshold: float = 0.4) -> Prediction:
    values = np.array(logits, np.float32)
    return Prediction(LABELS, values, softmax(values), threshold)


HAPPY, SURPRISED, PLAIN = saying(0, 6, 0), saying(0, 0, 6), saying(6, 0, 0)


@pytest.mark.parametrize("rate", [5, 15, 60])
def test_the_average_goes_by_the_clock_and_not_by_frames(rate: int) -> None:
    smoother = Smoother.start(PLAIN, 0.0)
    for frame in range(1, rate + 1):
        smoothed = smoother.update(HAPPY, frame / rate, constant=0.5)
    assert smoothed.logits[1] == pytest.approx(6 * (1 - np.exp(-1 / 0.5)), rel=1e-4)
    assert smoothed.probabilities.sum() == pytest.approx(1, abs=1e-6)


def test_no_smoothing_shows_each_frame() -> None:
    smoother = Smoother.start(PLAIN, 0.0)
    for i, now in enumerate([HAPPY, SURPRISED, HAPPY], 1):
        assert np.array_equal(smoother.update(now, i / 30, constant=0).logits, now.logits)
        assert smoother.shown == now.label


@pytest.mark.parametrize("gap", [1.5, -0.2])
def test_nothing_is_carried_over_a_pause(gap: float) -> None:
    smoother = Smoother.start(PLAIN, 5.0)
    assert np.array_equal(smoother.update(HAPPY, 5.0 + gap, constant=0.5).logits, HAPPY.logits)
    assert smoother.shown == "happiness"


def changes(shown: list[str]) -> int:
    return sum(a != b for a, b in pairwise(shown))


def test_a_label_that_flickers_is_calmed() -> None:
    """Ten seconds of two labels as good as even, each frame with noise as large as a logit."""
    smoother, shown, raw = Smoother.start(saying(0, 2.0, 2.1), 0.0), [], []
    rng = np.random.default_rng(0)
    for frame in range(1, 300):
        noise = rng.normal(0, 1.0, 2)
        now = saying(0, 2.0 + noise[0], 2.3 + noise[1])
        smoother.update(now, frame / 30, constant=0.15)
        shown.append(smoother.shown)
        raw.append(now.label)
    assert changes(raw) > 100
    assert changes(shown) <= 8


def test_a_true_change_shows_once_and_soon() -> None:
    smoother = Smoother.start(HAPPY, 0.0)
    shown = []
    for frame in range(1, 60):
        smoother.update(HAPPY if frame < 30 else SURPRISED, frame / 30, constant=0.15)
        shown.append(smoother.shown)
    assert changes(shown) == 1
    assert shown.index("surprise") + 1 - 30 <= 0.4 * 30


def test_a_third_label_on_the_way_is_not_shown() -> None:
    """Half-way between the two, the average has neutral on top; no frame has."""
    first, second = saying(4.5, 6, 0), saying(4.5, 0, 6)
    smoother, shown = Smoother.start(first, 0.0), set()
    for frame in range(1, 60):
        smoother.update(second, frame / 30, constant=0.3)
        shown.add(smoother.shown)
    assert shown == {"happiness", "surprise"}


def test_a_small_lead_must_last() -> None:
    smoother = Smoother.start(saying(0, 1.0, 0.9), 0.0)
    for frame in range(1, 31):
        smoother.update(saying(0, 0.9, 1.1), frame / 30, constant=0.01)
        if frame / 30 < HOLD - 0.05:
            assert smoother.shown == "happiness"
    assert smoother.shown == "surprise"


def test_words_change_only_when_it_lasts() -> None:
    sure, torn = saying(0, 4, 0), saying(0, 4, 3.9)
    smoother = Smoother.start(sure, 0.0)
    for frame in range(1, 60):
        smoother.update(torn if frame % 4 == 0 else sure, frame / 30, constant=0.001)
        assert smoother.answer == "happiness"
    for frame in range(60, 90):
        smoother.update(torn, frame / 30, constant=0.001)
    assert smoother.answer == "happiness or surprise"


def test_a_resting_face_reads_neutral_afterwards() -> None:
    rest = np.array([1.0, -3.0, 2.5], np.float32)
    offset = rest_offset(rest, LABELS)
    assert offset.tolist() == [0, 0, 3.5]
    after = rest - offset
    assert after.argmax() == 0
    assert after[0] - after[2] == pytest.approx(REST_LEAD)
    with pytest.raises(ValueError, match="neutral"):
        rest_offset(rest, ("a", "b", "c"))


def test_decay_is_whole_without_a_constant() -> None:
    assert decay(0.1, 0) == 1
    assert decay(0.0, 0.5) == 0
    assert decay(100.0, 0.5) == pytest.approx(1)
