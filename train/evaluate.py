"""A weight file on a labelled split, through the very code that serves it."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from emotion.classify import classify
from emotion.labels import FERPLUS
from emotion.model import EmotionModel
from emotion.preprocess import Crop
from emotion.weights import load_spec
from train.datasets import DataError, FaceDataset
from train.metrics import evaluate_logits

CHUNK = 256


def evaluate(model: EmotionModel, faces: FaceDataset, *, flip: bool = False) -> dict[str, Any]:
    """Return the figures of a model on the faces that have a label.

    Args:
        flip: average the logits with those of the mirrored face.

    Returns:
        What :func:`train.metrics.evaluate_logits` returns, with ``seconds``.

    Raises:
        DataError: no labelled face, or labels that the model does not have.
    """
    faces = faces.where(faces.labels >= 0)
    if not len(faces):
        raise DataError("there is no labelled face to evaluate on")
    names = model.spec.labels
    unknown = {FERPLUS[i] for i in np.unique(faces.labels)} - set(names)
    if unknown:
        raise DataError(f"{model.spec.name} does not know {', '.join(sorted(unknown))}")
    order = np.array([names.index(n) if n in names else -1 for n in FERPLUS])
    began = time.perf_counter()
    logits = logits_of(model, faces.crops)
    if flip:
        mirrored = [np.ascontiguousarray(crop[:, ::-1]) for crop in faces.crops]
        logits = np.mean([logits, logits_of(model, mirrored)], axis=0, dtype=np.float32)
    figures = evaluate_logits(logits, order[faces.labels], names)
    return {**figures, "seconds": round(time.perf_counter() - began, 2)}


def logits_of(model: EmotionModel, crops: Sequence[Crop]) -> NDArray[np.float32]:
    """Return the logits (N, C) of crops, with a progress bar."""
    rows: list[NDArray[np.float32]] = []
    for start in tqdm(range(0, len(crops), CHUNK), desc="evaluate", unit="batch"):
        rows += [p.logits for p in classify(model, crops[start : start + CHUNK])]
    return np.stack(rows)


def record(weights: Path, name: str, figures: dict[str, Any]) -> None:
    """Write the main figures into the spec beside a weight file, for the model card."""
    spec = load_spec(weights)
    keys = ("n", "accuracy", "macro_recall", "macro_f1", "ece")
    metrics = {f"{name}_{key}": round(figures[key], 4) for key in keys}
    recall = {f"{name}_recall_{k}": round(v["recall"], 4) for k, v in figures["per_class"].items()}
    count = {f"{name}_n_{k}": v["n"] for k, v in figures["per_class"].items()}
    spec = replace(spec, metrics={**spec.metrics, **metrics, **recall, **count})
    weights.with_suffix(".json").write_text(spec.to_json(), encoding="utf-8")


def table(figures: dict[str, Any], say: Callable[[str], None] = print) -> None:
    """Print the figures for a reader."""
    say(
        f"n {figures['n']}   accuracy {figures['accuracy']:.4f}   "
        f"macro recall {figures['macro_recall']:.4f}   macro F1 {figures['macro_f1']:.4f}   "
        f"ECE {figures['ece']:.4f}   {figures['seconds']} s"
    )
    say(f"{'':10} {'n':>5} {'precision':>9} {'recall':>7} {'F1':>7}")
    for name, row in figures["per_class"].items():
        say(f"{name:10} {row['n']:5} {row['precision']:9.3f} {row['recall']:7.3f} {row['f1']:7.3f}")


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Write figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
