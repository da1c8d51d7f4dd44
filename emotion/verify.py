"""Does a report hold? Its numbers are computed anew from the picture, and compared."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from emotion.errors import ReportError
from emotion.images import load_image
from emotion.pipeline import EmotionPipeline
from emotion.report import FORMAT, KIND, explain_face, report_json

CLOSE = 1e-3
"""Largest difference, in probabilities and as a share of the largest evidence, that counts as the
same: other processors and library versions round differently."""
EXACT = 1e-4
"""Largest gap between a sum of evidence and its logit, as a share of the logit, at least 1."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a verification looked at.

    Attributes:
        what: in words. holds: whether it is as the report says. detail: figures.
    """

    what: str
    holds: bool
    detail: str


def read_report(text: str | bytes) -> dict[str, Any]:
    """Read a report.

    Raises:
        ReportError: it is none, or of a newer form.
    """
    try:
        report = json.loads(text)
    except (ValueError, UnicodeDecodeError):
        raise ReportError("this is not a report: it is no JSON") from None
    if not isinstance(report, dict) or report.get("kind") != KIND:
        raise ReportError("this JSON is not a report of an explanation")
    if report.get("format") != FORMAT:
        raise ReportError(f"this report has the format {report.get('format')}, not {FORMAT}")
    return report


def verify(report: Mapping[str, Any], pipeline: EmotionPipeline, data: bytes) -> list[Check]:
    """Compute the numbers of a report anew, and compare.

    Args:
        report: of :func:`read_report`. pipeline: with the report's model, detector and settings.
        data: the picture's file.

    Returns:
        What was looked at, in order. All must hold.

    Raises:
        ReportError: the report lacks something, or its face is not found any more.
        ImageError: the picture cannot be read.
    """
    try:
        return compared(report, pipeline, data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ReportError(f"the report is damaged or was changed: {error!r}") from None


def compared(report: Mapping[str, Any], pipeline: EmotionPipeline, data: bytes) -> list[Check]:
    """Do what :func:`verify` does; a report that is not whole ends in any error."""
    settings = report["settings"]
    faces = pipeline(load_image(data)).faces
    again = explain_face(
        pipeline, faces, settings["face"], label=settings["label"], other=settings["versus"]
    )
    now = report_json(pipeline, again, data=data, name=report["picture"]["name"])
    found = [
        same("the picture", report["picture"]["sha256"], now["picture"]["sha256"]),
        same("the model", report["model"]["sha256"], now["model"]["sha256"]),
        summing(report),
    ]
    found += [
        close("the face's place", report, now, ("face", "box"), 1.0),
        close("the probabilities", report, now, ("face", "probabilities"), CLOSE),
        relative("the evidence of all labels", report, now, ("evidence", "grid")),
        relative("the evidence by regions", report, now, ("evidence", "regions")),
        relative("why this label and not the other", report, now, ("versus", "regions")),
        close("the proof", report, now, ("proof", "trials"), 10 * CLOSE),
        close("what hiding each part does", report, now, ("hidden_parts", "logit_drops"), 0.02),
    ]
    verdict = same("the verdict", report["proof"]["verdict"], now["proof"]["verdict"])
    return [*found, verdict]


def same(what: str, said: str, found: str) -> Check:
    """Compare two words or checksums."""
    detail = str(found)[:12] if said == found else f"{str(said)[:12]} became {str(found)[:12]}"
    return Check(what, said == found, detail)


def numbers(value: Any) -> list[float]:
    """Return all numbers in a JSON value, in order of their keys; words count for nothing."""
    if isinstance(value, Mapping):
        return [x for key in sorted(value) for x in numbers(value[key])]
    if isinstance(value, list):
        return [x for item in value for x in numbers(item)]
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return [float(value)] if plain else []


def gap(
    report: Mapping[str, Any], now: Mapping[str, Any], path: tuple[str, ...]
) -> tuple[float, float]:
    """Return the largest difference of the numbers at a place, and the largest number."""
    pair = []
    for source in (report, now):
        value: Any = source
        for key in path:
            value = value[key]
        pair.append(np.array(numbers(value)))
    if pair[0].shape != pair[1].shape:
        return float("inf"), 1.0
    if not pair[1].size:
        return 0.0, 1.0
    return float(np.abs(pair[0] - pair[1]).max()), float(np.abs(pair[1]).max())


def close(
    what: str,
    report: Mapping[str, Any],
    now: Mapping[str, Any],
    path: tuple[str, ...],
    limit: float,
) -> Check:
    """Compare numbers by their difference."""
    off, _ = gap(report, now, path)
    return Check(what, off <= limit, f"off by {off:.1e}, allowed {limit:.0e}")


def relative(
    what: str, report: Mapping[str, Any], now: Mapping[str, Any], path: tuple[str, ...]
) -> Check:
    """Compare numbers by their difference as a share of the largest."""
    off, size = gap(report, now, path)
    off /= max(size, 1e-9)
    return Check(what, off <= CLOSE, f"off by {off:.1e} of the largest, allowed {CLOSE:.0e}")


def summing(report: Mapping[str, Any]) -> Check:
    """Check within the report that evidence and bias sum to the logits."""
    evidence, worst = report["evidence"], 0.0
    for label, logit in report["face"]["logits"].items():
        total = sum(numbers(evidence["grid"][label])) + evidence["bias"][label]
        worst = max(worst, abs(total - logit) / max(1.0, abs(logit)))
    return Check("evidence and bias sum to the logit", worst <= EXACT, f"off by {worst:.1e}")
