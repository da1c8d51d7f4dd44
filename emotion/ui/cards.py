"""An image's result as HTML: the picture with boxes and evidence, and a card for each face.

Everything the page can show is in it (the evidence of all classes, the numbers for download),
so choosing another emotion or saving a file asks nothing of the server.
"""

import html
import json
from collections.abc import Sequence

from emotion.faithfulness import Proof
from emotion.images import RGBImage
from emotion.parts import PartDrops
from emotion.regions import describe
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
from emotion.ui.picture import STRENGTH, jpeg_uri, picture, use_heat

TEST = "Put to the test"


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
    key: str = "",
    tested: int = 0,
) -> str:
    """Return all that is shown about one image before its maps are put to the test.

    Args:
        image: (H, W, 3) uint8 RGB that ``result`` is about.
        name: of the file, for the downloads.
        milliseconds: that the analysis took.
        key: by which :func:`proofs_html` finds this result.
        tested: how many faces, the first ones, are about to be put to the test.
    """
    if not result.faces:
        return note(texts.NO_FACE) + f'<div class="lens">{picture(image, result)}</div>'
    cards = "".join(card(i, face, waits=i < tested) for i, face in enumerate(result.faces))
    return (
        f'<div class="lens" data-key="{key}" '
        f'data-name="{html.escape(stem(name), quote=True)}" '
        f'data-json="{html.escape(numbers(name, result), quote=True)}">'
        f"{status(result, milliseconds)}{toolbar(result)}{picture(image, result)}"
        f'<p class="lens-legend">{html.escape(texts.LEGEND)}</p>'
        f'<div class="lens-cards">{cards}</div></div>'
    )


def proofs_html(
    result: ImageResult,
    *,
    name: str,
    key: str,
    proofs: Sequence[Proof],
    parts: Sequence[PartDrops],
    words: str = "",
) -> str:
    """Return what goes into a result's cards once their maps were put to the test.

    It is a template: nothing of it shows, or is found, where it lies.

    Args:
        name, key: as they were given to :func:`result_html`.
        proofs, parts: of the faces, in their order.
        words: why the faces that still wait have none; empty if none waits.
    """
    whys = "".join(
        f'<div data-face="{i}">{why(face, proof.label, proof, drops)}</div>'
        for i, (face, proof, drops) in enumerate(zip(result.faces, proofs, parts, strict=False))
    )
    return (
        f'<template data-key="{key}" data-words="{html.escape(words, quote=True)}" '
        f'data-json="{html.escape(numbers(name, result, proofs, parts), quote=True)}">'
        f"{whys}</template>"
    )


def numbers(
    name: str,
    result: ImageResult,
    proofs: Sequence[Proof] = (),
    parts: Sequence[PartDrops] = (),
) -> str:
    """Return the JSON that the page offers for download."""
    images = [image_json(name, result, proofs=proofs, parts=parts)]
    return json.dumps({"model": result.model, "detector": result.detector, "images": images})


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


def card(index: int, face: FaceResult, *, waits: bool = False) -> str:
    """Return one face's card: answer, notes, crop with evidence, probabilities, regions.

    Args:
        waits: whether its map is about to be put to the test, so that room is kept.
    """
    label = face.prediction.label
    blocks = "".join(
        f'<div class="lens-why" data-for="{name}"{"" if name == label else " hidden"}>'
        f"{why(face, name, waits=waits and name == label)}</div>"
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


def why(
    face: FaceResult,
    label: str,
    proof: Proof | None = None,
    parts: PartDrops | None = None,
    *,
    waits: bool = False,
) -> str:
    """Return why a face has a label: the sentence, the proof, the regions."""
    if proof is not None:
        test = proof_html(proof)
    else:
        test = f'<div class="lens-proof" data-waits><h4>{TEST}</h4><p>{texts.TESTING}</p></div>'
    return (
        f"<p>{html.escape(describe(face.prediction, face.explanation, label))}</p>"
        f"{test if proof or waits else ''}{region_bars(face, label, parts)}"
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
        f'<figure><img src="{jpeg_uri(shot)}" alt="The face; {words}">'
        f"<figcaption>{words}: <b>{two_digits(share)}</b></figcaption></figure>"
        for shot, words, share in shown
    )
    return (
        f'<div class="lens-proof" data-verdict="{proof.verdict}"><h4>{TEST}</h4>'
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
