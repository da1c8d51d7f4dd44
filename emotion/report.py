"""A report of one explanation: every number, what it was made with, and how to check it.

``python -m emotion explain --verify report.json IMAGE`` computes all of it anew from the picture.
"""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from emotion.contrast import Contrast, contrast
from emotion.errors import ReportError
from emotion.facs import facs_note
from emotion.faithfulness import Proof, prove
from emotion.images import load_image
from emotion.methods import MethodMap
from emotion.parts import PartDrops, part_drops
from emotion.pipeline import EmotionPipeline
from emotion.results import FaceResult
from emotion.serialize import by_name, face_json, parts_json, proof_json

KIND, FORMAT = "emotion-lens report", 1
PACKAGES = ("torch", "timm", "numpy", "grad-cam")
CLOSE = 1e-3
"""Largest difference, in probabilities and as a share of the largest evidence, that counts as the
same: other processors and library versions round differently."""
EXACT = 1e-4
"""Largest gap between a sum of evidence and its logit, as a share of the logit, at least 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """One face with everything that is said of its explanation.

    Attributes:
        face: of the pipeline. index: its number among the picture's faces, from 0.
        contrast: the label against another. proof: the map put to the test.
        parts: what each part is worth. facs: what FACS expects, in words.
        methods: other methods' maps, where asked for.
    """

    face: FaceResult
    index: int
    contrast: Contrast
    proof: Proof
    parts: PartDrops
    facs: str
    methods: tuple[MethodMap, ...] = ()

    @property
    def label(self) -> str:
        """Whose evidence it is."""
        return self.contrast.label


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a verification looked at.

    Attributes:
        what: in words. holds: whether it is as the report says. detail: figures.
    """

    what: str
    holds: bool
    detail: str


def explain_face(
    pipeline: EmotionPipeline,
    faces: Sequence[FaceResult],
    index: int = 0,
    *,
    label: str | None = None,
    other: str | None = None,
) -> Explained:
    """Gather all that is to say of one face's explanation.

    Args:
        faces: of one picture. index: which, from 0.
        label: by default the most probable one. other: by default the most probable of the rest.

    Raises:
        ReportError: there is no such face. ValueError: no such label, or the same one twice.
    """
    if not 0 <= index < len(faces):
        count = f"{len(faces)} face{'s' if len(faces) != 1 else ''}" if faces else "no face"
        raise ReportError(f"there is no face {index + 1}: {count} found in this picture")
    face = faces[index]
    against = contrast(face.prediction, face.explanation, label, other)
    return Explained(
        face=face,
        index=index,
        contrast=against,
        proof=prove(pipeline.model, face, against.label),
        parts=part_drops(pipeline.model, face, against.label),
        facs=facs_note(face.explanation, against.label),
    )


def report_json(
    pipeline: EmotionPipeline, explained: Explained, *, data: bytes, name: str
) -> dict[str, Any]:
    """Return a report as a JSON object; there is no picture in it.

    Args:
        data: the picture's file, of which the checksum is taken. name: of the file.
    """
    face, spec = explained.face, pipeline.model.spec
    explanation = face.explanation
    return {
        "kind": KIND,
        "format": FORMAT,
        "picture": {"name": name, "sha256": hashlib.sha256(data).hexdigest()},
        "model": {"name": spec.name, "sha256": spec.sha256, "labels": list(spec.labels)},
        "settings": {
            "detector": pipeline.detector.name,
            "min_face": pipeline.min_face,
            "face": explained.index,
            "label": explained.label,
            "versus": explained.contrast.other,
        },
        "software": software(),
        "face": face_json(face),
        "evidence": {
            "unit": "logits; a grid and its bias sum to the logit",
            "origin": explanation.grid_origin,
            "step": explanation.grid_step,
            "bias": by_name(explanation.labels, explanation.bias),
            "grid": {
                label: grid.astype(float).tolist()
                for label, grid in zip(explanation.labels, explanation.evidence, strict=True)
            },
            "regions": {
                label: by_name(explanation.regions, row)
                for label, row in zip(explanation.labels, explanation.region_evidence, strict=True)
            },
        },
        "versus": contrast_json(explained.contrast),
        "proof": proof_json(explained.proof),
        "hidden_parts": parts_json(explained.parts),
        "facs": explained.facs,
        "methods": [method_json(method) for method in explained.methods],
    }


def contrast_json(found: Contrast) -> dict[str, Any]:
    """Return a comparison of two labels."""
    return {
        "label": found.label,
        "other": found.other,
        "margin": found.margin,
        "bias": found.bias,
        "regions": by_name(found.regions, found.region_evidence),
        "sentence": found.sentence,
    }


def method_json(method: MethodMap) -> dict[str, Any]:
    """Return one method's map."""
    return {
        "method": method.method.name,
        "layer": method.method.layer,
        "passes": method.method.cost,
        "agreement_with_occlusion": method.agreement,
        "same_as": method.same_as or None,
        "map": method.map.astype(float).tolist(),
    }


def software() -> dict[str, str]:
    """Return the versions of what computed the numbers."""
    import emotion

    found = {"emotion": emotion.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


# --- checking -----------------------------------------------------------------------------------


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
