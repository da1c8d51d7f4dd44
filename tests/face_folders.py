"""Small data folders of every form, for the tests of the training kit. No real face in them."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from train.datasets import VOTES, DataError, load_faces


def votes(**count: int) -> NDArray[np.int64]:
    """One row of votes, by name."""
    return np.array([[count.get(name, 0) for name in VOTES]], np.int64)


def grey(value: int) -> NDArray[np.uint8]:
    """A face with a corner that tells it from every other one."""
    face = np.full((48, 48), 100, np.uint8)
    face[0, :2] = 7, value
    return face


def pattern(seed: int, side: int = 48, cells: int = 7) -> NDArray[np.uint8]:
    """A soft pattern (side, side), as unlike that of another seed as two photographs are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (cells, cells)).astype(np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def write_picture(path: Path, size: tuple[int, int] = (60, 60), value: int = 90) -> None:
    """Write a colour picture of width and height ``size``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 20, 30)).save(path)


def write_array(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a picture, grey or RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def parquet_table(count: int = 2) -> pd.DataFrame:
    """Rows of patterns: even ones happy, odd ones such that the taggers disagreed."""
    encoded = [cv2.imencode(".png", pattern(i))[1].tobytes() for i in range(count)]
    given = [
        votes(anger=5, fear=5) if i % 2 else votes(happiness=9, neutral=1) for i in range(count)
    ]
    columns = {f"votes_{name}": np.vstack(given)[:, i] for i, name in enumerate(VOTES)}
    images = [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(encoded)]
    labels = [None if i % 2 else "happiness" for i in range(count)]
    return pd.DataFrame({"image": images, "fer2013_label": labels, **columns})


def expect_error(data: Path, split: str, *words: str) -> None:
    """Reading must fail with one line that holds the words."""
    with pytest.raises(DataError) as caught:
        load_faces(data, split)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    for word in words:
        assert word in text
