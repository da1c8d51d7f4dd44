"""Draw the example faces of the app: shaded cartoons, so that no person's picture is shipped.

    python -m benchmarks.draw_examples emotion/examples

Lengths are fractions of the picture's side; everything is drawn four times too large and
shrunk at the end. A face detector takes these for faces, and the model reads them.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE, OVERSAMPLING = 480, 4
WIDTH = SIDE * OVERSAMPLING
SKY, HAIR, SHIRT = (120, 140, 165), (60, 40, 30), (70, 90, 140)
SKIN, SHADE, SHADOW = (224, 172, 140), (174, 134, 109), (134, 103, 84)
LIP, DARK, WHITE = (178, 84, 80), (50, 32, 25), (246, 244, 240)
T = np.linspace(-1, 1, 40)


@dataclass(frozen=True)
class Mood:
    """Brow height and the drop of its inner end, eye opening, and the mouth's shape."""

    brow: float
    inner: float
    eye: float
    mouth: str


MOODS = {
    "happiness": Mood(-0.005, 0.0, 0.020, "smile"),
    "surprise": Mood(-0.045, -0.01, 0.038, "open"),
    "anger": Mood(0.022, 0.042, 0.017, "tight"),
    "sadness": Mood(0.0, -0.03, 0.019, "down"),
}


class Canvas:
    """A picture that is drawn on in fractions of its side."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH, WIDTH), SKY)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: tuple[int, ...]) -> None:
        box = tuple(v * WIDTH for v in (x - rx, y - ry, x + rx, y + ry))
        ImageDraw.Draw(self.image).ellipse(box, fill=fill)

    def polygon(self, points: np.ndarray, fill: tuple[int, ...]) -> None:
        ImageDraw.Draw(self.image).polygon([tuple(p) for p in points * WIDTH], fill=fill)

    def line(self, points: np.ndarray, fill: tuple[int, ...], width: float) -> None:
        spots = [tuple(p) for p in np.asarray(points) * WIDTH]
        ImageDraw.Draw(self.image).line(spots, fill=fill, width=int(width * WIDTH), joint="curve")

    def soft(self, draw: Callable[[ImageDraw.ImageDraw], None], radius: float) -> None:
        """Draw with blurred edges."""
        layer = Image.new("RGBA", self.image.size)
        draw(ImageDraw.Draw(layer))
        layer = layer.filter(ImageFilter.GaussianBlur(radius * WIDTH))
        self.image = Image.alpha_composite(self.image.convert("RGBA"), layer).convert("RGB")

    def blob(self, x: float, y: float, rx: float, ry: float, fill: tuple[int, ...]) -> None:
        """A blurred ellipse."""
        box = tuple(v * WIDTH for v in (x - rx, y - ry, x + rx, y + ry))
        self.soft(lambda pen: pen.ellipse(box, fill=fill), 0.015)


def draw_head(canvas: Canvas) -> None:
    canvas.ellipse(0.5, 1.12, 0.42, 0.25, SHIRT)
    neck = np.array([[0.41, 0.75], [0.59, 0.75], [0.59, 0.95], [0.41, 0.95]])
    canvas.polygon(neck, SHADE)
    canvas.ellipse(0.5, 0.36, 0.31, 0.30, HAIR)
    for x in (0.225, 0.775):
        canvas.ellipse(x, 0.5, 0.04, 0.07, SHADE)
    canvas.ellipse(0.5, 0.48, 0.275, 0.35, SKIN)
    shade_head(canvas)
    turn = np.linspace(0, np.pi, 40)
    rim = np.stack([0.5 - 0.285 * np.cos(turn), 0.36 - 0.27 * np.sin(turn)], 1)
    fringe = np.stack([0.5 + 0.285 * np.cos(turn), 0.36 - 0.14 * np.sin(turn)], 1)
    canvas.polygon(np.concatenate([rim, fringe]), HAIR)


def shade_head(canvas: Canvas) -> None:
    """Darken the head towards its edge, as light from the front does."""
    y, x = np.mgrid[0:WIDTH, 0:WIDTH] / WIDTH
    edge = ((x - 0.5) / 0.275) ** 2 * 0.75 + ((y - 0.45) / 0.38) ** 2 * 0.35
    light = 1.08 - 0.5 * np.clip(edge - 0.25, 0, 1)
    head = ((x - 0.5) / 0.275) ** 2 + ((y - 0.48) / 0.35) ** 2 <= 1
    pixels = np.array(canvas.image, np.float32)
    pixels[head] *= light[head][:, None]
    canvas.image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw_eyes(canvas: Canvas, mood: Mood) -> None:
    for side in (-1, 1):
        x, y = 0.5 + side * 0.115, 0.43
        canvas.blob(x, y, 0.08, 0.05, (*SHADOW, 120))
        canvas.ellipse(x, y, 0.052, mood.eye, WHITE)
        canvas.ellipse(x, y, 0.022, 0.022, (70, 50, 35))
        canvas.ellipse(x, y, 0.011, 0.011, (10, 8, 8))
        canvas.ellipse(x + 0.006, y - 0.010, 0.004, 0.004, (255, 255, 255))
        lid = np.stack([x + 0.056 * T, y - 0.004 - mood.eye * np.sqrt(1 - T**2)], 1)
        canvas.line(lid, DARK, 0.010)
        inner = np.where(T * side < 0, np.abs(T), 0)
        height = 0.355 + mood.brow + mood.inner * inner - 0.012 * (1 - T**2)
        canvas.line(np.stack([x + 0.075 * T, height], 1), DARK, 0.022)


def draw_nose(canvas: Canvas) -> None:
    sides = np.array([[0.475, 0.42], [0.455, 0.57], [0.5, 0.6], [0.545, 0.57], [0.525, 0.42]])
    spots = [tuple(p) for p in sides * WIDTH]
    canvas.soft(lambda pen: pen.polygon(spots, fill=(*SHADOW, 70)), 0.012)
    canvas.blob(0.5, 0.557, 0.03, 0.028, (242, 186, 151, 170))
    for x in (0.47, 0.53):
        canvas.ellipse(x, 0.586, 0.012, 0.007, (105, 66, 54))
    canvas.blob(0.5, 0.787, 0.06, 0.012, (*SHADOW, 90))


def band(top: np.ndarray, bottom: np.ndarray, half: float) -> np.ndarray:
    """The polygon between two curves across the middle of the face."""
    x = 0.5 + half * T
    return np.concatenate([np.stack([x, top], 1), np.stack([x, bottom], 1)[::-1]])


def draw_mouth(canvas: Canvas, mood: Mood) -> None:
    arch = 1 - T**2
    if mood.mouth == "smile":
        up = 0.643 + 0.034 * arch
        canvas.polygon(band(up, 0.643 + 0.107 * arch, 0.115), LIP)
        canvas.polygon(band(0.654 + 0.030 * arch, 0.654 + 0.070 * arch, 0.098), WHITE)
        for side in (-1, 1):
            fold = [(0.5 + side * dx, y) for dx, y in ((0.065, 0.57), (0.125, 0.61), (0.145, 0.67))]
            spots = [(x * WIDTH, y * WIDTH) for x, y in fold]
            draw_fold = lambda pen, s=spots: pen.line(s, fill=(*SHADOW, 200), width=WIDTH // 80)  # noqa: E731
            canvas.soft(draw_fold, 0.007)
            canvas.blob(0.5 + side * 0.15, 0.565, 0.05, 0.035, (235, 140, 120, 110))
    elif mood.mouth == "open":
        canvas.ellipse(0.5, 0.71, 0.055, 0.065, LIP)
        canvas.ellipse(0.5, 0.71, 0.043, 0.050, (60, 15, 15))
    elif mood.mouth == "tight":
        canvas.polygon(band(0.69 + 0.008 * T**2, 0.705 + 0.012 * T**2, 0.085), LIP)
        for x in (0.48, 0.52):
            canvas.line(np.array([[x, 0.34], [x, 0.40]]), SHADOW, 0.007)
    else:
        canvas.polygon(band(0.685 + 0.03 * T**2, 0.705 + 0.012 * T**2, 0.09), LIP)


def draw_face(mood: Mood, seed: int = 0) -> np.ndarray:
    """Draw one face, (SIDE, SIDE, 3) uint8."""
    canvas = Canvas()
    draw_head(canvas)
    draw_eyes(canvas, mood)
    draw_nose(canvas)
    draw_mouth(canvas, mood)
    small = np.array(canvas.image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)
    grain = np.random.default_rng(seed).normal(0, 3, small.shape)
    return np.clip(small + grain, 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    faces = {name: draw_face(mood, i) for i, (name, mood) in enumerate(MOODS.items())}
    for name, face in faces.items():
        Image.fromarray(face).save(folder / f"{name}.jpg", quality=88)
    rows = list(faces.values())
    four = np.vstack([np.hstack(rows[:2]), np.hstack(rows[2:])])
    Image.fromarray(four).save(folder / "four-faces.jpg", quality=85)


if __name__ == "__main__":
    main()
