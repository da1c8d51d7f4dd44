"""Why this emotion and not that one: the evidence of one label less that of another."""

from dataclasses import dataclass

import numpy as np

from emotion.regions import listing, merge_pairs
from emotion.results import Explanation, FloatArray, Prediction, label_index

SMALL = 0.1
"""Evidence in logits that is not worth a word."""


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """What speaks for one label rather than another.

    Attributes:
        label, other: the two.
        evidence: (h, w) float32, signed, in logits; it and ``bias`` sum to ``margin``.
        regions: R names. region_evidence: (R,) float32; it and ``bias`` sum to ``margin`` too.
        bias: by how much the label is ahead before any face is seen.
        margin: by how much the label's logit is above the other's. Its exponential is how many
            times as probable the label is.
    """

    label: str
    other: str
    evidence: FloatArray
    regions: tuple[str, ...]
    region_evidence: FloatArray
    bias: float
    margin: float

    @property
    def sentence(self) -> str:
        """Which regions decided, in words."""
        times = float(np.exp(min(abs(self.margin), 20)))
        ahead, behind = (self.label, self.other) if self.margin >= 0 else (self.other, self.label)
        size = f"{times:.1f}" if times < 10 else f"{times:.0f}" if times < 1000 else "over 1000"
        head = f"{ahead.capitalize()} is {size} times as probable as {behind}"
        shares = merge_pairs(self.regions, self.region_evidence)
        for_it = [s for s in shares if s[1] >= SMALL][:3]
        against = [s for s in reversed(shares) if s[1] <= -SMALL][:2]
        parts = []
        if for_it:
            parts.append(f"for {self.label} spoke {listing(for_it)}")
        if against:
            parts.append(f"for {self.other} {listing(against)}")
        if not parts:
            return f"{head}; no region tells the two apart."
        return f"{head}: {', '.join(parts)}; before any face is seen it stands {self.bias:+.1f}."


def contrast(
    prediction: Prediction,
    explanation: Explanation,
    label: str | None = None,
    other: str | None = None,
) -> Contrast:
    """Compare two labels of one face.

    Args:
        label: by default the most probable one. other: by default the most probable of the rest.

    Returns:
        The map of the difference of the two rows of the head, which costs nothing: evidence is
        linear in them.

    Raises:
        ValueError: no such label, or the same one twice.
    """
    label = label or prediction.label
    if other is None:
        order = np.argsort(-prediction.probabilities, kind="stable")
        other = next(name for name in (prediction.labels[i] for i in order) if name != label)
    row, minus = (label_index(prediction.labels, name) for name in (label, other))
    if row == minus:
        raise ValueError(f"compare {label} with another label than itself")
    return Contrast(
        label=label,
        other=other,
        evidence=explanation.evidence[row] - explanation.evidence[minus],
        regions=explanation.regions,
        region_evidence=explanation.region_evidence[row] - explanation.region_evidence[minus],
        bias=float(explanation.bias[row] - explanation.bias[minus]),
        margin=float(prediction.logits[row] - prediction.logits[minus]),
    )
