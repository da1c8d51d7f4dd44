"""Small data for the tests of training: pictures of two shapes, and runs on them."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from emotion.labels import FER2013, FERPLUS
from train.config import FitConfig
from train.datasets import FaceDataset, one_hot
from train.run import Run

TINY = FitConfig(
    architecture="resnet10t",
    pretrained=False,
    input_size=32,
    epochs=2,
    batch_size=8,
    warmup=0.5,
    ema=0.9,
)
"""A run that takes a second."""


def shapes(count: int, seed: int = 0) -> FaceDataset:
    """Grey pictures of a filled disc ("happiness") or an upright bar ("fear"), with noise.

    Every other pair also has FER2013's label.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :48]
    crops, kinds = [], np.arange(count) % 2
    for kind in kinds:
        y, x = rng.integers(20, 28, 2)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < 150
        shape = disc if kind == 0 else np.abs(columns - x) < 4
        crops.append((60 + 140 * shape + rng.integers(0, 30, (48, 48))).astype(np.uint8))
    names = ("happiness", "fear")
    labels = np.array([FERPLUS.index(n) for n in names])[kinds]
    original = np.array([FER2013.index(n) for n in names])[kinds]
    original[np.arange(count) % 4 > 1] = -1
    return FaceDataset(crops, one_hot(labels), labels, [str(i) for i in range(count)], original)


def write_shapes(folder: Path, train: int = 40, validation: int = 12) -> Path:
    """Write shapes as a tree of pictures, and return the folder."""
    for split, faces in (("train", shapes(train)), ("val", shapes(validation, seed=1))):
        for crop, label, name in zip(faces.crops, faces.labels, faces.names, strict=True):
            path = folder / split / FERPLUS[label] / f"{int(name):04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), crop)
    return folder


def run_in(folder: Path, config: FitConfig = TINY) -> Run:
    """A run on the CPU."""
    return Run(folder, config, torch.device("cpu"))


def averaged(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The averaged weights in a checkpoint."""
    weights: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True)["ema"]
    return weights


def history(folder: Path) -> list[dict[str, float]]:
    """The lines of a run's history."""
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def flags(config: FitConfig) -> list[str]:
    """The command line's flags for what a config has besides the defaults."""
    given: list[str] = []
    for name in FitConfig.__dataclass_fields__:
        value, flag = getattr(config, name), name.replace("_", "-")
        if value != getattr(FitConfig(), name):
            given += [f"--{'no-' if value is False else ''}{flag}"]
            given += [] if isinstance(value, bool) else [str(value)]
    return given
