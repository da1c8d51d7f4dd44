"""A weight file on a labelled split, through the very code that serves it."""

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from emotion.classify import classify
from emotion.labels import FER2013, FERPLUS
from emotion.model import EmotionModel
from emotion.preprocess import Crop
from emotion.weights import ModelSpec, load_spec
from train.datasets import SPLITS, DataError, FaceDataset, MissingSplitError, load_faces
from train.duplicates import duplicates_across
from train.metrics import Labels, Logits, accuracy_of, evaluate_logits, set_figures, subset_figures
from train.robustness import Change, changes, robustness

CHUNK = 256
PLAIN = ("n", "accuracy", "macro_recall", "macro_recall_common", "macro_f1", "ece")


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a model says to faces.

    Attributes:
        spec: of the model.
        truth: which labels count: ``ferplus`` or ``fer2013``.
        faces: N faces.
        labels: (N,) int64, the true label as an index of ``spec.labels``, -1 for none.
        logits: (N, C) float32.
    """

    spec: ModelSpec
    truth: str
    faces: FaceDataset
    labels: Labels
    logits: Logits

    def where(self, keep: NDArray[np.bool_]) -> "Answers":
        """Return the answers for which ``keep`` (N,) is true."""
        faces, labels, logits = self.faces.where(keep), self.labels[keep], self.logits[keep]
        return replace(self, faces=faces, labels=labels, logits=logits)


def evaluate(
    model: EmotionModel,
    faces: FaceDataset,
    *,
    flip: bool = False,
    robust: bool = False,
    duplicate: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """Return the figures of a model on the faces that have a label.

    Args:
        flip: average the logits with those of the mirrored face.
        robust: measure damaged and differently cut faces too (35 further passes).
        duplicate: (N,) whether a face has a near duplicate in another split.

    Returns:
        What :func:`figures_of` returns, with ``seconds``.

    Raises:
        DataError: no labelled face, or labels that the model does not have.
    """
    began = time.perf_counter()
    known = true_labels(faces, model.spec)[1] >= 0
    faces = faces.where(known)
    with progress(len(faces) * (1 + robust * len(changes()))) as bar:
        answers = answer(model, faces, flip=flip, bar=bar)
        figures = figures_of(answers, None if duplicate is None else duplicate[known])
        if robust:
            figures["robustness"] = robustness_of(model, answers, flip=flip, bar=bar)
    return {**figures, "seconds": round(time.perf_counter() - began, 2)}


def true_labels(faces: FaceDataset, spec: ModelSpec) -> tuple[str, Labels]:
    """Return what a model is measured by: FER2013's own labels if it has just those, else FER+'s.

    Returns:
        ``ferplus`` or ``fer2013``, and (N,) int64 indices of ``spec.labels``, -1 for none.

    Raises:
        DataError: no labelled face, or labels that the model does not have.
    """
    seven = set(spec.labels) == set(FER2013)
    truth, names, given = (
        ("fer2013", FER2013, faces.fer2013) if seven else ("ferplus", FERPLUS, faces.labels)
    )
    if not (given >= 0).any():
        raise DataError(f"there is no labelled face to evaluate on (labels of {truth})")
    unknown = {names[i] for i in np.unique(given[given >= 0])} - set(spec.labels)
    if unknown:
        raise DataError(f"{spec.name} does not know {', '.join(sorted(unknown))}")
    order = [spec.labels.index(n) if n in spec.labels else -1 for n in names]
    return truth, np.array([*order, -1], np.int64)[given]


def answer(
    model: EmotionModel, faces: FaceDataset, *, flip: bool = False, bar: Any = None
) -> Answers:
    """Classify faces, labelled or not; ``bar`` is moved on by each."""
    truth, labels = true_labels(faces, model.spec)
    logits = logits_of(model, faces.crops, flip=flip, bar=bar)
    return Answers(model.spec, truth, faces, labels, logits)


def figures_of(answers: Answers, duplicate: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Return the figures of answers that all have a label.

    Args:
        duplicate: (N,) whether a face has a near duplicate in another split.

    Returns:
        ``truth``, what :func:`train.metrics.evaluate_logits` returns, ``sets`` (see
        :func:`train.metrics.set_figures`) and, where ``duplicate`` is given,
        ``without_duplicates`` (see :func:`train.metrics.subset_figures`).
    """
    logits, labels, names = answers.logits, answers.labels, answers.spec.labels
    figures = {"truth": answers.truth, **evaluate_logits(logits, labels, names)}
    threshold = answers.spec.set_threshold
    figures["sets"] = set_figures(logits, labels, names, threshold=threshold)
    if duplicate is not None:
        common = np.array([name in figures["common"] for name in names])
        figures["without_duplicates"] = subset_figures(logits, labels, ~duplicate, common=common)
    return figures


def robustness_of(
    model: EmotionModel, answers: Answers, *, flip: bool = False, bar: Any = None
) -> dict[str, Any]:
    """Return what :func:`train.robustness.robustness` measures on labelled faces."""

    def accuracy(change: Change) -> float:
        logits = logits_of(model, answers.faces.crops, flip=flip, change=change, bar=bar)
        return accuracy_of(logits, answers.labels)

    return robustness(accuracy, accuracy_of(answers.logits, answers.labels))


def logits_of(
    model: EmotionModel,
    crops: Sequence[Crop],
    *,
    flip: bool = False,
    change: Change | None = None,
    bar: Any = None,
) -> Logits:
    """Return the logits (N, C) of crops.

    Args:
        flip: average with the mirrored face. change: made to each crop first.
        bar: a progress bar that is moved on by each crop.
    """
    parts = [np.empty((0, len(model.spec.labels)), np.float32)]
    for start in range(0, len(crops), CHUNK):
        batch = list(crops[start : start + CHUNK])
        if change:
            batch = [change(crop, start + i) for i, crop in enumerate(batch)]
        logits = np.stack([p.logits for p in classify(model, batch)])
        if flip:
            mirrored = [np.ascontiguousarray(crop[:, ::-1]) for crop in batch]
            other = np.stack([p.logits for p in classify(model, mirrored)])
            logits = np.mean([logits, other], axis=0, dtype=np.float32)
        parts.append(logits)
        if bar is not None:
            bar.update(len(batch))
    return np.concatenate(parts)


def first(faces: FaceDataset, limit: int | None) -> FaceDataset:
    """Return the first faces, or all of them for None."""
    return faces if limit is None else faces.where(np.arange(len(faces)) < limit)


def progress(total: int) -> Any:
    """Return a progress bar on stderr that counts faces."""
    return tqdm(total=total, desc="evaluate", unit="face", unit_scale=True, mininterval=1)


def duplicates_in_other_splits(
    faces: FaceDataset, data: Path, split: str
) -> NDArray[np.bool_] | None:
    """Return (N,) whether a face of a split has a near duplicate in another one.

    None where the folder holds no other split.

    Raises:
        DataError: another split cannot be read.
    """
    others = []
    for other in SPLITS:
        with contextlib.suppress(MissingSplitError):
            others += [load_faces(data, other)] if other != split else []
    return duplicates_across(faces, others) if others else None


def record(weights: Path, name: str, figures: dict[str, Any]) -> None:
    """Write the main figures into the spec beside a weight file, for the model card.

    A figure that could not be measured (None) is left out.
    """
    spec = load_spec(weights)
    low, high = figures["accuracy_interval"]
    main = {key: figures[key] for key in PLAIN} | {"accuracy_low": low, "accuracy_high": high}
    if "sets" in figures:
        main |= {f"set_{key}": figures["sets"][key] for key in ("coverage", "size")}
    if "robustness" in figures:
        keys = ("corruption_mean", "corruption_relative", "framing_gap")
        main |= {key: figures["robustness"][key] for key in keys}
    if "without_duplicates" in figures:
        keys = ("n", "accuracy", "macro_recall")
        main |= {f"without_duplicates_{k}": figures["without_duplicates"][k] for k in keys}
    for label, row in figures["per_class"].items():
        main |= {f"recall_{label}": row["recall"], f"n_{label}": row["n"]}
    metrics = {f"{name}_{key}": round(v, 4) for key, v in main.items() if v is not None}
    spec = replace(spec, metrics={**spec.metrics, **metrics})
    weights.with_suffix(".json").write_text(spec.to_json(), encoding="utf-8")


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Write figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
