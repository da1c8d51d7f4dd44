"""The Live tab: one component with its own video and canvas, which asks the server by itself."""

import html
import json
from pathlib import Path
from typing import Any

import gradio as gr

from emotion.pipeline import EmotionPipeline
from emotion.regions import REGIONS
from emotion.render import AGAINST_COLOURS, ALPHA_POWER, FOR_COLOURS
from emotion.ui.gate import Gate
from emotion.ui.live_server import LiveServer
from emotion.ui.webcam_tab import build_webcam_tab

HERE = Path(__file__).resolve().parent
HEAT_SIDE = 48
REGION_LIMIT = 3.0
"""Evidence of one region, in logits, that fills its bar and has full colour in the ribbon."""

EMOTION_COLOURS = {
    "neutral": "#8c8c8c",
    "happiness": "#e69f00",
    "surprise": "#56b4e9",
    "sadness": "#0072b2",
    "anger": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "contempt": "#9a6bd0",
}
"""Told apart with any common colour vision, on white and on black.

Source: Okabe and Ito, "Color Universal Design", 2008; grey and violet in place of black and yellow.
"""

COLOURS = {
    "for": FOR_COLOURS.tolist(),
    "against": AGAINST_COLOURS.tolist(),
    "power": ALPHA_POWER,
}
"""What the page needs to paint evidence as :mod:`emotion.render` does."""


def build_live_tab(pipeline: EmotionPipeline, gate: Gate) -> None:
    """Add the tab's components to the Blocks that is being built."""
    server = LiveServer(pipeline, gate)

    def frame(data: Any) -> dict[str, Any]:
        return server.frame(data)

    def command(data: Any) -> dict[str, Any]:
        return server.command(data)

    gr.HTML(
        html_template=page(pipeline, server),
        js_on_load="window.emotionLive(element, server);",
        server_functions=[frame, command],
        apply_default_css=False,
        elem_id="live",
    )
    with gr.Column(elem_id="live-fallback"):
        build_webcam_tab(pipeline)


def page(pipeline: EmotionPipeline, server: LiveServer) -> str:
    """Return the component's HTML, with what its script must know."""
    config = {
        "model": pipeline.model.spec.name,
        "labels": pipeline.model.spec.labels,
        "regions": REGIONS,
        "detectors": server.detectors(),
        "emotions": EMOTION_COLOURS,
        "limit": REGION_LIMIT,
        "heatSide": HEAT_SIDE,
        "colours": COLOURS,
    }
    text = (HERE / "live.html").read_text(encoding="utf-8")
    return text.replace("CONFIG", html.escape(json.dumps(config), quote=True))
