"""Results as JSON objects: what the shell prints, and what the page draws and offers to save."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from emotion.faithfulness import Proof
from emotion.parts import PartDrops
from emotion.results import FaceResult, ImageResult
from emotion.stream import StreamResult, TrackedFace


def image_json(
    path: str,
    result: ImageResult | None,
    error: str | None = None,
    *,
    proofs: Sequence[Proof] = (),
    parts: Sequence[PartDrops] = (),
) -> dict[str, Any]:
    """Return one entry of ``images``; without a result, one that carries the error.

    Args:
        proofs, parts: of the faces, in their order; faces beyond them have none.
    """
    faces = [face_json(face) for face in result.faces] if result else []
    for face, proof in zip(faces, proofs, strict=False):
        face["proof"] = proof_json(proof)
    for face, part in zip(faces, parts, strict=False):
        face["hidden_parts"] = parts_json(part)
    return {
        "path": path,
        "width": result.width if result else None,
        "height": result.height if result else None,
        "error": error,
        "faces": faces,
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


def proof_json(proof: Proof) -> dict[str, Any]:
    """Return what became of an answer when the hottest area was hidden."""
    return {
        "label": proof.label,
        "verdict": proof.verdict,
        "before": proof.before,
        "area": proof.area,
        "trials": {
            trial.infill: asdict(trial) | {"verdict": trial.verdict} for trial in proof.trials
        },
        "sentence": proof.sentence,
    }


def parts_json(parts: PartDrops) -> dict[str, Any]:
    """Return what each part of a face is worth."""
    return {
        "label": parts.label,
        "logit_drops": dict(zip(parts.regions, parts.drops, strict=True)),
        "agreement_with_evidence": parts.agreement,
    }


def by_name(names: tuple[str, ...], values: Any) -> dict[str, float]:
    """Pair names with numbers."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def stream_json(result: StreamResult, label: str | None = None) -> dict[str, Any]:
    """Return one frame of a live stream, for a page that draws it.

    Args:
        label: whose evidence to send; by default that of each face's own label on show. A label
            that the model does not have counts as none.
    """
    first = result.faces[0].result if result.faces else None
    return {
        "width": result.width,
        "height": result.height,
        "whole": result.whole,
        "stages": {name: round(value, 2) for name, value in result.stages.items()},
        "calibrating": result.calibrating,
        "labels": list(first.prediction.labels) if first else [],
        "regions": list(first.explanation.regions) if first else [],
        "faces": [tracked_json(face, label) for face in result.faces],
    }


def tracked_json(tracked: TrackedFace, label: str | None) -> dict[str, Any]:
    """Return one face of a frame; lists follow the order of ``labels`` and ``regions``.

    ``evidence`` and ``region_evidence`` are in logits, of the label ``why``, of this frame alone;
    ``to_crop`` brings picture pixels to units of the crop, over which ``evidence`` lies.
    """
    face, explanation = tracked.result, tracked.result.explanation
    why = label if label in explanation.labels else tracked.label
    row = explanation.labels.index(why)
    return {
        "track": tracked.track,
        "box": [round(float(v), 2) for v in face.face.box],
        "to_crop": face.to_crop.tolist(),
        "label": tracked.label,
        "answer": tracked.answer,
        "sure": tracked.smoothed.sure,
        "probabilities": tracked.smoothed.probabilities.tolist(),
        "now": face.prediction.probabilities.tolist(),
        "calibrated": tracked.calibrated,
        "why": why,
        "evidence": explanation.evidence[row].tolist(),
        "region_evidence": explanation.region_evidence[row].tolist(),
        "grid_origin": explanation.grid_origin,
        "grid_step": explanation.grid_step,
        "scale": explanation.scale,
        "notes": [note.text for note in face.notes],
    }
