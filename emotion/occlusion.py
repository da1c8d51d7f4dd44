"""Occlusion: what an answer loses when a small patch of the face is hidden, patch by patch.

The slow and plain way to a map, and the yardstick for the quick ones: it asks the model, and
assumes nothing of how the model works.

Source: Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014,
arXiv:1311.2901.
"""

import cv2
import numpy as np

from emotion.classify import classify
from emotion.faithfulness import SIDE, hide
from emotion.images import RGBImage
from emotion.model import EmotionModel
from emotion.results import FloatArray, label_index

CELLS = 7
"""Patches in a row."""
WIDTH = 1.5
"""Side of a patch in steps, so that neighbours overlap and no feature falls between two."""


def occlusion_map(
    model: EmotionModel, crop: RGBImage, label: str, *, infill: str = "blur"
) -> FloatArray:
    """Hide patch after patch; one batch of fifty small faces.

    Args:
        crop: (S, S, 3) uint8 RGB, an aligned face.
        label: whose logit counts. infill: see :func:`emotion.faithfulness.hide`.

    Returns:
        (7, 7) float32, evenly spread over the crop: by how many logits the answer falls.

    Raises:
        ValueError: no such label or infill.
    """
    row = label_index(model.spec.labels, label)
    small = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    crops = [hide(small, patch(i, j), infill) for i in range(CELLS) for j in range(CELLS)]
    logits = np.array([answer.logits[row] for answer in classify(model, [small, *crops])])
    out: FloatArray = (logits[0] - logits[1:]).reshape(CELLS, CELLS).astype(np.float32)
    return out


def patch(i: int, j: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return one patch, (96, 96) bool."""
    mask = np.zeros((SIDE, SIDE), bool)
    step, half = SIDE / CELLS, WIDTH * SIDE / CELLS / 2
    rows, columns = (
        slice(max(round((k + 0.5) * step - half), 0), round((k + 0.5) * step + half))
        for k in (i, j)
    )
    mask[rows, columns] = True
    return mask
