"""A plain camera stream, where the Live tab's own does not work: each frame read and dropped."""

import html
import logging

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from emotion.errors import EmotionError
from emotion.images import load_image
from emotion.pipeline import EmotionPipeline
from emotion.render import annotate
from emotion.ui import cards, texts
from emotion.ui.picture import jpeg_uri

logger = logging.getLogger(__name__)

CONSTRAINTS = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}


def build_webcam_tab(pipeline: EmotionPipeline) -> None:
    """Add the tab's components to the Blocks that is being built."""

    def answer(frame: NDArray[np.uint8] | None, heat: bool) -> str:
        return frame_html(pipeline, frame, heat=heat)

    gr.Markdown(texts.WEBCAM)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=280):
            camera = gr.Image(
                label="Camera",
                sources=["webcam"],
                streaming=True,
                type="numpy",
                webcam_options=gr.WebcamOptions(mirror=True, constraints=CONSTRAINTS),
                elem_id="camera",
            )
            heat = gr.Checkbox(True, label="Show the evidence over the face")
        with gr.Column(min_width=280):
            answered = gr.HTML(cards.note("Waiting for the first frame."), elem_id="frame")
    camera.stream(
        answer,
        [camera, heat],
        answered,
        stream_every=0.15,
        concurrency_limit=2,
        time_limit=600,
        show_progress="hidden",
        api_visibility="private",
    )


def frame_html(
    pipeline: EmotionPipeline, frame: NDArray[np.uint8] | None, *, heat: bool = True
) -> str:
    """Analyse one frame and return it drawn on, inside the page: no file is written."""
    if frame is None:
        return cards.note("Waiting for the first frame.")
    try:
        image = load_image(frame)
        result = pipeline(image)
    except EmotionError as error:
        return cards.note(f"This frame cannot be analysed: {error}.", alarm=True)
    except Exception:
        logger.exception("analysing a frame failed")
        return cards.note(texts.BROKEN, alarm=True)
    said = " ".join(face.sentence for face in result.faces) or "No face in view."
    drawn = annotate(image, result, heat=heat)
    alt = html.escape(said, quote=True)
    hints = "".join(cards.hints(face) for face in result.faces)
    return (
        f'<div class="lens lens-frame"><img src="{jpeg_uri(drawn)}" alt="{alt}">'
        f'<p role="status">{html.escape(said)}</p>{hints}</div>'
    )
