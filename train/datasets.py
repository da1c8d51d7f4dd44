"""Labelled faces from three kinds of folder, as one type.

* ``{train,validation,test}.parquet`` with an ``image`` column and FER+ votes;
* Kaggle's ``fer2013.csv`` with FER+'s ``fer2013new.csv`` beside it (or alone: 7 labels);
* a tree with one folder per class, under one folder per split or without.
"""

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from emotion.errors import EmotionError
from emotion.labels import FER2013, FERPLUS, canonical
from emotion.preprocess import Crop

SPLITS = ("train", "validation", "test")
USAGES = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
VOTES = (*FERPLUS, "unknown", "nf")
IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


class DataError(EmotionError):
    """Training data that is missing, or not in one of the forms that are understood."""


@dataclass(frozen=True, slots=True)
class FaceDataset:
    """Faces and what people saw in them.

    Attributes:
        crops: N arrays (S, S) or (S, S, 3) uint8, RGB where coloured.
        targets: (N, 8) float32, each row a distribution over :data:`emotion.labels.FERPLUS`.
        labels: (N,) int64, the one label that evaluation counts, -1 where people disagreed.
        names: N file names.
    """

    crops: Sequence[Crop]
    targets: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: Sequence[str]

    def __post_init__(self) -> None:
        count = len(self.crops)
        if self.targets.shape != (count, len(FERPLUS)) or self.labels.shape != (count,):
            raise ValueError(
                f"expected {count} targets and labels, "
                f"got {self.targets.shape} and {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.crops)

    def where(self, keep: NDArray[np.bool_]) -> "FaceDataset":
        """Return the faces for which ``keep`` (N,) is true."""
        index = np.flatnonzero(keep)
        return FaceDataset(
            crops=[self.crops[i] for i in index],
            targets=self.targets[index],
            labels=self.labels[index],
            names=[self.names[i] for i in index],
        )


def load_faces(data: Path, split: str) -> FaceDataset:
    """Read one split of a data folder, whatever of the three forms it has.

    Args:
        data: the folder.
        split: ``train``, ``validation`` or ``test``.

    Raises:
        DataError: the folder holds none of the three forms, or a file in it is broken.
        ValueError: an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"expected a split of {', '.join(SPLITS)}, got {split!r}")
    if not data.is_dir():
        raise DataError(f"there is no folder {data}")
    if (data / f"{split}.parquet").is_file():
        return read_parquet(data / f"{split}.parquet")
    if (data / "fer2013.csv").is_file():
        return read_csv(data, split)
    return read_folders(data, split)


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


def read_parquet(path: Path) -> FaceDataset:
    """Read a Parquet file with the columns ``image`` and ``votes_*``."""
    try:
        table = pd.read_parquet(path)
        votes = table[[f"votes_{name}" for name in VOTES]].to_numpy(np.int64)
        crops = [decode_grey(row["bytes"]) for row in table["image"]]
        names = [str(row["path"]) for row in table["image"]]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from None
    targets, labels = ferplus_labels(votes)
    return FaceDataset(crops=crops, targets=targets, labels=labels, names=names)


def decode_grey(data: bytes) -> Crop:
    """Decode an encoded picture to (H, W) uint8 grey."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ValueError("a picture in it is damaged")
    return image


def read_csv(data: Path, split: str) -> FaceDataset:
    """Read Kaggle's ``fer2013.csv``, with FER+'s votes where ``fer2013new.csv`` is beside it."""
    try:
        table = pd.read_csv(data / "fer2013.csv")
        rows = (table["Usage"] == USAGES[split]).to_numpy()
        pixels = table.loc[rows, "pixels"]
        crops = [np.fromstring(p, np.uint8, sep=" ").reshape(48, 48) for p in pixels]
        numbers = table.loc[rows, "emotion"].to_numpy(np.int64)
    except (KeyError, ValueError) as error:
        raise DataError(f"fer2013.csv is not as Kaggle ships it: {error}") from None
    names = [f"row{i}" for i in np.flatnonzero(rows)]
    if not (data / "fer2013new.csv").is_file():
        order = np.array([FERPLUS.index(name) for name in FER2013])
        labels = order[numbers]
        return FaceDataset(crops=crops, targets=one_hot(labels), labels=labels, names=names)
    plus = pd.read_csv(data / "fer2013new.csv")
    if len(plus) != len(table):
        raise DataError(f"fer2013new.csv has {len(plus)} rows, fer2013.csv {len(table)}")
    columns = [c for c in plus.columns if c.lower() in VOTES]
    votes = plus.loc[rows, sorted(columns, key=lambda c: VOTES.index(c.lower()))]
    targets, labels = ferplus_labels(votes.to_numpy(np.int64))
    # A row without an image name is one that FER+'s authors found to be no face.
    present = plus.loc[rows, "Image name"].notna().to_numpy()
    return FaceDataset(crops=crops, targets=targets, labels=labels, names=names).where(present)


def read_folders(data: Path, split: str) -> FaceDataset:
    """Read a tree of pictures, one folder per class, each picture one face.

    With a folder named after the split (``train``, ``validation`` or ``val``, ``test``), that
    one is read. Without, a tenth of the pictures is the test split, a tenth validation, chosen
    by a checksum of each file's name, so that the choice never changes.
    """
    names = {"validation": ("validation", "val", "valid")}.get(split, (split,))
    found = next((data / n for n in names if (data / n).is_dir()), None)
    root, chosen = (found, all_files) if found else (data, by_checksum(split))
    paths, labels = [], []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        files = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in IMAGE_ENDINGS]
        for path in filter(chosen, files):
            paths.append(path)
            labels.append(class_index(folder))
    if not paths:
        raise DataError(
            f"{data} holds no {split}.parquet, no fer2013.csv and no folder per class with pictures"
        )
    numbers = np.array(labels, np.int64)
    return FaceDataset(
        crops=[read_crop(p) for p in paths],
        targets=one_hot(numbers),
        labels=numbers,
        names=[str(p.relative_to(root)) for p in paths],
    )


def class_index(folder: Path) -> int:
    """Return the number of the class that a folder is named after."""
    try:
        return FERPLUS.index(canonical(folder.name))
    except ValueError as error:
        raise DataError(f"folder {folder.name!r}: {error}") from None


def all_files(path: Path) -> bool:
    """Choose every file."""
    return True


def by_checksum(split: str) -> Callable[[Path], bool]:
    """Return a choice of files that belong to a split, by a checksum of their name."""
    wanted = {"test": {0}, "validation": {1}}.get(split, set(range(2, 10)))
    return lambda path: zlib.crc32(path.name.encode()) % 10 in wanted


def read_crop(path: Path) -> Crop:
    """Read a picture file as a square RGB crop, the longer side cut equally at both ends."""
    try:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            array = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    height, width = array.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(array[top : top + side, left : left + side])
