"""Charts of a report as inline SVG, which takes its colours from the page's style sheet."""

import io
import re
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIZE = (4.2, 3.7)
"""In inches of 72 units: small, so that the text stays readable where a phone shrinks the chart."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "svg.hashsalt": "report",  # the same figures give the same file
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
LINES = ("-", "--", "-.", ":")

# Matplotlib writes colours into each element; these stand for variables of the style sheet.
INK, FAINT, ACCENT = "#010101", "#020202", "#030303"
VARIABLES = {INK: "var(--ink)", FAINT: "var(--line)", ACCENT: "var(--accent)"}
SERIES = tuple(f"#0404{i:02x}" for i in range(8))
VARIABLES |= {colour: f"var(--s{i})" for i, colour in enumerate(SERIES)}


def roc_chart(curves: dict[str, dict[str, Any]], order: tuple[str, ...]) -> str:
    """Draw the ROC curve of each class; ``curves`` of :func:`train.curves.class_curves`."""
    figure, axes = new_chart("false alarms (share of the other faces)", "found (recall)")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    draw_curves(axes, curves, order, kind="roc")
    return to_svg(figure, "roc", "ROC curve of each emotion")


def pr_chart(curves: dict[str, dict[str, Any]], order: tuple[str, ...]) -> str:
    """Draw the precision-recall curve of each class."""
    figure, axes = new_chart("found (recall)", "right when it says so (precision)")
    # In steps, the area below is the average precision.
    draw_curves(axes, curves, order, kind="pr", drawstyle="steps-pre")
    return to_svg(figure, "pr", "precision-recall curve of each emotion")


def draw_curves(
    axes: Axes,
    curves: dict[str, dict[str, Any]],
    order: tuple[str, ...],
    *,
    kind: str,
    drawstyle: Literal["default", "steps-pre"] = "default",
) -> None:
    """Draw a line per class; its colour and dashes go by its place in ``order``."""
    for i, name in enumerate(order):
        if name in curves:
            x, y = zip(*curves[name][kind], strict=True)
            (line,) = axes.plot(x, y, LINES[i // 2 % 4], drawstyle=drawstyle)
            line.set(color=SERIES[i % 8], linewidth=1.8)


def reliability_chart(bins: list[dict[str, Any]], other: list[dict[str, Any]] | None = None) -> str:
    """Draw how often the answer is right against how sure it was.

    Args:
        bins: of :func:`train.metrics.reliability_bins`. other: those of another model.
    """
    figure, axes = new_chart("probability of the answer", "share that is right")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    most = max(row["n"] for row in bins)
    for row in bins:
        # How many faces a bin holds is told by the bar below; half the height is the largest.
        width, height = row["high"] - row["low"], 0.3 * row["n"] / most
        axes.bar(row["low"], height, width, align="edge", color=FAINT, linewidth=0)
    if other:
        draw_reliability(axes, other, INK, "--")
    draw_reliability(axes, bins, ACCENT, "-")
    return to_svg(figure, "reliability", "reliability diagram")


def draw_reliability(axes: Axes, bins: list[dict[str, Any]], colour: str, line: str) -> None:
    """Draw one model's bins."""
    sure, right = [row["confidence"] for row in bins], [row["accuracy"] for row in bins]
    axes.plot(sure, right, line, color=colour, marker="o", markersize=4, linewidth=1.8)


def new_chart(across: str, up: str) -> tuple[Figure, Axes]:
    """Return an empty chart over the unit square."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(SIZE, layout="constrained")
        axes = figure.subplots()
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel=across, ylabel=up)
    axes.grid(color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(color=FAINT, labelcolor=INK)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_color(INK)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    return figure, axes


def to_svg(figure: Figure, name: str, title: str) -> str:
    """Return a figure as an ``<svg>`` element that stands in an HTML page.

    Args:
        name: put before the element's ids, which must differ on one page. title: for readers
            who do not see it.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r' (xmlns(:\w+)?|width|height|version)="[^"]*"', "", text, count=5)
    text = re.sub(r" font-family: [^;]*;", "", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"\s*\n\s*", " ", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    return text.replace("<svg", f'<svg class="chart" role="img" aria-label="{title}"', 1)
