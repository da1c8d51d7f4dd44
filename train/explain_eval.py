"""How far a heatmap can be trusted: the figures of a model's explanations on many faces.

Each face is explained for the emotion that the model names. Every figure compares the map with
what happens when the face is changed, or with a map that knows nothing of the face.
"""

from typing import Any

import numpy as np

from emotion.model import EmotionModel
from train.datasets import DataError, FaceDataset
from train.explain_facts import facs_overlap, map_cost
from train.explain_maps import exactness, inside_share, random_classifier, runner_up
from train.explain_trials import deletion_figures, proof_shares, region_figures, stability
from train.explained import explained


def explain_eval(model: EmotionModel, faces: FaceDataset, *, limit: int = 500) -> dict[str, Any]:
    """Measure a model's explanations.

    Args:
        faces: of one split; those with a label count, evenly spaced through it.
        limit: how many of them.

    Returns:
        The JSON object of ``python -m train explain-eval``.

    Raises:
        DataError: no face with a label.
    """
    index = np.flatnonzero(faces.labels >= 0)
    if not len(index):
        raise DataError("there is no face with a label to explain")
    index = index[np.linspace(0, len(index) - 1, min(limit, len(index))).astype(int)]
    seen = explained(model, [faces.crops[i] for i in index])
    return {
        "n": len(index),
        **exactness(model, seen),
        "regions": region_figures(model, seen),
        "deletion": deletion_figures(model, seen),
        "random_classifier": random_classifier(model, seen),
        "runner_up": runner_up(seen),
        "stability": stability(model, seen),
        "inside": inside_share(model, seen),
        "proofs": proof_shares(model, seen),
        "facs": facs_overlap(model, seen.chosen(), seen.labels, seen.regions),
        "cost": map_cost(model, seen.crops[0]),
    }
