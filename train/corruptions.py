"""Everyday damage to a face crop, and crops cut a little differently: what a model must bear.

Nine kinds of damage in three strengths, and eight other framings. Blurs have their length in
pixels of a 48-pixel face, and grow with the side of the crop; noise and JPEG act on the pixels
that are there, so a larger crop, which is reduced later, bears them better. What is random follows
from the kind, the strength and the face's index alone, and the arithmetic is in float64 or
integers, so a face is damaged in the same way on every machine.

Source: the idea, and the kinds that are not covers, are ImageNet-C's (Hendrycks and Dietterich,
ICLR 2019, arXiv:1903.12261); the constants are this project's, chosen by eye for small faces.
"""

import io
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import convolve

from emotion.preprocess import Crop, check_crop
from emotion.render import encode

STRENGTHS = (1, 2, 3)
FACE_SIDE = 48
"""Side, in pixels, of the face that lengths are given for."""

NOISE = (0.04, 0.08, 0.12)
"""Standard deviation, as a share of the full range."""
MOTION = (3.0, 5.0, 7.0)
"""Length of the way that each point moves, in pixels of a 48-pixel face."""
DEFOCUS = (1.0, 1.5, 2.2)
"""Radius of the disk that each point becomes, in pixels of a 48-pixel face."""
DARK = ((0.75, 1.2), (0.5, 1.4), (0.35, 1.6))
"""Gain and gamma: ``gain * value ** gamma``."""
BRIGHT = (1.2, 1.4, 1.7)
"""Gain; what goes beyond white is lost."""
JPEG = (50, 25, 12)
"""Quality."""
LOW_RESOLUTION = (32, 24, 16)
"""Side, in pixels, that is left of a crop of any size."""
COVERED = (0.25, 0.37, 0.50)
"""Share of the height that a mid-grey bar covers."""
MID_GREY = 128

ZOOMS = (0.75, 0.85, 1.15, 1.25)
SHIFTS = {"left": (-0.1, 0.0), "right": (0.1, 0.0), "up": (0.0, -0.1), "down": (0.0, 0.1)}


def corrupt(crop: Crop, kind: str, *, strength: int, index: int = 0) -> Crop:
    """Damage a crop.

    Args:
        crop: (S, S) or (S, S, 3) uint8.
        kind: a name of :data:`CORRUPTIONS`.
        strength: 1, 2 or 3.
        index: of the face in its data set; another index draws other noise.

    Returns:
        A new array of the crop's shape, uint8.

    Raises:
        ValueError: an unknown kind or strength, or no square uint8 crop.
    """
    if kind not in CORRUPTIONS:
        raise ValueError(f"no corruption {kind!r}; expected one of {', '.join(CORRUPTIONS)}")
    if strength not in STRENGTHS:
        raise ValueError(f"strength must be 1, 2 or 3, got {strength}")
    check_crop(crop)
    random = np.random.default_rng([zlib.crc32(kind.encode()), strength, index])
    return CORRUPTIONS[kind](crop, strength - 1, random)


def gaussian_noise(crop: Crop, level: int, random: np.random.Generator) -> Crop:
    """Sensor noise in poor light; grey faces stay grey, coloured ones get noise per channel."""
    return to_bytes(crop + random.normal(0, 255 * NOISE[level], crop.shape))


def motion_blur(crop: Crop, level: int, random: np.random.Generator) -> Crop:
    """A head that moves while the picture is taken, in a random direction."""
    kernel = line_kernel(MOTION[level] * scale_of(crop), random.uniform(0, np.pi))
    return smear(crop, kernel)


def defocus_blur(crop: Crop, level: int, random: np.random.Generator) -> Crop:
    """A camera that is focused elsewhere."""
    return smear(crop, disk_kernel(DEFOCUS[level] * scale_of(crop)))


def dark(crop: Crop, level: int, random: np.random.Generator) -> Crop:
    """Too little light: less of it, and least in the shadows."""
    gain, gamma = DARK[level]
    return to_bytes(255 * gain * (crop / 255) ** gamma)


def bright(crop: Crop, level: int, random: np.random.Generator) -> Crop:
    """Too much light: the brightest parts are burnt out."""
    return to_bytes(crop * BRIGHT[level])


def jpeg(crop: Crop, level: int, random: np.random.Generator) -> Crop:
    """A picture that was compressed too much."""
    with Image.open(io.BytesIO(encode(crop, "JPEG", quality=JPEG[level]))) as image:
        return np.array(image, np.uint8)


def low_resolution(crop: Crop, level: int, random: np.random.Generator) -> Crop:
    """A face far from the camera, enlarged again."""
    side = len(crop)
    small = min(LOW_RESOLUTION[level], side)
    reduced = Image.fromarray(crop).resize((small, small), Image.Resampling.BOX)
    return np.array(reduced.resize((side, side), Image.Resampling.BICUBIC), np.uint8)


def occluded_upper(crop: Crop, level: int, random: np.random.Generator) -> Crop:
    """A face covered from above: hair, a hat, sunglasses."""
    out = crop.copy()
    out[: round(COVERED[level] * len(crop))] = MID_GREY
    return out


def occluded_lower(crop: Crop, level: int, random: np.random.Generator) -> Crop:
    """A face covered from below: a scarf, a mask, a hand."""
    out = crop.copy()
    out[len(crop) - round(COVERED[level] * len(crop)) :] = MID_GREY
    return out


CORRUPTIONS: dict[str, Callable[[Crop, int, np.random.Generator], Crop]] = {
    "gaussian_noise": gaussian_noise,
    "motion_blur": motion_blur,
    "defocus_blur": defocus_blur,
    "dark": dark,
    "bright": bright,
    "jpeg": jpeg,
    "low_resolution": low_resolution,
    "occluded_upper": occluded_upper,
    "occluded_lower": occluded_lower,
}


def scale_of(crop: Crop) -> float:
    """Return how many pixels of the crop one pixel of a 48-pixel face is."""
    return len(crop) / FACE_SIDE


def to_bytes(values: NDArray[np.floating]) -> Crop:
    """Round to uint8, what is beyond black or white cut off."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def smear(crop: Crop, kernel: NDArray[np.float64]) -> Crop:
    """Convolve with a kernel (k, k), each channel alone, the border repeated."""
    weights = kernel if crop.ndim == 2 else kernel[:, :, None]
    return to_bytes(convolve(crop.astype(np.float64), weights, mode="nearest"))


def disk_kernel(radius: float) -> NDArray[np.float64]:
    """Return a disk of a radius in pixels, soft-edged, (k, k) with sum 1."""
    half = int(np.ceil(radius + 0.5))
    steps = np.arange(-half, half + 1)
    distance = np.hypot(steps[:, None], steps[None])
    disk = np.clip(radius + 0.5 - distance, 0, 1)
    return disk / disk.sum()


def line_kernel(length: float, turn: float) -> NDArray[np.float64]:
    """Return a line of a length in pixels, turned by ``turn`` radians, (k, k) with sum 1."""
    half = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    places = (np.arange(64) + 0.5) / 64 - 0.5
    for along in places * length:
        x, y = half + along * np.cos(turn), half + along * np.sin(turn)
        left, top = int(x), int(y)
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            kernel[row, column] += (1 - abs(x - column)) * (1 - abs(y - row))
    return kernel / kernel.sum()


def framings() -> dict[str, tuple[float, float, float]]:
    """Return the other framings by name: zoom, and shift to the right and down."""
    zooms = {f"zoom {zoom}": (zoom, 0.0, 0.0) for zoom in ZOOMS}
    return zooms | {f"shift {name}": (1.0, x, y) for name, (x, y) in SHIFTS.items()}


def reframe(crop: Crop, zoom: float, right: float, down: float) -> Crop:
    """Cut a crop as if the face had been found a little differently; the border is repeated.

    Args:
        crop: (S, S) or (S, S, 3) uint8.
        zoom: factor on the size of the face: below 1 it gets smaller.
        right, down: how far the face moves, as shares of the side, at most a half.

    Returns:
        A new array of the crop's shape, uint8.
    """
    check_crop(crop)
    if not 0.5 <= zoom <= 4 or max(abs(right), abs(down)) > 0.5:
        raise ValueError(f"expected a zoom of 0.5 to 4 and shifts to 0.5, got {zoom, right, down}")
    side = len(crop)
    margins = [(side, side), (side, side), (0, 0)][: crop.ndim]
    wide = Image.fromarray(np.pad(crop, margins, mode="edge"))
    x, y, half = (1.5 - right / zoom) * side, (1.5 - down / zoom) * side, side / zoom / 2
    box = (x - half, y - half, x + half, y + half)
    return np.array(wide.resize((side, side), Image.Resampling.BICUBIC, box=box), np.uint8)


def sheet(crop: Crop, *, scale: int = 2) -> NDArray[np.uint8]:
    """Draw a crop with all its damages and framings, to look at.

    Args:
        crop: (S, S) or (S, S, 3) uint8. scale: factor on the pixels.

    Returns:
        (H, W, 3) uint8 RGB: a row per kind with the plain crop and the three strengths, then two
        rows of framings.
    """
    rows = [
        (kind, [crop, *(corrupt(crop, kind, strength=s) for s in STRENGTHS)])
        for kind in CORRUPTIONS
    ]
    cut = [reframe(crop, *framing) for framing in framings().values()]
    rows += [
        ("zoom " + ", ".join(map(str, ZOOMS)), cut[:4]),
        ("shift " + ", ".join(SHIFTS), cut[4:]),
    ]
    step, head = len(crop) * scale + 4, 16
    page = Image.new("RGB", (4 * step, len(rows) * (step + head)), "white")
    font = ImageFont.load_default(size=11)
    for row, (name, cells) in enumerate(rows):
        top = row * (step + head)
        ImageDraw.Draw(page).text((2, top + 2), name, fill="black", font=font)
        for column, cell in enumerate(cells):
            tile = Image.fromarray(cell).convert("RGB")
            tile = tile.resize((len(crop) * scale,) * 2, Image.Resampling.NEAREST)
            page.paste(tile, (column * step, top + head))
    return np.array(page, np.uint8)
