"""Clips that Chromium plays as if they came from a camera: a real face, and nobody's committed.

The face is that of the astronaut in scikit-image's sample pictures (NASA, public domain).
"""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, RATE = 640, 480, 30
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)

Frame = NDArray[np.uint8]


def moving_face(seconds: float = 4.0) -> list[Frame]:
    """Return frames (480, 640, 3) uint8 RGB of a photograph that sways and comes nearer."""
    from skimage import data

    photo = np.ascontiguousarray(data.astronaut()[:400])
    frames = []
    count = round(seconds * RATE)
    for number in range(count):
        turn = 2 * np.pi * number / count
        zoom = 1.35 + 0.15 * np.sin(turn)
        # The face's middle, at (224, 118) of the photograph, goes where it should be.
        x, y = WIDTH / 2 + 110 * np.sin(turn), HEIGHT * 0.45 + 25 * np.sin(2 * turn)
        matrix = np.array([[zoom, 0, x - zoom * 224], [0, zoom, y - zoom * 118]])
        frames.append(
            cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        )
    return frames


def write_clip(path: Path, frames: Iterable[Frame]) -> Path:
    """Write frames as raw video (y4m, 4:2:0), which Chromium plays in a loop; return the path."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path
