"""What is wrong with a data set: unreadable items, empty classes, copies, doubtful labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from emotion.classify import classify
from emotion.labels import FERPLUS
from emotion.model import EmotionModel
from train.datasets import SPLITS, DataError, FaceDataset, MissingSplitError, load_faces
from train.duplicates import duplicate_groups
from train.evaluate import first

BATCH = 256
NO_LABEL = "no label"
DOUBT_BELOW = 0.02
DOUBT_ABOVE = 0.9


@dataclass(frozen=True, slots=True)
class Item:
    """A face of a data set: its split, its name there, and its label or ``no label``."""

    split: str
    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Copies:
    """Faces that are one picture.

    Attributes:
        items: two or more.
        exact: whether they are equal pixel for pixel.
        across: whether they lie in more than one split.
        conflict: whether their labels differ; a face without a label agrees with any.
    """

    items: tuple[Item, ...]
    exact: bool
    across: bool
    conflict: bool


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label that a model finds very unlikely, and the one it is sure of; in shares of 1."""

    item: Item
    probability: float
    likelier: str
    likelier_probability: float


@dataclass(frozen=True, slots=True)
class Findings:
    """All that :func:`check` finds.

    Attributes:
        unreadable: one line for each item that cannot be read, with its file and row.
        counts: faces by split and label.
        empty: labels without a face, by split.
        copies: pictures that are there more than once.
        in_other_splits: faces, by split, of which another split has a copy.
        doubts: labels that look wrong, the least likely first; None where no model was asked.
    """

    unreadable: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    empty: Mapping[str, tuple[str, ...]]
    copies: tuple[Copies, ...]
    in_other_splits: Mapping[str, int]
    doubts: tuple[Doubt, ...] | None


def check(data: Path, model: EmotionModel | None = None, limit: int | None = None) -> Findings:
    """Read all splits of a data folder and look for what is wrong with them.

    Args:
        data: see :func:`train.datasets.load_faces`.
        model: to look for doubtful labels; None to leave that out.
        limit: look for copies and doubtful labels among the first faces of each split only;
            everything is read and counted all the same.

    Raises:
        DataError: no split can be read at all.
    """
    splits, unreadable = read_all(data)
    counts = {split: count_labels(faces) for split, faces in splits.items()}
    splits = {split: first(faces, limit) for split, faces in splits.items()}
    items = [item for split, faces in splits.items() for item in items_of(split, faces)]
    copies = find_copies(items, [crop for faces in splits.values() for crop in faces.crops])
    moved = [item.split for group in copies if group.across for item in group.items]
    return Findings(
        unreadable=unreadable,
        counts=counts,
        empty={s: tuple(name for name in FERPLUS if not n[name]) for s, n in counts.items()},
        copies=copies,
        in_other_splits={split: moved.count(split) for split in splits},
        doubts=None if model is None else find_doubts(model, splits),
    )


def read_all(data: Path) -> tuple[dict[str, FaceDataset], tuple[str, ...]]:
    """Return the splits that are there, and one line for each item that cannot be read."""
    splits: dict[str, FaceDataset] = {}
    errors: list[DataError] = []
    for split in SPLITS:
        try:
            splits[split] = load_faces(data, split, on_error=errors.append)
        except MissingSplitError:
            continue
        except DataError as error:
            errors.append(error)
    if not splits:
        raise errors[0] if errors else DataError(f"{data} holds no split")
    # A bad folder or CSV row belongs to no split, so that each split tells of it.
    return splits, tuple(dict.fromkeys(map(str, errors)))


def items_of(split: str, faces: FaceDataset) -> list[Item]:
    """Return the faces of a split by name and label."""
    names = (*FERPLUS, NO_LABEL)  # -1 is the last
    return [Item(split, n, names[i]) for n, i in zip(faces.names, faces.labels, strict=True)]


def count_labels(faces: FaceDataset) -> dict[str, int]:
    """Return how many faces each label has, in the order of FER+, and how many have none."""
    names = (*FERPLUS, NO_LABEL)
    number = np.bincount(faces.labels % len(names), minlength=len(names))
    return dict(zip(names, number.tolist(), strict=True))


def find_copies(items: Sequence[Item], crops: Sequence[NDArray[np.uint8]]) -> tuple[Copies, ...]:
    """Return the groups of faces that are one picture, in the order of their first face."""
    members: dict[int, list[int]] = {}
    for i, group in enumerate(duplicate_groups(crops).tolist()):
        members.setdefault(group, []).append(i)
    return tuple(
        Copies(
            items=tuple(items[i] for i in group),
            exact=all(np.array_equal(crops[group[0]], crops[i]) for i in group),
            across=len({items[i].split for i in group}) > 1,
            conflict=len({items[i].label for i in group} - {NO_LABEL}) > 1,
        )
        for group in members.values()
        if len(group) > 1
    )


def find_doubts(model: EmotionModel, splits: Mapping[str, FaceDataset]) -> tuple[Doubt, ...]:
    """Return the labels below :data:`DOUBT_BELOW` where another is above :data:`DOUBT_ABOVE`.

    A model has learnt some wrong labels of its own training faces by heart, so that fewer of
    them are found there. The test split is left out: to drop from it what a model gets wrong
    would only flatter the model.
    """
    doubts: list[Doubt] = []
    for split, faces in splits.items():
        if split == "test":
            continue
        known = np.array([name in model.spec.labels for name in (*FERPLUS, NO_LABEL)])
        faces = faces.where(known[faces.labels])
        for start in tqdm(range(0, len(faces), BATCH), desc=f"labels of {split}", unit="batch"):
            part = slice(start, start + BATCH)
            answers = classify(model, faces.crops[part])
            for item, answer in zip(items_of(split, faces)[part], answers, strict=True):
                chances = dict(zip(answer.labels, answer.probabilities.tolist(), strict=True))
                likelier = max(chances, key=lambda name: chances[name])
                if chances[item.label] < DOUBT_BELOW and chances[likelier] > DOUBT_ABOVE:
                    doubts.append(Doubt(item, chances[item.label], likelier, chances[likelier]))
    return tuple(sorted(doubts, key=lambda doubt: doubt.probability))


def report(findings: Findings, *, show: int, say: Callable[[str], None] = print) -> None:
    """Say what was found, for a reader.

    Args:
        show: how many items of each kind to name.
    """
    report_counts(findings, say)
    listing("unreadable items", findings.unreadable, show=show, say=say)
    for split, labels in findings.empty.items():
        if labels:
            say(f"no face in {split}: {', '.join(labels)}")
    copies = findings.copies
    exact, conflicts = sum(c.exact for c in copies), [c for c in copies if c.conflict]
    say(
        f"pictures that are there more than once: {len(copies):,}, {exact:,} of them exact; "
        f"{sum(len(c.items) for c in copies):,} faces"
    )
    for split, number in findings.in_other_splits.items():
        say(f"  faces of {split} with a copy in another split: {number:,}")
    across = [describe(c) for c in copies if c.across]
    listing("copies in several splits", across, show=show, say=say)
    listing("copies with other labels", [describe(c) for c in conflicts], show=show, say=say)
    if findings.doubts is not None:
        lines = [describe_doubt(doubt) for doubt in findings.doubts]
        listing("labels to look at again", lines, show=show, say=say)


def report_counts(findings: Findings, say: Callable[[str], None]) -> None:
    """Print the table of faces by label and split."""
    splits = list(findings.counts)
    say(" " * 10 + "".join(f"{split:>12}" for split in splits))
    for name in (*FERPLUS, NO_LABEL):
        say(f"{name:10}" + "".join(f"{findings.counts[split][name]:12,}" for split in splits))
    say(f"{'all':10}" + "".join(f"{sum(findings.counts[s].values()):12,}" for s in splits))


def listing(title: str, lines: Sequence[str], *, show: int, say: Callable[[str], None]) -> None:
    """Print a title with the number of lines, and the first of them."""
    say(f"{title}: {len(lines):,}")
    for line in lines[:show]:
        say(f"  {line}")
    if 0 < show < len(lines):
        say(f"  ... and {len(lines) - show:,} more (--json has all)")


def describe(copies: Copies) -> str:
    """Return one line about a group of copies, no more than four of them by name."""
    faces = [f"{item.split} {item.name} ({item.label})" for item in copies.items]
    rest = [f"{len(faces) - 4} more"] if len(faces) > 4 else []
    return f"{'exact' if copies.exact else 'near'}: {' = '.join(faces[:4] + rest)}"


def describe_doubt(doubt: Doubt) -> str:
    """Return one line about a doubtful label."""
    return (
        f"{doubt.item.split} {doubt.item.name}: {doubt.item.label} "
        f"({doubt.probability:.1%}), rather {doubt.likelier} ({doubt.likelier_probability:.1%})"
    )
