"""Labelled faces from three kinds of folder, as one type.

* ``{train,validation,test}.parquet`` with an ``image`` column and FER+ votes;
* Kaggle's ``fer2013.csv`` with FER+'s ``fer2013new.csv`` beside it (or alone: 7 labels);
* a tree with one folder per class, under one folder per split or without; a file
  ``labels.json`` says what folders stand for whose names do not (RAF-DB, AffectNet).

:func:`load_faces` tells them apart.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emotion.labels import FER2013
from emotion.preprocess import Crop
from train.faces import (
    MOST_VOTES,
    VOTES,
    DataError,
    FaceDataset,
    MissingSplitError,
    OnError,
    Tell,
    centre_square,
    fail,
    ferplus_labels,
    need_columns,
    one_hot,
    require_trainable,
    whole_numbers,
)
from train.fer2013_csv import read_csv
from train.folders import read_folders

__all__ = [
    "SPLITS",
    "VOTES",
    "DataError",
    "FaceDataset",
    "MissingSplitError",
    "ferplus_labels",
    "load_faces",
    "one_hot",
    "require_trainable",
]

SPLITS = ("train", "validation", "test")


def load_faces(data: Path, split: str, on_error: OnError = fail) -> FaceDataset:
    """Read one split of a data folder, whatever of the three forms it has.

    Args:
        data: the folder.
        split: ``train``, ``validation`` or ``test``.
        on_error: called for each item that cannot be read, which is then left out; by default
            the first such item stops the reading.

    Raises:
        MissingSplitError: the folder has other splits, but not this one.
        DataError: the folder holds none of the three forms, or a file in it is broken.
        ValueError: an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"expected a split of {', '.join(SPLITS)}, got {split!r}")
    if not data.is_dir():
        raise DataError(f"there is no folder {data}")
    if (data / f"{split}.parquet").is_file():
        return read_parquet(data / f"{split}.parquet", on_error)
    if any((data / f"{other}.parquet").is_file() for other in SPLITS):
        raise MissingSplitError(f"{data} holds no {split}.parquet")
    if (data / "fer2013.csv").is_file():
        return read_csv(data, split, on_error)
    return read_folders(data, split, on_error)


def read_parquet(path: Path, on_error: OnError = fail) -> FaceDataset:
    """Read a Parquet file with the columns ``image``, ``votes_*`` and maybe ``fer2013_label``.

    Args:
        on_error: told of each row that cannot be read; such a row is left out.
    """
    table = read_table(path)

    def tell(row: int, reason: str) -> None:
        name = picture_name(table["image"].iloc[row])
        on_error(DataError(f"{path.name}, row {row}{f' ({name})' if name else ''}: {reason}"))

    votes = np.stack(
        [whole_numbers(table[f"votes_{v}"], most=MOST_VOTES, tell=tell) for v in VOTES], axis=1
    )
    original, known = fer2013_indices(table, tell)
    read = [decode_grey(image, row, tell) for row, image in table["image"].items()]
    good = (votes.min(1, initial=0) >= 0) & known
    crops = {row: crop for row, crop in enumerate(read) if crop is not None and good[row]}
    rows = np.array(list(crops), np.int64)
    targets, labels = ferplus_labels(votes[rows])
    return FaceDataset(
        crops=list(crops.values()),
        targets=targets,
        labels=labels,
        names=[picture_name(table["image"].iloc[row]) or f"row{row}" for row in rows],
        fer2013=original[rows],
        votes=votes[rows],
    )


def read_table(path: Path) -> pd.DataFrame:
    """Read the columns of a Parquet file that are needed, its rows numbered from 0."""
    try:
        # As Python's own objects, so that text which is no UTF-8 shows here and not later.
        table = pd.read_parquet(path).reset_index(drop=True).astype(object)
    except Exception as error:
        # pyarrow raises whatever its parsing runs into: OSError, ArrowException, ...
        raise DataError(f"{path.name} cannot be read: {error}") from None
    need_columns(table, ["image", *(f"votes_{name}" for name in VOTES)], file=path.name)
    return table


def fer2013_indices(table: pd.DataFrame, tell: Tell) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the column ``fer2013_label`` as numbers, and which rows of it are in order.

    Returns:
        (N,) int64, -1 where it is empty or missing; (N,) bool, false where it was told of.
    """
    numbers, good = np.full(len(table), -1, np.int64), np.ones(len(table), bool)
    if "fer2013_label" not in table.columns:
        return numbers, good
    for row, name in table["fer2013_label"].items():
        if isinstance(name, str) and name in FER2013:
            numbers[row] = FER2013.index(name)
        elif isinstance(name, str) or not pd.isna(name):
            good[row] = False
            tell(row, f"fer2013_label is {name!r}, expected one of {', '.join(FER2013)}")
    return numbers, good


def picture_name(image: object) -> str:
    """Return the path that a picture in a Parquet file carries, or nothing."""
    path = image.get("path") if isinstance(image, Mapping) else None
    return path if isinstance(path, str) else ""


def decode_grey(image: object, row: int, tell: Tell) -> Crop | None:
    """Decode a row's picture to (S, S) uint8 grey; None, after telling, where that fails."""
    data = image.get("bytes") if isinstance(image, Mapping) else None
    if not isinstance(data, bytes) or not data:
        tell(row, "it has no picture; expected a struct of bytes and path in the column image")
        return None
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if decoded is None:
        tell(row, "the picture is damaged")
        return None
    return centre_square(decoded)
