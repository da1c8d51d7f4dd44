"""An answer that follows a face without flickering: smoothing in seconds, and hysteresis.

Both go by the clock and not by frames, so a slow machine shows the same as a fast one.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from emotion.results import FloatArray, Prediction, label_index

LEAD = 0.3
"""Probability by which a new label must lead the shown one to take its place at once."""
HOLD = 0.3
"""Seconds after which a smaller lead is enough, and after which a new wording is taken over."""
PAUSE = 1.0
"""Seconds without a frame after which nothing is carried over."""
REST_LEAD = 2.0
"""How far, in logits, a calibrated resting face has neutral before each other label."""


def decay(elapsed: float, constant: float) -> float:
    """Return the weight of the new value in an exponential average after ``elapsed`` seconds."""
    return 1.0 if constant <= 0 else 1 - math.exp(-elapsed / constant)


def softmax(logits: FloatArray) -> FloatArray:
    """Return probabilities of logits (C,), both float32."""
    powers = np.exp(logits - logits.max())
    out: FloatArray = (powers / powers.sum()).astype(np.float32)
    return out


def rest_offset(rest: FloatArray, labels: tuple[str, ...]) -> FloatArray:
    """Return what to subtract from a person's logits so that their resting face reads neutral.

    A face that looks stern or amused at rest has logits for that which say nothing. Each label is
    lowered as far as it takes for neutral to lead it at rest by :data:`REST_LEAD`; labels that lie
    lower already, and neutral, stay as they are.

    Args:
        rest: (C,) mean logits of the resting face.

    Returns:
        (C,) float32, 0 or more.

    Raises:
        ValueError: there is no label ``neutral``.
    """
    neutral = label_index(labels, "neutral")
    offset = np.maximum(rest - (rest[neutral] - REST_LEAD), 0).astype(np.float32)
    offset[neutral] = 0
    return offset


@dataclass(slots=True)
class Smoother:
    """What is remembered of one face's answers: a handful of numbers, no picture.

    Attributes:
        logits: (C,) float32, smoothed. at: when they were updated, seconds.
        shown: the label on show. answer: the words on show.
    """

    logits: FloatArray
    at: float
    shown: str
    answer: str
    rival: str = ""
    rival_since: float = 0.0
    wording: str = ""
    wording_since: float = 0.0

    @classmethod
    def start(cls, now: Prediction, at: float) -> "Smoother":
        """Begin with one frame's prediction."""
        return cls(logits=now.logits, at=at, shown=now.label, answer=now.answer)

    def update(self, now: Prediction, at: float, constant: float) -> Prediction:
        """Take in one frame's prediction.

        Args:
            constant: time constant in seconds; 0 for no smoothing, and no hysteresis.

        Returns:
            The smoothed prediction.
        """
        elapsed = at - self.at
        fresh = not 0 <= elapsed <= PAUSE
        weight = 1.0 if fresh else decay(elapsed, constant)
        self.logits = (self.logits + np.float32(weight) * (now.logits - self.logits)).astype(
            np.float32
        )
        self.at = at
        smoothed = replace(now, logits=self.logits, probabilities=softmax(self.logits))
        if fresh or constant <= 0:
            self.shown, self.answer = smoothed.label, smoothed.answer
            self.rival = self.wording = ""
        else:
            self.choose_label(smoothed, now, at)
            self.choose_words(smoothed, at)
        return smoothed

    def choose_label(self, smoothed: Prediction, now: Prediction, at: float) -> None:
        """Change the label on show if another one leads by enough, or for long enough."""
        top = smoothed.label
        if top == self.shown:
            self.rival = ""
            return
        if top != self.rival:
            self.rival, self.rival_since = top, at
        lead = smoothed.probability(top) - smoothed.probability(self.shown)
        # On the way from one answer to the next, the average can pass a third one that no frame
        # has shown: so the frame itself must say it too.
        if now.label == top and (lead >= LEAD or at - self.rival_since >= HOLD):
            self.shown, self.answer, self.rival, self.wording = top, smoothed.answer, "", ""

    def choose_words(self, smoothed: Prediction, at: float) -> None:
        """Change between "fear", "fear or surprise" and "not sure" only when it lasts."""
        answer = smoothed.answer
        if answer == self.answer:
            self.wording = ""
        elif answer != self.wording:
            self.wording, self.wording_since = answer, at
        elif at - self.wording_since >= HOLD and self.shown == smoothed.label:
            self.answer, self.wording = answer, ""
