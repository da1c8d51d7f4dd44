"""The Image tab: a photo in; faces, emotions, evidence and regions out."""

import logging
import time
from pathlib import Path
from typing import Any

import gradio as gr

from emotion.errors import EmotionError
from emotion.faithfulness import prove
from emotion.images import load_image
from emotion.parts import part_drops
from emotion.pipeline import EmotionPipeline
from emotion.ui import cards, texts
from emotion.ui.gate import BusyError, Gate

logger = logging.getLogger(__name__)

PROVEN = 8
"""Faces, the largest first, whose maps are put to the test at once."""
PATIENCE = 30.0
"""Seconds that a picture waits for its turn between the live frames."""

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def build_image_tab(pipeline: EmotionPipeline, gate: Gate) -> None:
    """Add the tab's components to the Blocks that is being built."""

    def analyse(path: str | None) -> str:
        return analyse_file(pipeline, path, gate)

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
    photo.change(
        analyse,
        photo,
        result,
        api_name="analyse",
        show_progress="minimal",
        trigger_mode="always_last",
        concurrency_limit=2,
    )


def path_of(payload: Any) -> str | None:
    """Return the path of an uploaded file, as it was uploaded."""
    return None if payload is None else payload.path


def analyse_file(pipeline: EmotionPipeline, path: str | None, gate: Gate) -> str:
    """Analyse an uploaded file; whatever happens, the answer is something to show."""
    if path is None:
        return cards.note(texts.EMPTY)
    try:
        with gate.turn(PATIENCE):
            began = time.perf_counter()
            image = load_image(path)
            result = pipeline(image)
            spent = 1e3 * (time.perf_counter() - began)
            proofs = [prove(pipeline.model, face) for face in result.faces[:PROVEN]]
            parts = [part_drops(pipeline.model, face) for face in result.faces[:PROVEN]]
        name = Path(path).name
        return cards.result_html(
            image, result, name=name, milliseconds=spent, proofs=proofs, parts=parts
        )
    except BusyError:
        return cards.note(texts.BUSY, alarm=True)
    except EmotionError as error:
        return cards.note(f"This picture cannot be analysed: {error}.", alarm=True)
    except Exception:
        logger.exception("analysing an upload failed")
        return cards.note(texts.BROKEN, alarm=True)
