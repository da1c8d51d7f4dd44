"""Between the Explore tab's JSON and arrays; whatever a page sends is looked at first."""

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from emotion.errors import ImageError
from emotion.faithfulness import SIDE
from emotion.images import RGBImage, load_image
from emotion.regions import crop_landmarks, region_map
from emotion.render import encode
from emotion.results import FaceResult

MAX_BYTES = 12_000_000
MAX_CROP = 512


def face_payload(face: FaceResult) -> dict[str, Any]:
    """Return one face for the page: all it needs to show it and to ask about it."""
    points = crop_landmarks(face.face, face.to_crop)
    return numbers(face) | {
        "crop": text_of(encode(face.crop, "PNG")),
        "points": np.round(points, 6).tolist(),
        "regions": text_of(region_map(points, SIDE).tobytes()),
        "sentence": face.sentence,
        "notes": [note.text for note in face.notes],
    }


def numbers(face: FaceResult) -> dict[str, Any]:
    """Return the numbers of a face; lists are in the order of the labels."""
    prediction, explanation = face.prediction, face.explanation
    return {
        "labels": list(prediction.labels),
        "label": prediction.label,
        "answer": prediction.answer,
        "probabilities": prediction.probabilities.tolist(),
        "logits": prediction.logits.tolist(),
        "evidence": np.round(explanation.evidence.astype(float), 5).tolist(),
        "bias": explanation.bias.tolist(),
        "origin": explanation.grid_origin,
        "step": explanation.grid_step,
        "scale": explanation.scale,
    }


def text_of(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode()


def bytes_of(data: Mapping[str, Any], key: str, most: int) -> bytes:
    """Return bytes that were sent as base64.

    Raises:
        ImageError: there are none, too many, or they are damaged.
    """
    text = data.get(key)
    if not isinstance(text, str) or not text:
        raise ImageError(f"there is no {key} in it")
    if len(text) > most * 4 // 3 + 4:
        raise ImageError(f"the {key} is larger than {most / 1e6:.0f} MB")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError(f"the {key} is not base64") from None


def file_of(data: Mapping[str, Any]) -> bytes:
    """Return the picture's file."""
    return bytes_of(data, "picture", MAX_BYTES)


def crop_of(data: Mapping[str, Any]) -> RGBImage:
    """Return the face that was sent; its size is looked at before it is unpacked."""
    content = bytes_of(data, "crop", 1_000_000)
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as header:
            width, height = header.size
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        raise ImageError("the crop is not a PNG") from None
    if width != height or not 8 <= width <= MAX_CROP:
        raise ImageError(f"the crop must be a square of 8 to {MAX_CROP} pixels")
    return load_image(content)


def points_of(data: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the 68 landmarks that were sent, (68, 2) in crop units."""
    try:
        points = np.asarray(data.get("points"), np.float64)
    except (TypeError, ValueError):
        raise ImageError("points must be pairs of numbers") from None
    if points.shape != (68, 2) or not np.isfinite(points).all() or np.abs(points).max() > 1e3:
        raise ImageError("there must be 68 points near the face")
    return points


def mask_of(data: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return what to hide, (96, 96) bool."""
    content = bytes_of(data, "mask", SIDE * SIDE)
    if len(content) != SIDE * SIDE:
        raise ImageError(f"the mask must have {SIDE} x {SIDE} bytes")
    return np.frombuffer(content, np.uint8).reshape(SIDE, SIDE) > 0
