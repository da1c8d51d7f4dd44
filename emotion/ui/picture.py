"""A picture with boxes and evidence as SVG, and pictures as data URIs."""

import base64
import html

import cv2

from emotion.geometry import invert
from emotion.images import RGBImage
from emotion.render import caption, encode, heat_rgba
from emotion.results import FaceResult, ImageResult

PICTURE_SIDE = 1280
HEAT_SIDE = 48
STRENGTH = 0.75
LETTER = 0.56
"""Mean width of a letter of the page's font, in units of its size; to keep captions inside."""


def picture(image: RGBImage, result: ImageResult) -> str:
    """Return the picture as SVG, in its own pixels, with boxes, labels and evidence."""
    width, height = result.width, result.height
    heats = "".join(heat_images(i, face) for i, face in enumerate(result.faces))
    marks = "".join(mark(i, face, width) for i, face in enumerate(result.faces))
    said = "; ".join(face.sentence for face in result.faces[:6]) or "no face found"
    return (
        f'<svg class="lens-picture" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="The picture. {html.escape(said, quote=True)}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<defs>{heats}</defs>"
        f'<image href="{jpeg_uri(image)}" width="{width}" height="{height}" '
        f'preserveAspectRatio="none"/>{marks}</svg>'
    )


def heat_images(index: int, face: FaceResult) -> str:
    """Return the evidence of every class as unit-square images that can be used by id."""
    return "".join(
        f'<image id="heat-{index}-{label}" width="1" height="1" preserveAspectRatio="none" '
        f'href="{png_uri(heat_rgba(face.explanation, label, HEAT_SIDE))}"/>'
        for label in face.explanation.labels
    )


def use_heat(index: int, face: FaceResult, transform: str) -> str:
    """Place a face's evidence by a transform of the unit square."""
    return (
        f'<g transform="{transform}"><use class="lens-heat" data-face="{index}" '
        f'href="#heat-{index}-{face.prediction.label}" opacity="{STRENGTH}"/></g>'
    )


def mark(index: int, face: FaceResult, width: int) -> str:
    """Return one face's evidence, box and label in picture coordinates."""
    back = invert(face.to_crop)
    # SVG coordinates run from the edge of the first pixel, ours from its centre.
    a, c, e = back[0] + [0, 0, 0.5]
    b, d, f = back[1] + [0, 0, 0.5]
    matrix = f"matrix({a:.5f} {b:.5f} {c:.5f} {d:.5f} {e:.3f} {f:.3f})"
    x1, y1, x2, y2 = (float(v) for v in face.face.box)
    line = max((x2 - x1) / 70, width / 600)
    size = min(max((x2 - x1) / 6.5, width / 60), width / 18)
    y = y1 - size * 0.35 if y1 > size * 1.3 else y2 - size * 0.35
    text = caption(face.prediction)
    x = max(min(x1, width - LETTER * size * len(text)), 0)
    return (
        f"{use_heat(index, face, matrix)}"
        f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" '
        f'rx="{line * 2:.1f}" fill="none" stroke="#ffc43d" stroke-width="{line:.1f}"/>'
        f'<text class="lens-name" data-face="{index}" data-top="{text}" x="{x:.1f}" y="{y:.1f}" '
        f'font-family="system-ui, sans-serif" font-weight="600" font-size="{size:.1f}" '
        f'fill="#ffc43d" stroke="#14110a" stroke-width="{size / 5:.1f}" '
        f'stroke-linejoin="round" paint-order="stroke">{text}</text>'
    )


def jpeg_uri(image: RGBImage) -> str:
    """Return a picture, reduced to what a page shows, as a data URI."""
    longest = max(image.shape[:2])
    if longest > PICTURE_SIDE:
        scale = PICTURE_SIDE / longest
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return data_uri(encode(image, "JPEG", quality=88), "jpeg")


def png_uri(image: RGBImage) -> str:
    """Return a picture as a PNG data URI."""
    return data_uri(encode(image, "PNG"), "png")


def data_uri(data: bytes, kind: str) -> str:
    """Return encoded bytes as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
