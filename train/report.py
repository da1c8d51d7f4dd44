"""All that can be measured of a model on a split: one page to read, one JSON file to compute with.

The figures are gathered here, as plain JSON types; :mod:`train.page` makes the page of them.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emotion.model import EmotionModel
from emotion.weights import ModelSpec
from train.agreement import vote_figures
from train.curves import class_curves
from train.datasets import VOTES, FaceDataset
from train.evaluate import (
    Answers,
    answer,
    figures_of,
    progress,
    robustness_of,
    true_labels,
    write_json,
)
from train.metrics import mcnemar, probabilities_of, reliability_bins
from train.page import Pictures, page
from train.portraits import mean_evidence, portraits
from train.robustness import changes

MISTAKES = 24


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What goes into a report.

    Attributes:
        split: name of the split that the faces are.
        command: that made the report, to be repeated.
        limit: how many faces of the split were read at most; None for all.
        robust: measure damaged and differently cut faces (35 passes of each model).
        faces: show the pictures of the faces that are taken wrongly.
    """

    split: str
    command: str = ""
    limit: int | None = None
    robust: bool = True
    faces: bool = False


def report(
    model: EmotionModel,
    faces: FaceDataset,
    out: Path,
    *,
    options: ReportOptions,
    against: EmotionModel | None = None,
    duplicate: NDArray[np.bool_] | None = None,
) -> tuple[Path, Path]:
    """Measure a model and write ``out/NAME-SPLIT.html`` and ``out/NAME-SPLIT.json``.

    Args:
        faces: one split, the faces without a label among them (their votes count too).
        against: another model to set beside it, measured by the same labels.
        duplicate: (N,) whether a face has a near duplicate in another split.

    Returns:
        The two files.

    Raises:
        DataError: no labelled face, or labels that a model does not have.
        ValueError: the two models are measured by different labels.
    """
    check_same_truth(model, against, faces)
    known = int((true_labels(faces, model.spec)[1] >= 0).sum())
    passes = len(faces) + known * len(changes()) * options.robust
    with progress(passes * (1 if against is None else 2) + known) as bar:
        figures_for = partial(
            measure, faces=faces, robust=options.robust, duplicate=duplicate, bar=bar
        )
        answers, figures = figures_for(model)
        maps, count = mean_evidence(model, answers)
        bar.update(known)
        other = None
        if against is not None:
            theirs, other_figures = figures_for(against)
            other = {
                "model": about(against.spec),
                "figures": other_figures,
                "mcnemar": compare(answers, theirs, figures["common"]),
            }
    looks, worst = portraits(model, maps, count), most_confident_mistakes(answers)
    data = {
        "model": about(model.spec),
        "split": options.split,
        "command": options.command,
        "limit": options.limit,
        "faces_in_split": len(faces),
        "figures": figures,
        "evidence": {k: {"n": v["n"], "regions": v["regions"]} for k, v in looks.items()},
        "evidence_scale": model.spec.evidence_scale,
        "mistakes": [describe(answers, i) for i in worst],
        "against": other,
    }
    pictures = Pictures(
        portraits={name: look["svg"] for name, look in looks.items()},
        crops=[answers.faces.crops[i] for i in worst] if options.faces else None,
    )
    return write(data, pictures, out)


def check_same_truth(model: EmotionModel, against: EmotionModel | None, faces: FaceDataset) -> None:
    """Raise ``ValueError`` if two models cannot be compared face by face."""
    if against is None:
        return
    truths = [true_labels(faces, m.spec)[0] for m in (model, against)]
    if truths[0] != truths[1]:
        raise ValueError(
            f"{model.spec.name} is measured by the labels of {truths[0]} and {against.spec.name} "
            f"by those of {truths[1]}; compare two models with the same labels"
        )


def measure(
    model: EmotionModel,
    *,
    faces: FaceDataset,
    robust: bool,
    duplicate: NDArray[np.bool_] | None,
    bar: Any,
) -> tuple[Answers, dict[str, Any]]:
    """Return a model's answers to the labelled faces, and all its figures."""
    everything = answer(model, faces, bar=bar)
    known = everything.labels >= 0
    answers, names = everything.where(known), model.spec.labels
    probabilities = probabilities_of(answers.logits)
    figures = figures_of(answers, None if duplicate is None else duplicate[known])
    figures["reliability"] = reliability_bins(probabilities, answers.labels)
    figures["curves"] = class_curves(probabilities, answers.labels, names)
    figures["votes"] = vote_figures(everything.logits, faces.votes, names)
    if robust:
        figures["robustness"] = robustness_of(model, answers, bar=bar)
    return answers, figures


def compare(answers: Answers, other: Answers, common: list[str]) -> dict[str, Any]:
    """Return McNemar's test for all faces and for those of each common class, by name."""
    names = answers.spec.labels
    right = answers.logits.argmax(1) == answers.labels
    # The other model may list the same labels in another order; each is right by its own.
    other_right = other.logits.argmax(1) == other.labels
    parts = {"all": np.ones(len(right), bool)}
    parts |= {name: answers.labels == names.index(name) for name in common}
    return {name: mcnemar(right[rows], other_right[rows]) for name, rows in parts.items()}


def about(spec: ModelSpec) -> dict[str, Any]:
    """Return what tells one model from another."""
    return {"name": spec.name, "sha256": spec.sha256, "labels": list(spec.labels)}


def most_confident_mistakes(answers: Answers, count: int = MISTAKES) -> list[int]:
    """Return the rows of the wrong answers with the highest probability, that one first."""
    wrong = np.flatnonzero(answers.logits.argmax(1) != answers.labels)
    confidence = probabilities_of(answers.logits[wrong]).max(1)
    return wrong[np.argsort(-confidence, kind="stable")[:count]].tolist()


def describe(answers: Answers, row: int) -> dict[str, Any]:
    """Return one answer in words and numbers; ``votes`` as far as there are any."""
    names, probabilities = answers.spec.labels, probabilities_of(answers.logits[row : row + 1])[0]
    given = answers.faces.votes[row].tolist()
    return {
        "name": answers.faces.names[row],
        "truth": names[int(answers.labels[row])],
        "answer": names[int(probabilities.argmax())],
        "probability": float(probabilities.max()),
        "probability_of_truth": float(probabilities[int(answers.labels[row])]),
        "votes": {name: n for name, n in zip(VOTES, given, strict=True) if n},
    }


def write(data: dict[str, Any], pictures: Pictures, out: Path) -> tuple[Path, Path]:
    """Write the page and the JSON file."""
    stem = f"{data['model']['name']}-{data['split']}"
    html, numbers = out / f"{stem}.html", out / f"{stem}.json"
    write_json(numbers, data)
    html.write_text(page(data, pictures), encoding="utf-8")
    return html, numbers
