"""An image's result as HTML: the picture with boxes and evidence, and a card for each face.

Everything the page can show is in it (the evidence of all classes, the numbers for download),
so choosing another emotion or saving a file asks nothing of the server.
"""

import base64
import html
import json
from collections.abc import Sequence
from itertools import zip_longest

import cv2

from emotion.faithfulness import Proof
from emotion.geometry import invert
from emotion.images import RGBImage
from emotion.parts import PartDrops
from emotion.regions import describe
from emotion.render import caption, encode, heat_rgba
from emotion.results import (
    NOT_SURE,
    FaceResult,
    ImageResult,
    Prediction,
    either,
    two_digits,
)
from emotion.serialize import image_json
from emotion.ui import texts
from emotion.ui.bars import region_bars

PICTURE_SIDE = 1280
HEAT_SIDE = 48
STRENGTH = 0.75
LETTER = 0.56
"""Mean width of a letter of the page's font, in units of its size; to keep captions inside."""


def note(text: str, *, alarm: bool = False) -> str:
    """Return a line of text in a box; an alarm is read out at once by screen readers."""
    role = "alert" if alarm else "status"
    kind = "lens-note lens-alarm" if alarm else "lens-note"
    return f'<div class="{kind}" role="{role}">{html.escape(text)}</div>'


def result_html(
    image: RGBImage,
    result: ImageResult,
    *,
    name: str,
    milliseconds: float,
    proofs: Sequence[Proof] = (),
    parts: Sequence[PartDrops] = (),
) -> str:
    """Return all that is shown about one image.

    Args:
        image: (H, W, 3) uint8 RGB that ``result`` is about.
        name: of the file, for the downloads.
        milliseconds: that the analysis took.
        proofs, parts: of the faces, in their order; faces beyond them have none.
    """
    if not result.faces:
        return note(texts.NO_FACE) + f'<div class="lens">{picture(image, result)}</div>'
    images = [image_json(name, result, proofs=proofs, parts=parts)]
    numbers = json.dumps({"model": result.model, "detector": result.detector, "images": images})
    rows = zip_longest(result.faces, proofs, parts)
    cards = "".join(card(i, *row) for i, row in enumerate(rows))
    return (
        f'<div class="lens" data-name="{html.escape(stem(name), quote=True)}" '
        f'data-json="{html.escape(numbers, quote=True)}">'
        f"{status(result, milliseconds)}{toolbar(result)}{picture(image, result)}"
        f'<p class="lens-legend">{html.escape(texts.LEGEND)}</p>'
        f'<div class="lens-cards">{cards}</div></div>'
    )


def stem(name: str) -> str:
    """Return a file's name without folder and ending."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0] or "picture"


def status(result: ImageResult, milliseconds: float) -> str:
    """Say how many faces there are, and what they show, in a line that is read out."""
    count = len(result.faces)
    shown = ", ".join(face.prediction.answer for face in result.faces[:6])
    more = ", ..." if count > 6 else ""
    return (
        f'<p class="lens-status" role="status">{count} face{"s" if count > 1 else ""}: '
        f"<b>{shown}{more}</b> <span>{result.detector}, {milliseconds:.0f} ms</span></p>"
    )


def toolbar(result: ImageResult) -> str:
    """Return the controls: which emotion's evidence, how strong, downloads."""
    names = ("top", *result.faces[0].prediction.labels)
    buttons = "".join(
        f'<button type="button" data-pick="{name}" aria-pressed="{str(name == "top").lower()}">'
        f"{'top answer' if name == 'top' else name}</button>"
        for name in names
    )
    return (
        '<div class="lens-tools"><div class="lens-pick" role="group" '
        f'aria-label="Show the evidence for"><span>Evidence for</span>{buttons}</div>'
        '<div class="lens-side"><label>Overlay <input type="range" min="0" max="100" '
        f'value="{round(STRENGTH * 100)}" data-strength></label>'
        '<button type="button" data-download="json">Save JSON</button>'
        '<button type="button" data-download="png">Save PNG</button></div></div>'
    )


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


def card(
    index: int, face: FaceResult, proof: Proof | None = None, parts: PartDrops | None = None
) -> str:
    """Return one face's card: answer, notes, crop with evidence, probabilities, proof, regions."""
    label = face.prediction.label
    blocks = "".join(
        f'<div class="lens-why" data-for="{name}"{"" if name == label else " hidden"}>'
        f"<p>{html.escape(describe(face.prediction, face.explanation, name))}</p>"
        f"{proof_html(proof) if proof and proof.label == name else ''}"
        f"{region_bars(face, name, parts if parts and parts.label == name else None)}</div>"
        for name in face.prediction.labels
    )
    return (
        f'<article class="lens-card" data-face="{index}" data-top="{label}" '
        f'aria-label="Face {index + 1}">'
        f"<h3>Face {index + 1}: {heading(face.prediction)}</h3>{hints(face)}"
        f'<button type="button" class="lens-explore" data-explore="{index}">Explore this face: '
        "hide parts, ask why not, compare methods</button>"
        f'<div class="lens-row"><svg class="lens-crop" viewBox="0 0 1 1" role="img" '
        f'aria-label="Face {index + 1}, with the evidence laid over it">'
        f'<image width="1" height="1" href="{jpeg_uri(face.crop)}"/>'
        f"{use_heat(index, face, 'scale(1)')}</svg>"
        f'<div class="lens-probs" role="group" aria-label="Probabilities; press one for its '
        f'evidence">{probability_rows(face)}</div></div>{blocks}</article>'
    )


def proof_html(proof: Proof) -> str:
    """Return what became of the answer when the hottest area was hidden, with two pictures."""
    if not proof.trials:
        return f'<p class="lens-proof">{html.escape(proof.sentence)}</p>'
    trial = proof.typical
    shown = (
        (proof.pictures[0], "what the map marks is hidden", trial.hidden),
        (proof.pictures[1], "as much is hidden elsewhere", trial.elsewhere),
    )
    figures = "".join(
        f'<figure><img src="{jpeg_uri(picture)}" alt="The face; {words}">'
        f"<figcaption>{words}: <b>{two_digits(share)}</b></figcaption></figure>"
        for picture, words, share in shown
    )
    return (
        f'<div class="lens-proof" data-verdict="{proof.verdict}"><h4>Put to the test</h4>'
        f"<div>{figures}</div><p>{html.escape(proof.sentence)}</p></div>"
    )


def heading(prediction: Prediction) -> str:
    """Return the answer; a sure one with its probability, an unsure one with what it could be."""
    if prediction.sure:
        shown = two_digits(prediction.probability(prediction.label))
        return f"{prediction.label} <b>{shown}</b>"
    if prediction.answer != NOT_SURE:
        return prediction.answer
    return f"{NOT_SURE} <span>could be {either(prediction.candidates)}</span>"


def hints(face: FaceResult) -> str:
    """Return the notes on how well the face can be read; nothing where there is none."""
    lines = "".join(f"<li>{html.escape(note.text)}</li>" for note in face.notes)
    return f'<ul class="lens-hints">{lines}</ul>' if lines else ""


def probability_rows(face: FaceResult) -> str:
    """Return a button with a bar for each label, in the model's order; candidates stand out."""
    rows, candidates = [], face.prediction.candidates
    for name, value in zip(face.prediction.labels, face.prediction.probabilities, strict=True):
        pressed = str(name == face.prediction.label).lower()
        rows.append(
            f'<button type="button" data-label="{name}" data-value="{two_digits(value)}" '
            f'aria-pressed="{pressed}"{" data-candidate" if name in candidates else ""}>'
            f"<span>{name}</span>"
            f'<i><b style="width:{100 * float(value):.1f}%"></b></i>'
            f"<span>{two_digits(value)}</span></button>"
        )
    return "".join(rows)


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
