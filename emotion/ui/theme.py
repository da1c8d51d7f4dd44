"""How the page looks: a built-in theme, which works offline, and one style sheet."""

from pathlib import Path

import gradio as gr

HERE = Path(__file__).resolve().parent


def theme() -> gr.themes.Base:
    """Return the theme; its fonts are the visitor's own, so none is fetched."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return gr.themes.Soft(primary_hue="orange", secondary_hue="orange", font=fonts)


def css() -> str:
    """Return the page's style sheet."""
    return "".join(read(f"{name}.css") for name in ("lens", "live", "explore", "scoreboard"))


def head() -> str:
    """Return what goes into the page's head: the scripts of the result cards and of the tabs."""
    scripts = ("lens.js", "live_paint.js", "live.js", "explore.js", "scoreboard.js")
    return "".join(f"<script>{read(name)}</script>" for name in scripts)


def read(name: str) -> str:
    """Return the text of a file that lies beside this module."""
    return (HERE / name).read_text(encoding="utf-8")
