"""The page of a report: its words and numbers as HTML that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from emotion.preprocess import Crop
from emotion.render import AGAINST_COLOURS, FOR_COLOURS, encode
from train.charts import pr_chart, reliability_chart, roc_chart

TEMPLATES = Path(__file__).resolve().parent / "templates"

THIN = "\N{NARROW NO-BREAK SPACE}"
DASHES = ("none", "4 2", "6 2 1 2", "1.5 2")
"""Of the legend, as those of :data:`train.charts.LINES`."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the first table.

    Attributes:
        path: keys that lead to it in the figures of a model. name, hint: in words.
        better: 1 if more is better, -1 if less is, 0 if neither is by itself.
        share: whether it is a share of 1, shown in percent.
    """

    path: tuple[str, ...]
    name: str
    hint: str
    better: int = 1
    share: bool = True


MEASURES = (
    Measure(("accuracy",), "accuracy", "share of all faces whose label is found; weighted recall"),
    Measure(("macro_recall",), "macro recall", "mean of the recalls of all emotions"),
    Measure(("macro_recall_common",), "macro recall, common", "the same without the rare emotions"),
    Measure(("precision",), "macro precision", "mean over the emotions: right when it says so"),
    Measure(("macro_f1",), "macro F1", "mean of the F1 scores of all emotions"),
    Measure(("weighted_precision",), "weighted precision", "weighted by the number of faces"),
    Measure(("weighted_f1",), "weighted F1", "weighted by the number of faces"),
    Measure(("ece",), "calibration error", "mean gap of probability and share right (ECE)", -1),
    Measure(("sets", "coverage"), "set coverage", "sets that hold the true label", 0),
    Measure(("sets", "size"), "set size", "labels in a set, mean", 0, share=False),
    Measure(
        ("without_duplicates", "accuracy"),
        "accuracy, no duplicates",
        "without faces that have a near duplicate in another split",
    ),
    Measure(
        ("robustness", "corruption_mean"),
        "accuracy, damaged",
        "mean over nine kinds of damage in three strengths",
    ),
    Measure(
        ("robustness", "framing_gap"),
        "framing gap",
        "accuracy lost with the worst of eight other framings, in points",
        -1,
    ),
    Measure(
        ("votes", "kl_model"), "divergence", "from the taggers' votes, in nats", -1, share=False
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What a page shows beside words and numbers.

    Attributes:
        portraits: SVG of the mean evidence by class name.
        crops: the faces of the mistakes, in their order; None to show none.
    """

    portraits: Mapping[str, str]
    crops: Sequence[Crop] | None


def page(data: Mapping[str, Any], pictures: Pictures) -> str:
    """Return the page of a report.

    Args:
        data: what :func:`train.report.report` gathers.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "pct": percent,
        "num": number,
        "spread": spread,
        "group": group,
        "p": p_value,
    }
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        **data,
        other=data["against"]["figures"] if data["against"] else None,
        truth=truth(data["figures"]),
        measures=measures(data),
        charts=charts(data),
        portraits={name: Markup(svg) for name, svg in pictures.portraits.items()},
        photos=None if pictures.crops is None else [data_url(crop) for crop in pictures.crops],
        gradient=gradient([*AGAINST_COLOURS[::-1], *FOR_COLOURS]),
        dashes=DASHES,
        style=Markup(style),
    )


def truth(figures: Mapping[str, Any]) -> str:
    """Return in words which labels count as true."""
    if figures["truth"] == "fer2013":
        return "FER2013's own label"
    if figures["votes"]:
        return "the label that most of ten taggers chose (FER+, protocol “majority”)"
    return "the label that the data set gives each face"


def measures(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the first table that were measured.

    Returns:
        ``name``, ``hint``, ``value``, ``other`` (None without another model), ``share`` and
        ``better``: 1 or -1 where the difference speaks for or against this model, else 0.
    """
    rows = []
    for item in MEASURES:
        value = look_up(data["figures"], item.path)
        if value is None:
            continue
        other = look_up(data["against"]["figures"], item.path) if data["against"] else None
        sign = 0 if other is None else (value > other) - (value < other)
        rows.append(
            {
                "name": item.name,
                "hint": item.hint,
                "value": value,
                "other": other,
                "share": item.share,
                "better": sign * item.better,
            }
        )
    return rows


def look_up(figures: Mapping[str, Any], path: tuple[str, ...]) -> float | None:
    """Follow keys into nested figures; None where one is missing or not measured."""
    found: Any = figures
    for key in path:
        found = found.get(key) if found else None
    return None if found is None else float(found)


def charts(data: Mapping[str, Any]) -> dict[str, Markup]:
    """Draw the charts."""
    figures, order = data["figures"], tuple(data["model"]["labels"])
    theirs = data["against"]["figures"]["reliability"] if data["against"] else None
    return {
        "roc": Markup(roc_chart(figures["curves"], order)),
        "pr": Markup(pr_chart(figures["curves"], order)),
        "reliability": Markup(reliability_chart(figures["reliability"], theirs)),
    }


def data_url(crop: Crop) -> str:
    """Return a picture as a URL that holds it."""
    return f"data:image/png;base64,{base64.b64encode(encode(crop)).decode()}"


def gradient(colours: Sequence[Any]) -> str:
    """Return K colours (3,) in 0..255 as a CSS gradient from left to right."""
    stops = ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in colours)
    return f"linear-gradient(90deg, {stops})"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share of 1 in percent; a dash for None."""
    return "–" if share is None else f"{100 * share:.{digits}f}{THIN}%"


def number(share: float | None, digits: int = 1) -> str:
    """Return a share of 1 as a number of percent, without the sign; a dash for None."""
    return "–" if share is None else f"{100 * share:.{digits}f}"


def spread(ends: Sequence[float] | None) -> str:
    """Return the ends of an interval in percent."""
    return "–" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}{THIN}%"


def group(number: int) -> str:
    """Return a whole number with its thousands parted."""
    return f"{number:,}"


def p_value(value: float) -> str:
    """Return a p-value with as many digits as it deserves."""
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
