"""Results as the JSON object that the shell prints and the page offers for download."""

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
    """Return one entry of ``faces``: evidence is that of the most probable label."""
    prediction, explanation = face.prediction, face.explanation
    row = prediction.index(prediction.label)
    return {
        "box": [round(float(v), 2) for v in face.face.box],
        "score": float(face.face.score),
        "label": prediction.label,
        "logits": by_name(prediction.labels, prediction.logits),
        "probabilities": by_name(prediction.labels, prediction.probabilities),
        "evidence": {
            "bias": float(explanation.bias[row]),
            "regions": by_name(explanation.regions, explanation.region_evidence[row]),
        },
        "sentence": face.sentence,
    }


def by_name(names: tuple[str, ...], values: Any) -> dict[str, float]:
    """Pair names with numbers."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}
