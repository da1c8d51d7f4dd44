"""Clips for the tests of streams: real faces that move, with the truth about each frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from emotion.images import RGBImage

HEIGHT, WIDTH = 360, 480


@dataclass(frozen=True)
class Actor:
    """A face on its way through a clip.

    Attributes:
        pictures: what it looks like, one after the other, (S, S, 3) uint8.
        changes: frames at which the next picture comes.
        middles: (N, 2) where its middle is in each frame; not finite where it is away.
        side: of the square that its picture fills.
    """

    pictures: Sequence[RGBImage]
    changes: Sequence[int]
    middles: np.ndarray
    side: int = 150

    def looks(self, number: int) -> RGBImage:
        return self.pictures[sum(number >= change for change in self.changes)]


def play(actors: Sequence[Actor], *, noise: float = 2.0) -> Iterator[RGBImage]:
    """Yield the frames of a clip; places are not rounded to pixels, and each frame has noise."""
    rng = np.random.default_rng(0)
    for number in range(len(actors[0].middles)):
        frame = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        for actor in actors:
            middle = actor.middles[number]
            if np.isfinite(middle).all():
                paste(frame, actor.looks(number), middle, actor.side)
        noisy = frame + rng.normal(0, noise, frame.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def paste(frame: RGBImage, picture: RGBImage, middle: np.ndarray, side: int) -> None:
    """Draw a picture into a frame, as large as ``side``, around a point."""
    zoom = side / len(picture)
    shift = middle - zoom * len(picture) / 2
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    small = cv2.resize(picture, (side, side), interpolation=how)
    matrix[:, :2] = np.eye(2)
    cv2.warpAffine(small, matrix, (WIDTH, HEIGHT), dst=frame, borderMode=cv2.BORDER_TRANSPARENT)


def drawn(name: str) -> RGBImage:
    """One of the drawn faces that come with the package."""
    path = Path(__file__).resolve().parent.parent / "emotion" / "examples" / f"{name}.jpg"
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
