"""The Image tab: a photo in; faces, emotions, evidence and regions out."""

import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from emotion.errors import EmotionError
from emotion.faithfulness import Proof, prove
from emotion.images import load_image
from emotion.parts import PartDrops, part_drops
from emotion.pipeline import EmotionPipeline
from emotion.results import FaceResult
from emotion.ui import cards, texts
from emotion.ui.gate import BusyError, Gate

logger = logging.getLogger(__name__)

PROVEN = 8
"""Faces, the largest first, whose maps are put to the test."""
PATIENCE = 30.0
"""Seconds that a picture waits for its turn between the live frames."""

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def build_image_tab(pipeline: EmotionPipeline, gate: Gate) -> None:
    """Add the tab's components to the Blocks that is being built."""

    def analyse(path: str | None) -> Iterator[tuple[str, str]]:
        yield from analyse_file(pipeline, path, gate)

    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=280):
            photo = gr.Image(
                label="Photo",
                sources=["upload", "clipboard", "webcam"],
                type="filepath",
                height=320,
                buttons=["fullscreen"],
                elem_id="photo",
                alt_text="The photo to analyse",
            )
            # Gradio would open and convert the file first, and answer a broken one with a
            # traceback; the package's own loader knows more formats and says what is wrong.
            photo.preprocess = path_of
            gr.Examples(
                sorted(str(p) for p in EXAMPLES.glob("*.jpg")),
                photo,
                label="Examples (drawn, so that nobody's face is used)",
                cache_examples=False,
            )
        with gr.Column(scale=5, min_width=320):
            result = gr.HTML(cards.note(texts.EMPTY), elem_id="result")
            proofs = gr.HTML(visible="hidden")
    photo.change(
        analyse,
        photo,
        [result, proofs],
        api_name="analyse",
        show_progress="minimal",
        trigger_mode="always_last",
        concurrency_limit=2,
    )
    # Into the cards they go in the page: a second result would undo what was clicked meanwhile.
    proofs.change(None, proofs, js="html => window.emotionLensProofs(html)")


def path_of(payload: Any) -> str | None:
    """Return the path of an uploaded file, as it was uploaded."""
    return None if payload is None else payload.path


def analyse_file(
    pipeline: EmotionPipeline, path: str | None, gate: Gate
) -> Iterator[tuple[str, str]]:
    """Analyse an uploaded file: the answer first, then what the tests of its maps say.

    Whatever happens, there is something to show.

    Yields:
        The result and its tests, as HTML; the tests are empty while there are none.
    """
    if path is None:
        yield cards.note(texts.EMPTY), ""
        return
    try:
        with gate.turn(PATIENCE):
            began = time.perf_counter()
            image = load_image(path)
            result = pipeline(image)
            spent = 1e3 * (time.perf_counter() - began)
        name, key = Path(path).name, secrets.token_hex(4)
        tested = result.faces[:PROVEN]
        page = cards.result_html(
            image, result, name=name, milliseconds=spent, key=key, tested=len(tested)
        )
    except BusyError:
        yield cards.note(texts.BUSY, alarm=True), ""
    except EmotionError as error:
        yield cards.note(f"This picture cannot be analysed: {error}.", alarm=True), ""
    except Exception:
        logger.exception("analysing an upload failed")
        yield cards.note(texts.BROKEN, alarm=True), ""
    else:
        yield page, ""
        if tested:
            proofs, parts, words = prove_maps(pipeline, tested, gate)
            yield (
                page,
                cards.proofs_html(
                    result, name=name, key=key, proofs=proofs, parts=parts, words=words
                ),
            )


def prove_maps(
    pipeline: EmotionPipeline, faces: Sequence[FaceResult], gate: Gate
) -> tuple[list[Proof], list[PartDrops], str]:
    """Put the maps of faces to the test.

    A face at a time has the processor, so that the live frames of others come between.

    Returns:
        As many proofs and as many drops as could be had, and why there are no more, if so.
    """
    proofs: list[Proof] = []
    parts: list[PartDrops] = []
    try:
        for face in faces:
            with gate.turn(PATIENCE):
                proof, drops = prove(pipeline.model, face), part_drops(pipeline.model, face)
            proofs.append(proof)
            parts.append(drops)
    except BusyError:
        return proofs, parts, texts.BUSY
    except Exception:
        logger.exception("testing a map failed")
        return proofs, parts, texts.BROKEN
    return proofs, parts, ""
