"""Where one would look for an emotion by FACS, the coding of facial muscles, beside the evidence.

Only for comparison: the model was not told of it, and nothing is tuned towards it.

Source: action units by emotion as in EMFACS (Friesen & Ekman 1983) and Du, Tao & Martinez,
"Compound facial expressions of emotion", PNAS 2014, doi:10.1073/pnas.1322355111; that units
are no proof of a feeling: Barrett et al., Psychological Science in the Public Interest 2019.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emotion.regions import OUTSIDE, REGIONS, region_map
from emotion.results import Explanation, label_index

BROWS, EYES = ("left brow", "right brow"), ("left eye", "right eye")
CHEEKS = ("left cheek", "right cheek")


@dataclass(frozen=True, slots=True)
class Expected:
    """What FACS expects of an emotion.

    Attributes:
        units: action units, such as ``6+12``. words: what they do.
        regions: the parts of the face on which they show.
    """

    units: str
    words: str
    regions: tuple[str, ...]


EXPECTED = {
    "happiness": Expected("6+12", "cheeks raised, mouth corners pulled up", (*CHEEKS, "mouth")),
    "sadness": Expected(
        "1+4+15", "inner brows raised and drawn together, mouth corners down", (*BROWS, "mouth")
    ),
    "surprise": Expected(
        "1+2+5+26", "brows and upper lids raised, jaw dropped", (*BROWS, *EYES, "mouth", "jaw")
    ),
    "fear": Expected(
        "1+2+4+5+7+20+26",
        "brows raised and drawn together, lids tense, lips stretched",
        (*BROWS, *EYES, "mouth"),
    ),
    "anger": Expected(
        "4+5+7+23", "brows lowered, lids tense, lips tightened", (*BROWS, *EYES, "mouth")
    ),
    "disgust": Expected(
        "9+15+16", "nose wrinkled, mouth corners and lower lip down", ("nose", "mouth")
    ),
    "contempt": Expected("12+14", "one mouth corner tightened and raised", ("mouth",)),
}
"""Neutral has no units: it is the lack of them."""


def facs_note(explanation: Explanation, label: str) -> str:
    """Say what FACS expects of a label, and how much of the positive evidence lies there.

    Returns:
        A sentence or two; for a label without units, that there are none.

    Raises:
        ValueError: no such label.
    """
    row = explanation.region_evidence[label_index(explanation.labels, label)]
    expected = EXPECTED.get(label)
    if expected is None:
        said = f"FACS has no action units for {label}: it is a face on which none stands out."
    else:
        share = share_within(explanation, label, expected.regions)
        said = (
            f"FACS expects action units {expected.units} ({expected.words}), seen on: "
            f"{', '.join(expected.regions)}."
        )
        if share is not None:
            said += f" {share:.0%} of the evidence for it lies on these parts."
    outside = float(row[explanation.regions.index(REGIONS[OUTSIDE])])
    positive = float(np.maximum(row, 0).sum())
    if positive > 0 and outside > 0.2 * positive:
        said += f" Beware: {outside / positive:.0%} of it lies outside the face."
    return said


def share_within(explanation: Explanation, label: str, regions: tuple[str, ...]) -> float | None:
    """Return the share of a label's positive region evidence on some regions; None without any."""
    row = explanation.region_evidence[label_index(explanation.labels, label)]
    positive = np.maximum(row, 0)
    if positive.sum() <= 0:
        return None
    chosen = [explanation.regions.index(name) for name in regions]
    return float(positive[chosen].sum() / positive.sum())


def overlap(hot: NDArray[np.bool_], points: NDArray[np.float64], label: str) -> float | None:
    """Return the intersection over union of an area with the regions that FACS expects.

    Args:
        hot: (S, S) bool, of the crop. points: (68, 2) landmarks in crop units.

    Returns:
        In [0, 1]; None for a label without action units.
    """
    expected = EXPECTED.get(label)
    if expected is None:
        return None
    wanted = np.isin(region_map(points, len(hot)), [REGIONS.index(r) for r in expected.regions])
    return float((hot & wanted).sum() / max((hot | wanted).sum(), 1))
