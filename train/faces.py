"""The type of labelled faces, what is said of those that cannot be read, and FER+'s votes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emotion.errors import EmotionError
from emotion.labels import FERPLUS
from emotion.preprocess import Crop

VOTES = (*FERPLUS, "unknown", "nf")
MOST_VOTES = 10_000
"""A larger number of votes for one label of one face is taken for a damaged file."""


class DataError(EmotionError):
    """Training data that is missing, or not in one of the forms that are understood."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # pandas and pyarrow tell in several lines


class MissingSplitError(DataError):
    """A data folder that is in order, but lacks the split that was asked for."""


OnError = Callable[[DataError], None]
"""What a reader does about an item that it cannot read, before it leaves that item out."""

Tell = Callable[[int, str], None]
"""The same for a row of a file: its number, counted from 0, and the reason."""


def fail(error: DataError) -> None:
    """Stop at the first item that cannot be read."""
    raise error


def _unknown() -> NDArray[np.int64]:
    """Stand for a field that is not known of any face."""
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class FaceDataset:
    """Faces and what people saw in them.

    Attributes:
        crops: N arrays (S, S) or (S, S, 3) uint8, RGB where coloured.
        targets: (N, 8) float32, each row a distribution over :data:`emotion.labels.FERPLUS`,
            or zeros where none can be given.
        labels: (N,) int64, the one label that evaluation counts, -1 where people disagreed.
        names: N file names.
        fer2013: (N,) int64, FER2013's own label as an index of
            :data:`emotion.labels.FER2013`, -1 where it is not known. Left out: all -1.
        votes: (N, 10) int64, how many taggers chose each of :data:`VOTES`, zeros where it is
            not known. Left out: all zeros.
    """

    crops: Sequence[Crop]
    targets: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: Sequence[str]
    fer2013: NDArray[np.int64] = field(default_factory=_unknown)
    votes: NDArray[np.int64] = field(default_factory=_unknown)

    def __post_init__(self) -> None:
        count = len(self.crops)
        if not self.fer2013.size:
            object.__setattr__(self, "fer2013", np.full(count, -1, np.int64))
        if not self.votes.size:
            object.__setattr__(self, "votes", np.zeros((count, len(VOTES)), np.int64))
        expected = {
            "targets": (count, len(FERPLUS)),
            "labels": (count,),
            "fer2013": (count,),
            "votes": (count, len(VOTES)),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"expected {name} {shape}, got {getattr(self, name).shape}")
        if len(self.names) != count:
            raise ValueError(f"expected {count} names, got {len(self.names)}")

    def __len__(self) -> int:
        return len(self.crops)

    def where(self, keep: NDArray[np.bool_]) -> "FaceDataset":
        """Return the faces for which ``keep`` (N,) is true."""
        index = np.flatnonzero(keep).tolist()
        return FaceDataset(
            crops=[self.crops[i] for i in index],
            targets=self.targets[index],
            labels=self.labels[index],
            names=[self.names[i] for i in index],
            fer2013=self.fer2013[index],
            votes=self.votes[index],
        )


def require_trainable(faces: FaceDataset) -> None:
    """Make sure that there is something to tell apart.

    Raises:
        DataError: fewer than two faces with a target, or all of one class.
    """
    taught = faces.targets[faces.targets.sum(1) > 0]
    classes = np.unique(taught.argmax(1))
    if len(taught) < 2:
        raise DataError(f"{len(taught)} of {len(faces)} faces can be trained on; at least 2 needed")
    if len(classes) < 2:
        raise DataError(
            f"all {len(taught)} faces to train on show {FERPLUS[classes[0]]}; "
            "training needs faces of at least two emotions"
        )


def ferplus_labels(votes: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Turn the votes of ten taggers into targets and labels.

    A single vote for a label is dropped as an outlier. The target is the distribution of the
    remaining votes over the eight emotions. The label is the winner if it has more than half
    of the remaining votes, and is -1 otherwise or where ``unknown`` or ``nf`` wins.

    Args:
        votes: (N, 10) in the order of :data:`VOTES`.

    Returns:
        targets (N, 8) float32, a row of zeros where no target can be given; labels (N,).

    Source: Barsoum et al., ICMI 2016, arXiv:1608.01041, mode "majority" of the authors' code.
    """
    kept = np.where(votes > 1, votes, 0)
    emotions = kept[:, : len(FERPLUS)].astype(np.float32)
    winner = kept.argmax(1)
    named = (winner < len(FERPLUS)) & (kept.max(1) > 0)
    majority = kept.max(1) * 2 > kept.sum(1)
    total = emotions.sum(1, keepdims=True)
    targets = np.where(named[:, None] & (total > 0), emotions / np.maximum(total, 1), 0)
    return targets.astype(np.float32), np.where(named & majority, winner, -1).astype(np.int64)


def one_hot(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (N, 8) targets that are certain of each label; zeros for -1."""
    rows = np.vstack([np.eye(len(FERPLUS)), np.zeros(len(FERPLUS))])
    return rows[labels].astype(np.float32)


def need_columns(table: pd.DataFrame, columns: Sequence[str], *, file: str) -> None:
    """Raise ``DataError`` that names the columns which a table lacks, and those it has."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        has = ", ".join(map(str, table.columns[:16]))
        raise DataError(f"{file} has no column {', '.join(missing)}; it has {has}")


def whole_numbers(column: "pd.Series[object]", *, most: int, tell: Tell) -> NDArray[np.int64]:
    """Return a column as whole numbers; -1, after telling, where it holds anything else.

    Args:
        column: its index holds the numbers of the rows.
        most: the largest number allowed; the smallest is 0.

    Returns:
        (N,) int64.
    """
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    good = (numbers >= 0) & (numbers <= most) & (np.floor(numbers) == numbers)
    for i in np.flatnonzero(~good):
        value = str(column.iloc[i])[:40]
        tell(int(column.index[i]), f"{column.name} is {value!r}, expected a number 0 to {most}")
    return np.where(good, numbers, -1).astype(np.int64)


def centre_square(image: Crop) -> Crop:
    """Cut (H, W, ...) to its middle (S, S, ...), contiguous."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])
