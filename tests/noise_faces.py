"""Pictures of noise for the tests: faces to whatever does not look too closely."""

from pathlib import Path

import numpy as np
from PIL import Image

from emotion.labels import FER2013, FERPLUS
from train.datasets import FaceDataset, one_hot


def write_tree(folder: Path, count: int = 24) -> None:
    """Write a small tree of pictures: light or dark noise, a folder per class and split."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for index in range(count):
            name, base = (("Happy", 160), ("2_Fear", 20))[index % 2]
            path = folder / split / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(base, base + 60, (48, 48, 3)).astype(np.uint8)).save(path)


def random_faces(count: int, seed: int = 0) -> FaceDataset:
    """Grey and colour crops of several sizes, with labels."""
    rng = np.random.default_rng(seed)
    crops = []
    for index in range(count):
        size = (48, 48) if index % 2 else (90, 90, 3)
        crops.append(rng.integers(0, 256, size).astype(np.uint8))
    labels = np.arange(count) % len(FERPLUS)
    return FaceDataset(
        crops=crops,
        targets=one_hot(labels),
        labels=labels,
        names=[str(i) for i in range(count)],
        fer2013=np.arange(count) % (len(FER2013) + 1) - 1,
    )
