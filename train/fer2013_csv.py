"""Kaggle's ``fer2013.csv``, with the votes of FER+'s ``fer2013new.csv`` where it is there."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emotion.labels import FER2013, FERPLUS
from emotion.preprocess import Crop
from train.faces import (
    MOST_VOTES,
    VOTES,
    DataError,
    FaceDataset,
    MissingSplitError,
    OnError,
    Tell,
    fail,
    ferplus_labels,
    need_columns,
    one_hot,
    whole_numbers,
)

USAGES = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
VOTE_COLUMNS = (*FERPLUS, "unknown", "NF")
SIDE = 48


def read_csv(data: Path, split: str, on_error: OnError = fail) -> FaceDataset:
    """Read one split of ``fer2013.csv``.

    With ``fer2013new.csv`` beside it, whose rows are the same faces in the same order, the
    labels are those of FER+'s votes, and rows that its authors found to be no face are left
    out. Without it they are FER2013's own seven.

    Args:
        data: the folder.
        split: ``train``, ``validation`` or ``test``.
        on_error: told of each row that cannot be read; such a row is left out.

    Raises:
        MissingSplitError: no row belongs to the split.
        DataError: a file is not as it was published, or ``on_error`` raises it.
    """
    table = read_table(data / "fer2013.csv", ("emotion", "pixels", "Usage"))
    tell = teller("fer2013.csv", on_error)
    check_usage(table["Usage"], tell)
    chosen = (table["Usage"] == USAGES[split]).to_numpy()
    if not chosen.any():
        raise MissingSplitError(f"fer2013.csv has no row whose Usage is {USAGES[split]}")
    votes, file = np.zeros((len(table), len(VOTES)), np.int64), data / "fer2013new.csv"
    if file.is_file():
        votes = read_votes(file, table["Usage"], chosen, on_error)
        chosen = chosen & (votes[:, 0] >= 0)
    numbers = np.full(len(table), -1, np.int64)
    numbers[chosen] = whole_numbers(table["emotion"][chosen], most=len(FER2013) - 1, tell=tell)
    read = {row: read_pixels(text, row, tell) for row, text in table["pixels"][chosen].items()}
    crops = {row: crop for row, crop in read.items() if crop is not None and numbers[row] >= 0}
    rows = np.array(list(crops), np.int64)
    own = ferplus_numbers(numbers[rows])
    targets, labels = ferplus_labels(votes[rows]) if file.is_file() else (one_hot(own), own)
    return FaceDataset(
        crops=list(crops.values()),
        targets=targets,
        labels=labels,
        names=[f"row{row}" for row in rows],
        fer2013=numbers[rows],
        votes=votes[rows],
    )


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file that must have certain columns."""
    try:
        table = pd.read_csv(path, low_memory=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from None
    need_columns(table, columns, file=path.name)
    return table


def teller(file: str, on_error: OnError) -> Tell:
    """Return what to call with the number of a row, counted from 0, and what is wrong there."""

    def tell(row: int, reason: str) -> None:
        on_error(DataError(f"{file}, row {row} (line {row + 2}): {reason}"))

    return tell


def check_usage(usage: "pd.Series[str]", tell: Tell) -> None:
    """Tell of rows that belong to no split."""
    for row in np.flatnonzero(~usage.isin(list(USAGES.values()))).tolist():
        value = str(usage.iloc[row])[:40]
        tell(row, f"Usage is {value!r}, expected {', '.join(USAGES.values())}")


def read_votes(
    path: Path, usage: "pd.Series[str]", chosen: NDArray[np.bool_], on_error: OnError
) -> NDArray[np.int64]:
    """Read FER+'s votes for chosen rows of ``fer2013.csv``.

    Args:
        path: of ``fer2013new.csv``. usage: the column ``Usage`` of ``fer2013.csv``.
        chosen: (R,) which of its rows are wanted.

    Returns:
        (R, 10) int64; -1 in rows that are not wanted, no face, or told of as bad.
    """
    plus = read_table(path, ("Usage", "Image name", *VOTE_COLUMNS))
    if list(plus["Usage"]) != list(usage):
        raise DataError(
            f"{path.name} does not belong to fer2013.csv: "
            f"its {len(plus)} rows are not the {len(usage)} there"
        )
    # A row without an image name is one that FER+'s authors found to be no face.
    wanted = chosen & plus["Image name"].notna().to_numpy()
    tell = teller(path.name, on_error)
    votes = np.full((len(plus), len(VOTES)), -1, np.int64)
    for i, name in enumerate(VOTE_COLUMNS):
        votes[wanted, i] = whole_numbers(plus[name][wanted], most=MOST_VOTES, tell=tell)
    votes[votes.min(1) < 0] = -1
    return votes


def read_pixels(text: object, row: int, tell: Tell) -> Crop | None:
    """Return the face of a row; None, after telling, where its pixels are wrong."""
    try:
        return parse_pixels(text)
    except (ValueError, OverflowError) as error:
        tell(row, str(error))
        return None


def parse_pixels(text: object) -> Crop:
    """Turn the grey values of one face, separated by blanks, into (48, 48) uint8."""
    values = np.array(str(text).split(), np.int64)
    if len(values) != SIDE**2:
        raise ValueError(f"the face has {len(values)} pixels, expected {SIDE**2}")
    if values.min() < 0 or values.max() > 255:
        raise ValueError("a pixel is outside 0 to 255")
    return values.astype(np.uint8).reshape(SIDE, SIDE)


def ferplus_numbers(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Translate FER2013's class numbers to those of :data:`emotion.labels.FERPLUS`."""
    order = np.array([FERPLUS.index(name) for name in FER2013], np.int64)
    return order[numbers]
