"""The Explore tab: one component that asks the server about a face, wish by wish."""

import html
import json
from pathlib import Path
from typing import Any

import gradio as gr

from emotion.faithfulness import SIDE
from emotion.pipeline import EmotionPipeline
from emotion.regions import REGIONS
from emotion.ui.explore_server import ExploreServer
from emotion.ui.gate import Gate
from emotion.ui.image_tab import EXAMPLES
from emotion.ui.live_tab import COLOURS
from emotion.ui.wire import text_of

HERE = Path(__file__).resolve().parent


def build_explore_tab(pipeline: EmotionPipeline, gate: Gate) -> None:
    """Add the tab's component to the Blocks that is being built."""
    server = ExploreServer(pipeline, gate)

    def open(data: Any) -> dict[str, Any]:  # its name is the one that the page calls
        return server.open(data)

    def ask(data: Any) -> dict[str, Any]:
        return server.ask(data)

    def report(data: Any) -> dict[str, Any]:
        return server.report(data)

    gr.HTML(
        html_template=page(server),
        js_on_load="window.emotionExplore(element, server);",
        server_functions=[open, ask, report],
        apply_default_css=False,
        elem_id="explore",
    )


def page(server: ExploreServer) -> str:
    """Return the component's HTML, with what its script must know."""
    config = {
        "models": server.models(),
        "regions": REGIONS,
        "side": SIDE,
        "colours": COLOURS,
        "examples": [
            {"name": path.stem, "picture": text_of(path.read_bytes())}
            for path in sorted(EXAMPLES.glob("*.jpg"))
        ],
    }
    text = (HERE / "explore.html").read_text(encoding="utf-8")
    return text.replace("CONFIG", html.escape(json.dumps(config), quote=True))
