"""How often a model is right on the faces that get a quality note: the figures in the notes.

Faces as they are and with seeded everyday damage are measured as the app measures them. For each
kind of note: the accuracy over all that get it, and the share of undamaged faces that get it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from emotion.align import alignment, warp
from emotion.detect import FaceDetector
from emotion.model import EmotionModel
from emotion.preprocess import Crop, resize
from emotion.quality import LIMITS, Limit, measure
from emotion.results import Face, Quality
from emotion.weights import load_spec
from train.corruptions import STRENGTHS, corrupt
from train.datasets import FaceDataset
from train.evaluate import logits_of, progress, true_labels
from train.metrics import Labels
from train.table import percent

CAUSES = {
    "dark": ("dark",),
    "bright": ("bright",),
    "blurred": ("motion_blur", "defocus_blur", "low_resolution"),
}
"""Kinds of damage in :mod:`train.corruptions` that should lead to a note."""

SIZES = (16, 20, 24, 32)
"""Sizes of small faces: sides of their boxes, in pixels."""

BOX_SHARE = 0.85
"""Side of a face's box over the side of its crop: 0.84 for dlib's HOG; for YuNet 0.86, as the
median over FER2013's validation faces."""

TRIED = {
    "dark": (10.0, 15.0, 20.0, 30.0, 40.0),
    "bright": (210.0, 220.0, 225.0, 230.0, 240.0),
    "blurred": (0.05, 0.1, 0.15, 0.2, 0.25),
    "small": (20.0, 24.0, 32.0),
    "turned": (0.5, 0.6, 0.7, 0.8, 0.9),
}
"""Limits that are compared, so that those of :mod:`emotion.quality` can be chosen."""

LEAST = 50
"""Faces that an accuracy must rest on to be kept in a spec."""

ENLARGED, MARGIN, SMALLEST = 192, 64, 80
"""How a crop is made a picture to find its face in: side, border, smallest face, in pixels."""

Seen = tuple[Crop, Face]
"""What the model sees of a face, and the face."""

Change = Callable[[Crop, int], Seen | None]
"""Makes a face of a data set's crop and its index; None where there is none to see."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Faces of one sort.

    Attributes:
        qualities: N measures. right: (N,) bool, whether the model was.
    """

    qualities: Sequence[Quality]
    right: NDArray[np.bool_]

    def passed(self, limit: Limit) -> NDArray[np.bool_]:
        """Return (N,) whether each face gets the note."""
        return np.array([limit.passed(quality) for quality in self.qualities], bool)


def measure_quality(
    model: EmotionModel, faces: FaceDataset, *, detector: FaceDetector | None = None
) -> dict[str, Any]:
    """Return, for each kind of note, how often the model is right on the faces that get it.

    Args:
        faces: those without a label are left out.
        detector: that finds landmarks; without one ``turned`` is not measured.

    Returns:
        ``n`` and ``all``: the number of faces and the accuracy on them as they are. ``notes``: by
        kind, what :func:`note_figures` returns, and under ``tried`` the same for other limits;
        with a detector also ``found``, the share of the faces it finds that get the note.

    Raises:
        DataError: no labelled face, or labels that the model does not have.
    """
    labels = true_labels(faces, model.spec)[1]
    faces, labels = faces.where(labels >= 0), labels[labels >= 0]
    groups = changes(detector)
    with progress(len(labels) * sum(len(group) for group in groups.values())) as bar:
        trials = {
            kind: [run(model, faces.crops, labels, change=change, bar=bar) for change in group]
            for kind, group in groups.items()
        }
    (plain,) = trials.pop("all")
    notes = {}
    for limit in LIMITS:
        if limit.kind not in trials:
            continue
        others = [replace(limit, value=value) for value in TRIED[limit.kind]]
        # Only faces that were found have landmarks, and a turned face is no damaged one.
        parts = ([] if limit.kind == "turned" else [plain]) + trials[limit.kind]
        notes[limit.kind] = note_figures(limit, parts) | {
            "tried": [note_figures(other, parts) for other in others]
        }
        if "turned" in trials:
            notes[limit.kind]["found"] = mean(trials["turned"][0].passed(limit))
    return {"n": len(labels), "all": float(plain.right.mean()), "notes": notes}


def changes(detector: FaceDetector | None) -> dict[str, list[Change]]:
    """Return what is done to the faces for each kind of note, and under ``all`` nothing."""
    groups: dict[str, list[Change]] = {
        kind: [partial(damage, cause, s) for cause in causes for s in STRENGTHS]
        for kind, causes in CAUSES.items()
    }
    groups |= {"all": [as_it_is], "small": [partial(reduce, size) for size in SIZES]}
    return groups | ({"turned": [partial(find, detector)]} if detector else {})


def as_it_is(crop: Crop, index: int) -> Seen:
    """Take a crop for a face in a picture of the crop's own resolution."""
    return crop, boxed(len(crop) * BOX_SHARE)


def boxed(side: float) -> Face:
    """Return a face without landmarks whose box has a side in pixels."""
    return Face(box=np.array([0, 0, side, side], np.float32), score=0.0)


def damage(kind: str, strength: int, crop: Crop, index: int) -> Seen:
    """Damage a crop."""
    return as_it_is(corrupt(crop, kind, strength=strength, index=index), index)


def reduce(size: int, crop: Crop, index: int) -> Seen:
    """Reduce a crop as if the face's box had a side of ``size`` pixels, and enlarge it again."""
    return resize(resize(crop, round(size / BOX_SHARE)), len(crop)), boxed(size)


def find(detector: FaceDetector, crop: Crop, index: int) -> Seen | None:
    """Set a crop into a larger picture, find its face there and align it as the app does.

    Returns:
        None unless just one face with landmarks is found.
    """
    grey = crop if crop.ndim == 2 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    large = np.pad(resize(grey, ENLARGED), MARGIN, mode="edge")
    image = np.asarray(cv2.cvtColor(large, cv2.COLOR_GRAY2RGB), np.uint8)
    faces = detector.detect(image, min_face=SMALLEST)
    if len(faces) != 1 or faces[0].landmarks is None:
        return None
    return warp(image, alignment(faces[0])), faces[0]


def run(
    model: EmotionModel, crops: Sequence[Crop], labels: Labels, *, change: Change, bar: Any
) -> Trial:
    """Change crops, measure and classify them; ``bar`` is moved on by each."""
    made = [change(crop, index) for index, crop in enumerate(crops)]
    kept = np.array([seen is not None for seen in made], bool)
    faces = [seen for seen in made if seen is not None]
    logits = logits_of(model, [crop for crop, _ in faces], bar=bar)
    bar.update(len(crops) - len(faces))
    return Trial([measure(*seen) for seen in faces], logits.argmax(1) == labels[kept])


def note_figures(limit: Limit, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return what a limit does.

    Args:
        trials: of which the first are the undamaged faces.

    Returns:
        ``limit``; ``n``, the faces that get the note; ``accuracy`` on them, None without one;
        ``alarms``, the share of the undamaged faces that get it, None if there is none.
    """
    passed = [trial.passed(limit) for trial in trials]
    right = np.concatenate([t.right[p] for t, p in zip(trials, passed, strict=True)])
    return {
        "limit": limit.value,
        "n": len(right),
        "accuracy": mean(right),
        "alarms": mean(passed[0]),
    }


def mean(values: NDArray[np.bool_]) -> float | None:
    """Return the share of true values; None where there is none at all."""
    return float(values.mean()) if len(values) else None


def record(weights: Path, figures: dict[str, Any]) -> None:
    """Write the accuracies into the spec beside a weight file, for the notes.

    A kind that was not measured, or on fewer than :data:`LEAST` faces, is left out.
    """
    kept = {k: v["accuracy"] for k, v in figures["notes"].items() if v["n"] >= LEAST}
    quality = {kind: round(value, 4) for kind, value in {"all": figures["all"], **kept}.items()}
    spec = replace(load_spec(weights), quality=quality)
    weights.with_suffix(".json").write_text(spec.to_json(), encoding="utf-8")


def table(figures: dict[str, Any], say: Callable[[str], None] = print) -> None:
    """Print the figures for a reader; a star is at the limit in use."""
    say(f"all faces as they are: n {figures['n']}, accuracy {percent(figures['all'])} %")
    say(f"{'note':8} {'limit':>7} {'n':>6} {'right %':>8} {'undamaged with it, %':>22}")
    for kind, row in figures["notes"].items():
        for other in row["tried"]:
            mark = "*" if other["limit"] == row["limit"] else " "
            cells = f"{percent(other['accuracy']):>8} {percent(other['alarms']):>22}"
            say(f"{kind:8} {other['limit']:6}{mark} {other['n']:6} {cells}")
        if "found" in row:
            say(f"{'':8} of the faces found in a picture {percent(row['found'])} % get it")
