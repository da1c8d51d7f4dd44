"""A contact sheet of the augmentations: what each of them does to some faces, at its strength."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from emotion.preprocess import reduce, resize
from emotion.weights import ModelSpec
from train.augment import (
    Recut,
    build_degradation,
    build_framing,
    build_recut,
    degradations,
    framings,
    overlay,
    paste,
)
from train.batches import enlarge, to_float
from train.config import FitConfig, spec_for
from train.datasets import DataError, FaceDataset

TILE, GAP, LABEL = 112, 4, 190
"""Side of a face, the space between two, and the width of the labels, in pixels."""

SHARE = 0.6
"""Of a face that stays its own where another is mixed in; in training it is drawn by chance."""


def write_sheet(
    path: Path, faces: FaceDataset, config: FitConfig, *, columns: int = 6, seed: int = 0
) -> None:
    """Write a picture with a row per augmentation and a face per column.

    Args:
        path: of the picture, PNG or another ending that Pillow knows.
        config: its strengths are shown. columns: faces, taken evenly from ``faces``.
        seed: of the changes.

    Raises:
        DataError: no face. ValueError: fewer than two columns, or an ending without a format.
    """
    if columns < 2:
        raise ValueError(f"mixing needs at least 2 faces, got {columns}")
    if len(faces) < 2:
        raise DataError(f"{len(faces)} faces: a sheet needs at least 2")
    spec = spec_for(config)
    side = spec.source_size or spec.input_size
    chosen = np.linspace(0, len(faces) - 1, min(columns, len(faces))).astype(int)
    images = to_float(np.stack([resize(reduce(faces.crops[i], spec), side) for i in chosen]))
    torch.manual_seed(seed)
    picture = draw(list(rows(images, config, spec)))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def rows(
    images: torch.Tensor, config: FitConfig, spec: ModelSpec
) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Yield the label, the chance and the changed faces (N, C, S, S) in [0, 1] of each row.

    Args:
        images: (N, C, s, s) float32 in [0, 1], as large as the source.
    """
    large = enlarge(images, spec)
    yield "original", "", large
    usual = framings(config)
    for name, step in framings(config, always=True).items():
        yield name, chance(usual[name]), step(large)
    usual = degradations(config)
    for name, step in degradations(config, always=True).items():
        yield name, chance(usual.get(name)), enlarge(step(images).clamp(0, 1), spec)
    recut = build_recut(config)
    yield "another cut", chance(recut), enlarge(Recut(p=1.0)(images), spec)
    for name, mix, alpha in (("mixup", overlay, config.mixup), ("cutmix", paste, config.cutmix)):
        mixed, _ = mix(large, torch.zeros(len(large), 1), SHARE)
        yield f"{name}, {SHARE:.0%} kept", f"alpha {alpha:g}" if alpha else "off", mixed
    degrade, frame = build_degradation(config), build_framing(config)
    for _ in range(2):
        changed = frame(enlarge(recut(degrade(images).clamp(0, 1)), spec))
        yield "all together", "as in training", changed


def chance(step: nn.Module | None) -> str:
    """Return how often a step changes a face, for its label."""
    p = float(getattr(step, "p", 0.0))
    return f"{p:.0%} of the faces" if p else "off"


def draw(table: list[tuple[str, str, torch.Tensor]]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) uint8 of labelled rows of faces."""
    columns = len(table[0][2])
    width, height = LABEL + columns * (TILE + GAP), len(table) * (TILE + GAP) + GAP
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(17), ImageFont.load_default(14)
    for row, (label, note, faces) in enumerate(table):
        top = GAP + row * (TILE + GAP)
        pen.text((8, top + TILE / 2 - 2), label, "black", large, anchor="ls")
        pen.text((8, top + TILE / 2 + 4), note, "#555555", small, anchor="la")
        for column, face in enumerate(faces):
            sheet.paste(tile(face), (LABEL + column * (TILE + GAP), top))
    return np.asarray(sheet)


def tile(face: torch.Tensor) -> Image.Image:
    """Return a face (C, S, S) in [0, 1] as a picture of the sheet's size."""
    pixels = face.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    pixels = cv2.resize(np.ascontiguousarray(pixels), (TILE, TILE), interpolation=cv2.INTER_AREA)
    return Image.fromarray(pixels).convert("RGB")
