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
    return (HERE / "lens.css").read_text(encoding="utf-8")


def head() -> str:
    """Return what goes into the page's head: the script of the result cards."""
    script = (HERE / "lens.js").read_text(encoding="utf-8")
    return f"<script>{script}</script>"
