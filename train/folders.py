"""Labelled faces in a tree of pictures, one folder per class."""

import json
import zlib
from pathlib import Path

import numpy as np

from emotion.errors import ImageError
from emotion.images import load_image
from emotion.labels import FERPLUS, canonical
from emotion.preprocess import Crop
from train.faces import (
    DataError,
    FaceDataset,
    MissingSplitError,
    OnError,
    centre_square,
    fail,
    one_hot,
)

FOLDERS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
TENTHS = {"train": set(range(2, 10)), "validation": {1}, "test": {0}}
IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
LABELS_FILE = "labels.json"
RAF_DB = "surprise fear disgust happiness sadness anger neutral"
AFFECTNET = "neutral happiness sadness surprise fear disgust anger contempt"
"""The classes of two data sets whose folders are numbers: from 1 in RAF-DB, 0 in AffectNet.

Source: Li et al., CVPR 2017 (RAF-DB), and Mollahosseini et al., arXiv:1708.03985 (AffectNet).
"""


def read_folders(data: Path, split: str, on_error: OnError = fail) -> FaceDataset:
    """Read a tree of pictures, one folder per class, each picture one face.

    A folder is named after its emotion (``happiness``, ``Happy``, ``3_Sad``), or the file
    ``labels.json`` in ``data`` says which it stands for: ``{"1": "surprise", "2": "fear"}``.
    What that file says goes before the names; it need not list all folders.

    Args:
        data: the folder.
        split: ``train``, ``validation`` or ``test``.
        on_error: told of each picture that cannot be read, and of each folder that is empty
            or has a name that says no emotion; these are left out.

    Raises:
        MissingSplitError: there is no such split.
        DataError: ``labels.json`` is wrong, or ``on_error`` raises it.
    """
    root, tenths = choose_folder(data, split)
    files = labelled_files(root, read_labels(data), on_error)
    if not files:
        raise DataError(
            f"{data} holds no {split}.parquet, no fer2013.csv and no folder per class with pictures"
        )
    chosen = {path: label for path, label in files.items() if tenth(path) in tenths}
    if not chosen:
        raise MissingSplitError(
            f"none of the {len(files)} pictures in {root} falls to the split {split}"
        )
    read = {path: read_crop(path, on_error) for path in chosen}
    crops = {path: crop for path, crop in read.items() if crop is not None}
    labels = np.array([chosen[path] for path in crops], np.int64)
    return FaceDataset(
        crops=list(crops.values()),
        targets=one_hot(labels),
        labels=labels,
        names=[path.relative_to(root).as_posix() for path in crops],
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
        raise MissingSplitError(f"{data} has a folder per split, but none for {split}")
    return data, TENTHS[split]


def read_labels(data: Path) -> dict[str, int]:
    """Return the class of each folder that ``labels.json`` names; nothing without that file.

    Raises:
        DataError: it is not an object of folder names and emotions.
    """
    path = data / LABELS_FILE
    if not path.is_file():
        return {}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return {name: FERPLUS.index(canonical(emotion)) for name, emotion in raw.items()}
    except AttributeError:  # a list, or an emotion that is no text
        reason = 'expected folder names and emotions, such as {"1": "surprise"}'
    except (OSError, ValueError) as error:
        reason = str(error)
    raise DataError(f"{path}: {reason}")


def labelled_files(root: Path, known: dict[str, int], on_error: OnError) -> dict[Path, int]:
    """Return the pictures below each class's folder with the number of the class, in order."""
    files: dict[Path, int] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        try:
            label = known[folder.name] if folder.name in known else class_index(folder)
        except DataError as error:
            on_error(error)
            continue
        found = pictures(folder)
        if not found:
            on_error(DataError(f"folder {folder} holds no picture; fill it, or remove it"))
        files.update(dict.fromkeys(found, label))
    return files


def class_index(folder: Path) -> int:
    """Return the number of the class that a folder is named after."""
    if folder.name.isdecimal():
        raise DataError(
            f"folder {folder}: a number does not say which emotion it stands for. Write the file "
            f"{LABELS_FILE} into the data folder: for RAF-DB {numbered(RAF_DB, 1)}, "
            f"for AffectNet {numbered(AFFECTNET, 0)}"
        )
    try:
        return FERPLUS.index(canonical(folder.name))
    except ValueError as error:
        raise DataError(f"folder {folder}: {error}; or say which in {LABELS_FILE}") from None


def numbered(names: str, first: int) -> str:
    """Return ``labels.json`` for folders that are numbers, counted from ``first``."""
    return json.dumps({str(i): name for i, name in enumerate(names.split(), first)})


def pictures(folder: Path) -> list[Path]:
    """Return the picture files anywhere below a folder, sorted; links that lead nowhere too."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS)
    return sorted(p for p in found if not p.is_dir() and not p.name.startswith("."))


def tenth(path: Path) -> int:
    """Return the tenth, 0 to 9, that a file belongs to by a checksum of its name."""
    return zlib.crc32(path.name.encode()) % 10


def read_crop(path: Path, on_error: OnError) -> Crop | None:
    """Read a picture file as a square RGB crop, the longer side cut equally at both ends."""
    try:
        return centre_square(load_image(path))
    except ImageError as error:
        on_error(DataError(f"{path}: {error}"))
        return None
