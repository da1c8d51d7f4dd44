"""How a model did on a split, as one small file that the app can show: no face is in it.

For every pair of true and named label there is the mean evidence of those faces, so that one can
see what the model looks at when it is right, and when it takes fear for surprise.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emotion.evidence import class_evidence, share_by_region
from emotion.landmarks import MEAN_FACE
from emotion.model import EmotionModel
from emotion.regions import REGIONS, region_masks
from emotion.results import FloatArray
from train.datasets import FaceDataset
from train.evaluate import CHUNK, answer, evaluate, true_labels, write_json
from train.explain_eval import explain_eval

KIND, FORMAT = "emotion-lens scoreboard", 1


def scoreboard(
    model: EmotionModel, faces: FaceDataset, *, split: str, limit: int = 500
) -> dict[str, Any]:
    """Measure a model, and gather what the Scoreboard tab shows.

    Args:
        faces: of the split. limit: faces of the figures of explanations.

    Returns:
        A JSON object: figures, cells of the confusion matrix with their mean evidence, figures of
        the explanations.

    Raises:
        DataError: no labelled face.
    """
    figures = evaluate(model, faces, robust=True)
    known = faces.where(true_labels(faces, model.spec)[1] >= 0)
    spec = model.spec
    origin, step = spec.grid_on_crop()
    return {
        "kind": KIND,
        "format": FORMAT,
        "model": spec.name,
        "sha256": spec.sha256,
        "data": figures["truth"],
        "split": split,
        "labels": list(spec.labels),
        "regions": list(REGIONS),
        "origin": origin,
        "step": step,
        "scale": spec.evidence_scale,
        "figures": {
            key: figures[key]
            for key in ("n", "accuracy", "accuracy_interval", "macro_recall", "ece", "per_class")
        },
        "sets": {key: figures["sets"][key] for key in ("coverage", "size", "threshold")},
        "robustness": figures["robustness"],
        "cells": cells(model, known),
        "explanations": explain_eval(model, faces, limit=limit),
    }


def cells(model: EmotionModel, faces: FaceDataset) -> list[dict[str, Any]]:
    """Return the cells of the confusion matrix that have a face.

    Args:
        faces: that all have a label.

    Returns:
        Each with ``truth`` and ``said`` (labels), ``n``, the mean ``probability`` of what was
        said, and the mean evidence for it: ``evidence`` (h, w) in logits, ``regions`` (by the mean
        face), ``bias``.
    """
    answers = answer(model, faces)
    said = answers.logits.argmax(1)
    sums = sum_maps(model, faces, answers.labels, said)
    shares = softmax(answers.logits)[np.arange(len(said)), said]
    masks, (origin, step) = region_masks(MEAN_FACE), model.spec.grid_on_crop()
    found = []
    for truth, row in enumerate(model.spec.labels):
        for named, column in enumerate(model.spec.labels):
            here = (answers.labels == truth) & (said == named)
            if not here.any():
                continue
            grid = sums[truth, named] / int(here.sum())
            regions = share_by_region(grid[None], masks, origin=origin, step=step)[0]
            found.append(
                {
                    "truth": row,
                    "said": column,
                    "n": int(here.sum()),
                    "probability": round(float(shares[here].mean()), 4),
                    "evidence": np.round(grid.astype(float), 4).tolist(),
                    "regions": np.round(regions.astype(float), 3).tolist(),
                    "bias": round(float(model.bias[named]), 3),
                }
            )
    return found


def sum_maps(
    model: EmotionModel, faces: FaceDataset, truth: NDArray[np.int64], said: NDArray[np.int64]
) -> FloatArray:
    """Sum the maps of what was said, by cell: (C, C, h, w)."""
    total: FloatArray | None = None
    for start in range(0, len(faces), CHUNK):
        part = slice(start, start + CHUNK)
        maps = class_evidence(model, model.features(faces.crops[part]))
        if total is None:
            count = len(model.spec.labels)
            total = np.zeros((count, count, *maps.shape[2:]), np.float32)
        rows = np.arange(len(maps))
        np.add.at(total, (truth[part], said[part]), maps[rows, said[part]])
    assert total is not None
    return total


def softmax(logits: FloatArray) -> FloatArray:
    """Return probabilities (N, C)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    out: FloatArray = powers / powers.sum(1, keepdims=True)
    return out


def write_scoreboard(weights: Path, board: dict[str, Any]) -> Path:
    """Write a scoreboard beside its weights, and return the file's path."""
    path = weights.with_name(f"{weights.stem}.scoreboard.json")
    write_json(path, board)
    return path
