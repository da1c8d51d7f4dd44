"""Results as the JSON object that the shell prints and the page offers for download."""

from dataclasses import asdict
from typing import Any

from emotion.results import FaceResult, ImageResult


def image_json(path: str, result: ImageResult | None, error: str | None = None) -> dict[str, Any]:
    """Return one entry of ``images``; without a result, one that carries the error."""
    return {
        "path": path,
        "width": result.width if result else None,
        "height": result.height if result else None,
        "error": error,
        "faces": [face_json(face) for face in result.faces] if result else [],
    }


def face_json(face: FaceResult) -> dict[str, Any]:
    """Return one entry of ``faces``.

    ``label`` is the most probable one, and the evidence is that of this label; ``candidates`` are
    all that may be right (see :class:`emotion.results.Prediction`).
    """
    prediction, explanation = face.prediction, face.explanation
    row = prediction.index(prediction.label)
    return {
        "box": [round(float(v), 2) for v in face.face.box],
        "score": float(face.face.score),
        "label": prediction.label,
        "answer": prediction.answer,
        "sure": prediction.sure,
        "candidates": list(prediction.candidates),
        "logits": by_name(prediction.labels, prediction.logits),
        "probabilities": by_name(prediction.labels, prediction.probabilities),
        "evidence": {
            "bias": float(explanation.bias[row]),
            "regions": by_name(explanation.regions, explanation.region_evidence[row]),
        },
        "sentence": face.sentence,
        "quality": asdict(face.quality),
        "notes": [asdict(note) for note in face.notes],
    }


def by_name(names: tuple[str, ...], values: Any) -> dict[str, float]:
    """Pair names with numbers."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}
