"""What each part of a face is worth to an answer: hide it, and see what the logit loses."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from emotion.classify import classify
from emotion.faithfulness import SIDE, hide
from emotion.model import EmotionModel
from emotion.regions import OUTSIDE, REGIONS, crop_landmarks, region_map
from emotion.results import FaceResult, label_index


@dataclass(frozen=True, slots=True, eq=False)
class PartDrops:
    """What each part of a face is worth to an answer: by how much its logit falls without it.

    Attributes:
        label: whose logit. regions: the parts of the face that have pixels.
        drops: by region, in logits, the mean of two infills (blur and mean); below 0 where the
            answer is clearer without the part.
        agreement: Spearman's correlation of the drops with the evidence of the same regions, in
            [-1, 1]: how far the map ranks the parts of this face as hiding them does.
    """

    label: str
    regions: tuple[str, ...]
    drops: tuple[float, ...]
    agreement: float


def part_drops(model: EmotionModel, face: FaceResult, label: str | None = None) -> PartDrops:
    """Hide each part of a face in turn; one batch of about twenty small faces.

    Args:
        model: that gave the result. face: as the pipeline returned it.
        label: by default the most probable one.

    Raises:
        ValueError: no such label.
    """
    label = label or face.prediction.label
    row = label_index(face.prediction.labels, label)
    crop = cv2.resize(face.crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    numbers = region_map(crop_landmarks(face.face, face.to_crop), SIDE)
    parts = [i for i in range(len(REGIONS)) if i != OUTSIDE and (numbers == i).any()]
    crops = [hide(crop, numbers == i, infill) for i in parts for infill in ("blur", "mean")]
    logits = np.array([float(a.logits[row]) for a in classify(model, [crop, *crops])])
    drops = logits[0] - logits[1:].reshape(-1, 2).mean(1)
    evidence = face.explanation.region_evidence[row][parts]
    return PartDrops(
        label=label,
        regions=tuple(REGIONS[i] for i in parts),
        drops=tuple(float(drop) for drop in drops),
        agreement=spearman(evidence, drops),
    )


def spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two rows of numbers; 0 where one does not vary."""
    if len(a) < 2:
        return 0.0
    ranks = [average_ranks(values) for values in (a, b)]
    centred = [r - r.mean() for r in ranks]
    size = float(np.linalg.norm(centred[0]) * np.linalg.norm(centred[1]))
    return float(centred[0] @ centred[1]) / size if size else 0.0


def average_ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ranks from 0; equal values share the mean of theirs."""
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    out: NDArray[np.float64] = (ends - (counts + 1) / 2)[groups]
    return out
