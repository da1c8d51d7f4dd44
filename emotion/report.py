"""A report of one explanation: every number, what it was made with, and how to check it.

``python -m emotion explain --verify report.json IMAGE`` computes all of it anew from the picture.
"""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from emotion.contrast import Contrast, contrast
from emotion.errors import ReportError
from emotion.facs import facs_note
from emotion.faithfulness import Proof, prove
from emotion.methods import MethodMap
from emotion.parts import PartDrops, part_drops
from emotion.pipeline import EmotionPipeline
from emotion.results import FaceResult
from emotion.serialize import by_name, face_json, parts_json, proof_json

KIND, FORMAT = "emotion-lens report", 1
PACKAGES = ("torch", "timm", "numpy", "grad-cam")


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
