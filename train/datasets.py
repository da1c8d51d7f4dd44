"""Labelled faces from three kinds of folder, as one type.

* ``{train,validation,test}.parquet`` with an ``image`` column and FER+ votes;
* Kaggle's ``fer2013.csv`` with FER+'s ``fer2013new.csv`` beside it (or alone: 7 labels);
* a tree with one folder per class, under one folder per split or without.

:func:`load_faces` tells them apart.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emotion.errors import EmotionError, ImageError
from emotion.images import load_image
from emotion.labels import FER2013, FERPLUS, canonical
from emotion.preprocess import Crop

SPLITS = ("train", "validation", "test")
USAGES = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
VOTES = (*FERPLUS, "unknown", "nf")
FOLDERS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
TENTHS = {"train": set(range(2, 10)), "validation": {1}, "test": {0}}
FER2013_SIDE = 48
IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


class DataError(EmotionError):
    """Training data that is missing, or not in one of the forms that are understood."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # pandas and pyarrow tell in several lines


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
        index = np.flatnonzero(keep).tolist()
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
    columns = [f"votes_{name}" for name in VOTES]
    try:
        table = pd.read_parquet(path)
        need_columns(table, ["image", *columns])
        votes = table[columns].to_numpy(np.int64)
        crops = [decode_grey(row["bytes"]) for row in table["image"]]
        names = [str(row["path"]) for row in table["image"]]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from None
    targets, labels = ferplus_labels(votes)
    return FaceDataset(crops=crops, targets=targets, labels=labels, names=names)


def need_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise ``ValueError`` that names the columns which a table lacks."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f"it has no column {', '.join(missing)}")


def decode_grey(data: bytes) -> Crop:
    """Decode an encoded picture to (S, S) uint8 grey."""
    encoded = np.frombuffer(data, np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if encoded.size else None
    if image is None:
        raise ValueError("a picture in it is damaged")
    return centre_square(image)


def read_csv(data: Path, split: str) -> FaceDataset:
    """Read Kaggle's ``fer2013.csv``, with FER+'s votes where ``fer2013new.csv`` is beside it."""
    try:
        table = pd.read_csv(data / "fer2013.csv")
        need_columns(table, ["emotion", "pixels", "Usage"])
        rows = (table["Usage"] == USAGES[split]).to_numpy()
        crops = [parse_pixels(text) for text in table.loc[rows, "pixels"]]
        labels = ferplus_numbers(table.loc[rows, "emotion"].to_numpy(np.int64))
    except (OSError, ValueError) as error:
        raise DataError(f"fer2013.csv is not as Kaggle ships it: {error}") from None
    names = [f"row{i}" for i in np.flatnonzero(rows)]
    faces = FaceDataset(crops=crops, targets=one_hot(labels), labels=labels, names=names)
    votes_file = data / "fer2013new.csv"
    return with_votes(faces, votes_file, table["Usage"], rows) if votes_file.is_file() else faces


def parse_pixels(text: object) -> Crop:
    """Turn the grey values of one face, separated by blanks, into (48, 48) uint8."""
    values = np.array(str(text).split(), np.int64)
    if len(values) != FER2013_SIDE**2:
        raise ValueError(f"a face has {len(values)} pixels, expected {FER2013_SIDE**2}")
    if values.min() < 0 or values.max() > 255:
        raise ValueError("a pixel is outside 0 to 255")
    return values.astype(np.uint8).reshape(FER2013_SIDE, FER2013_SIDE)


def ferplus_numbers(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Translate FER2013's class numbers to those of :data:`emotion.labels.FERPLUS`."""
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(FER2013):
        raise ValueError(f"an emotion is outside 0 to {len(FER2013) - 1}")
    order = np.array([FERPLUS.index(name) for name in FER2013], np.int64)
    return order[numbers]


def with_votes(
    faces: FaceDataset, path: Path, usage: "pd.Series[str]", rows: NDArray[np.bool_]
) -> FaceDataset:
    """Replace FER2013's labels by the votes of FER+, whose file has the same rows.

    Args:
        faces: the chosen rows of ``fer2013.csv``. path: of ``fer2013new.csv``.
        usage: the column ``Usage`` of all rows of ``fer2013.csv``. rows: which were chosen.
    """
    columns = [*FERPLUS, "unknown", "NF"]
    try:
        plus = pd.read_csv(path)
        need_columns(plus, ["Usage", "Image name", *columns])
        if list(plus["Usage"]) != list(usage):
            raise ValueError(f"its {len(plus)} rows are not the {len(usage)} of fer2013.csv")
        votes = plus.loc[rows, columns].to_numpy(np.int64)
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} is not as FER+ ships it: {error}") from None
    targets, labels = ferplus_labels(votes)
    # A row without an image name is one that FER+'s authors found to be no face.
    present = plus.loc[rows, "Image name"].notna().to_numpy()
    return FaceDataset(faces.crops, targets, labels, faces.names).where(present)


def read_folders(data: Path, split: str) -> FaceDataset:
    """Read a tree of pictures, one folder per class, each picture one face."""
    root, tenths = choose_folder(data, split)
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [(path, class_index(folder)) for folder in folders for path in pictures(folder)]
    if not files:
        raise DataError(
            f"{data} holds no {split}.parquet, no fer2013.csv and no folder per class with pictures"
        )
    chosen = [(path, label) for path, label in files if tenth(path) in tenths]
    if not chosen:
        raise DataError(f"none of the {len(files)} pictures in {root} falls to the split {split}")
    labels = np.array([label for _, label in chosen], np.int64)
    return FaceDataset(
        crops=[read_crop(path) for path, _ in chosen],
        targets=one_hot(labels),
        labels=labels,
        names=[path.relative_to(root).as_posix() for path, _ in chosen],
    )


def choose_folder(data: Path, split: str) -> tuple[Path, set[int]]:
    """Return where the classes of a split lie, and which tenths of the pictures belong to it.

    With a folder named after the split (``train``, ``validation`` or ``val``, ``test``), all
    of that one. Where only the validation folder is missing, a tenth of the training folder
    stands in for it. With no folder per split, a tenth of all is the test split and a tenth
    validation. Tenths go by a checksum of each file's name, so the choice never changes.
    """
    found = {
        name: next((data / f for f in folders if (data / f).is_dir()), None)
        for name, folders in FOLDERS.items()
    }
    train, everything = found["train"], set(range(10))
    if train and not found["validation"] and split != "test":
        return train, everything - TENTHS["validation"] if split == "train" else TENTHS[split]
    if folder := found[split]:
        return folder, everything
    if any(found.values()):
        raise DataError(f"{data} has a folder per split, but none for {split}")
    return data, TENTHS[split]


def pictures(folder: Path) -> list[Path]:
    """Return the picture files anywhere below a folder, sorted."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS)
    return sorted(p for p in found if p.is_file() and not p.name.startswith("."))


def class_index(folder: Path) -> int:
    """Return the number of the class that a folder is named after."""
    try:
        return FERPLUS.index(canonical(folder.name))
    except ValueError as error:
        raise DataError(f"folder {folder.name!r}: {error}") from None


def tenth(path: Path) -> int:
    """Return the tenth, 0 to 9, that a file belongs to by a checksum of its name."""
    return zlib.crc32(path.name.encode()) % 10


def read_crop(path: Path) -> Crop:
    """Read a picture file as a square RGB crop, the longer side cut equally at both ends."""
    try:
        return centre_square(load_image(path))
    except ImageError as error:
        raise DataError(f"{path}: {error}") from None


def centre_square(image: Crop) -> Crop:
    """Cut (H, W, ...) to its middle (S, S, ...), contiguous."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])
