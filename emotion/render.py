"""Arrays and results to pictures. Never sees a model; always returns new arrays."""

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from emotion.evidence import spread
from emotion.images import RGBImage
from emotion.results import (
    Explanation,
    FaceResult,
    FloatArray,
    ImageResult,
    Prediction,
    label_index,
    two_digits,
)

FOR_COLOURS = np.array([[255, 214, 10], [245, 60, 30], [200, 0, 120]], np.float32)
AGAINST_COLOURS = np.array([[70, 230, 255], [20, 110, 240], [60, 20, 170]], np.float32)
"""Weak, middling and strong evidence for and against a label: warm against cold, told apart
with any common colour vision, and changing hue with strength so that levels show on any skin."""

ALPHA_POWER = 0.8
"""Exponent from strength to opacity: below 1, so that weak evidence can be seen."""

BOX_COLOUR = (255, 196, 61)


def density(explanation: Explanation, label: str, size: int) -> FloatArray:
    """Return the evidence of a label over the crop.

    Returns:
        (size, size) float32, signed, in logits per crop area: its mean is the sum of the
        map, so the numbers do not depend on the size.
    """
    index = label_index(explanation.labels, label)
    laid = spread(
        explanation.evidence[index],
        size,
        origin=explanation.grid_origin,
        step=explanation.grid_step,
    )
    return laid * np.float32(size * size)


def heatmap(explanation: Explanation, label: str, size: int) -> FloatArray:
    """Return the positive evidence of a label on a fixed scale, (size, size) in [0, 1].

    All zero where nothing speaks for the label: noise is not blown up to full heat.
    """
    return np.clip(density(explanation, label, size) / explanation.scale, 0, 1)


def heat_rgba(explanation: Explanation, label: str, size: int = 96) -> NDArray[np.uint8]:
    """Return signed evidence as a see-through picture: warm colours for, cold against.

    Returns:
        (size, size, 4) uint8; hue and opacity follow the evidence, on the fixed scale.
    """
    return signed_rgba(density(explanation, label, size) / explanation.scale)


def map_rgba(
    evidence: FloatArray, *, origin: float, step: float, scale: float, size: int = 96
) -> NDArray[np.uint8]:
    """Return any signed map as :func:`heat_rgba` returns a label's.

    Args:
        evidence: (h, w) float32. origin, step: where its cells lie, as fractions of the crop.
        scale: density (units of the map per crop area) that is shown in full colour.
    """
    laid = spread(evidence, size, origin=origin, step=step) * np.float32(size * size)
    return signed_rgba(laid / scale)


def signed_rgba(value: FloatArray) -> NDArray[np.uint8]:
    """Return numbers as see-through colours, (S, S, 4) uint8; -1 and 1 are full colour."""
    value = np.clip(value, -1, 1)
    strength = np.abs(value)
    stops = np.linspace(0, 1, len(FOR_COLOURS))
    layers = [
        np.where(
            value > 0,
            np.interp(strength, stops, FOR_COLOURS[:, channel]),
            np.interp(strength, stops, AGAINST_COLOURS[:, channel]),
        )
        for channel in range(3)
    ]
    return np.stack([*layers, 255 * strength**ALPHA_POWER], 2).round().astype(np.uint8)


def blend(image: RGBImage, rgba: NDArray[np.uint8], strength: float) -> RGBImage:
    """Lay a see-through picture of the same size over an image.

    Args:
        strength: factor on the opacity, in [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie in [0, 1], got {strength}")
    alpha = rgba[..., 3:].astype(np.float32) * (strength / 255)
    mixed = image * (1 - alpha) + rgba[..., :3] * alpha
    return mixed.round().astype(np.uint8)


def overlay(result: FaceResult, label: str | None = None, strength: float = 0.7) -> RGBImage:
    """Return a face's crop with the evidence for a label (by default its own) over it."""
    label = label or result.prediction.label
    return blend(result.crop, heat_rgba(result.explanation, label, len(result.crop)), strength)


def annotate(
    image: RGBImage,
    result: ImageResult,
    *,
    label: str | None = None,
    strength: float = 0.7,
    heat: bool = True,
) -> RGBImage:
    """Draw boxes, labels and evidence of all faces into a copy of the image.

    Args:
        image: (H, W, 3) uint8 RGB that ``result`` is about.
        label: whose evidence to show; by default each face's own.
        strength: of the evidence, in [0, 1]. heat: whether to show it at all.
    """
    out = image.copy()
    if heat:
        for face in result.faces:
            lay_evidence(out, face, label or face.prediction.label, strength)
    canvas = Image.fromarray(out)
    for face in result.faces:
        draw_box(canvas, face, caption(face.prediction, label))
    return np.array(canvas, np.uint8)


def lay_evidence(out: RGBImage, face: FaceResult, label: str, strength: float) -> None:
    """Blend the evidence of one face into the picture, where the face is."""
    side = 96
    rgba = heat_rgba(face.explanation, label, side)
    height, width = out.shape[:2]
    to_crop = face.to_crop * side
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], np.float64)
    turn = np.linalg.inv(to_crop[:, :2])
    spots = (corners - to_crop[:, 2]) @ turn.T
    x1, y1 = np.floor(np.clip(spots.min(0), 0, [width, height])).astype(int)
    x2, y2 = np.ceil(np.clip(spots.max(0), 0, [width, height])).astype(int)
    if x2 <= x1 or y2 <= y1:
        return
    # Only the rectangle around the face is touched: a large picture costs no more than a small.
    matrix = to_crop.copy()
    matrix[:, 2] += to_crop[:, :2] @ np.array([x1, y1]) - 0.5
    back = cv2.invertAffineTransform(matrix)
    laid = cv2.warpAffine(rgba, back, (int(x2 - x1), int(y2 - y1)), flags=cv2.INTER_LINEAR)
    out[y1:y2, x1:x2] = blend(out[y1:y2, x1:x2], laid, strength)


def caption(prediction: Prediction, label: str | None = None) -> str:
    """Return the words on a face's box.

    Args:
        label: whose probability to tell; by default the answer is told, and a probability only
            where there is one candidate.
    """
    if label is None and not prediction.sure:
        return prediction.answer
    label = label or prediction.label
    return f"{label} {two_digits(prediction.probability(label))}"


def draw_box(canvas: Image.Image, face: FaceResult, text: str) -> None:
    """Draw one face's box and, above or below it, its caption."""
    draw = ImageDraw.Draw(canvas)
    x1, y1, x2, y2 = (float(v) for v in face.face.box)
    line = max(2, round((x2 - x1) / 80))
    draw.rectangle((x1, y1, x2, y2), outline=BOX_COLOUR, width=line)
    font = ImageFont.load_default(size=int(np.clip((x2 - x1) / 7, 12, 48)))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    wide, high = right - left + 8, bottom - top + 8
    x = min(max(x1, 0), max(canvas.width - wide, 0))
    y = y1 - high if y1 >= high else min(y2, canvas.height - high)
    draw.rectangle((x, y, x + wide, y + high), fill=BOX_COLOUR)
    draw.text((x + 4 - left, y + 4 - top), text, fill=(20, 20, 20), font=font)


def encode(image: NDArray[np.uint8], kind: str = "PNG", **options: int) -> bytes:
    """Encode a picture (H, W, 3) or (H, W, 4) as ``PNG`` or ``JPEG``."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()
