"""The page as a whole, and how it is served."""

from typing import Any

import gradio as gr

from emotion.pipeline import EmotionPipeline
from emotion.ui import texts
from emotion.ui.explore_tab import build_explore_tab
from emotion.ui.gate import Gate
from emotion.ui.image_tab import build_image_tab
from emotion.ui.live_tab import build_live_tab
from emotion.ui.scoreboard_tab import build_scoreboard_tab
from emotion.ui.theme import css, head, theme

LAUNCH: dict[str, Any] = {
    "max_file_size": "25mb",
    "enable_monitoring": False,
    "run_history": False,
    "ssr_mode": False,
    "footer_links": [],
}
"""Settings of ``launch`` that keep nothing about visitors and load nothing from elsewhere."""


def build_demo(pipeline: EmotionPipeline) -> gr.Blocks:
    """Build the page around a loaded pipeline, which all visitors share."""
    gate = Gate()
    # Uploaded files are deleted within ten minutes; a minute is how often it is looked.
    with gr.Blocks(title=texts.TITLE, delete_cache=(60, 600), analytics_enabled=False) as demo:
        gr.Markdown(texts.INTRO)
        with gr.Tab("Image"):
            build_image_tab(pipeline, gate)
        with gr.Tab("Live"):
            build_live_tab(pipeline, gate)
        with gr.Tab("Explore"):
            build_explore_tab(pipeline, gate)
        with gr.Tab("Scoreboard"):
            build_scoreboard_tab(pipeline.model.spec)
        with gr.Tab("About"):
            gr.Markdown(texts.about(pipeline.model.spec), elem_classes="lens-about")
    return demo


def launch(demo: gr.Blocks, **settings: Any) -> Any:
    """Serve the page; ``settings`` go to :meth:`gradio.Blocks.launch`."""
    demo.queue(default_concurrency_limit=2, max_size=64)
    return demo.launch(theme=theme(), css=css(), head=head(), **LAUNCH, **settings)
