"""Where a model looks for each emotion: the mean evidence of the faces it gets right."""

import base64
from typing import Any

import numpy as np
from markupsafe import escape
from numpy.typing import NDArray

from emotion.evidence import class_evidence, share_by_region
from emotion.landmarks import MEAN_FACE
from emotion.model import EmotionModel
from emotion.regions import REGIONS, region_masks
from emotion.render import encode, heat_rgba
from emotion.results import Explanation, FloatArray
from train.evaluate import CHUNK, Answers

SIZE = 144
OUTLINE = (
    slice(0, 17),
    slice(17, 22),
    slice(22, 27),
    slice(27, 31),
    slice(31, 36),
    slice(36, 42),
    slice(42, 48),
    slice(48, 60),
    slice(60, 68),
)
"""Lines of the 68 landmarks: jaw, brows, nose bridge and base, eyes, lips."""
CLOSED = 5
"""From this line on the lines are closed."""


def mean_evidence(model: EmotionModel, answers: Answers) -> tuple[FloatArray, NDArray[np.int64]]:
    """Average the evidence map of each class over the faces of it that the model gets right.

    Args:
        answers: of the model, without the mirrored face.

    Returns:
        (C, h, w) float32 in logits, zeros for a class without such a face; (C,) how many.
    """
    answers = answers.where(answers.logits.argmax(1) == answers.labels)
    count = np.bincount(answers.labels, minlength=len(model.spec.labels))
    total: FloatArray | None = None
    for start in range(0, max(len(answers.labels), 1), CHUNK):
        labels = answers.labels[start : start + CHUNK]
        maps = class_evidence(model, model.features(answers.faces.crops[start : start + CHUNK]))
        total = np.zeros(maps.shape[1:], np.float32) if total is None else total
        np.add.at(total, labels, maps[np.arange(len(labels)), labels])
    assert total is not None
    return (total / np.maximum(count, 1)[:, None, None]).astype(np.float32), count


def portraits(model: EmotionModel, maps: FloatArray, count: NDArray[np.int64]) -> dict[str, Any]:
    """Return, for each class with a face, its mean evidence as numbers and as a drawing.

    Args:
        maps: (C, h, w). count: (C,), both of :func:`mean_evidence`.

    Returns:
        By class name: ``n``, ``regions`` (mean evidence per part of the mean face, in logits, the
        strongest first) and ``svg``.
    """
    spec = model.spec
    origin, step = spec.grid_on_crop()
    shares = share_by_region(maps, region_masks(MEAN_FACE), origin=origin, step=step)
    explanation = Explanation(
        labels=spec.labels,
        evidence=maps,
        bias=model.bias.cpu().numpy(),
        regions=REGIONS,
        region_evidence=shares,
        grid_origin=origin,
        grid_step=step,
        scale=spec.evidence_scale,
    )
    found = {}
    for i in np.flatnonzero(count).tolist():
        order = np.argsort(-shares[i])
        found[spec.labels[i]] = {
            "n": int(count[i]),
            "regions": {REGIONS[r]: round(float(shares[i, r]), 3) for r in order},
            "svg": draw(explanation, spec.labels[i]),
        }
    return found


def draw(explanation: Explanation, label: str) -> str:
    """Draw the evidence of a label under the outline of the mean face, as SVG."""
    data = base64.b64encode(encode(heat_rgba(explanation, label, SIZE))).decode()
    lines = "".join(outline(part, closed=i >= CLOSED) for i, part in enumerate(OUTLINE))
    return (
        f'<svg viewBox="-2 -2 104 110" role="img" aria-label="mean evidence of {escape(label)}">'
        '<rect class="crop" width="100" height="100"/>'
        f'<image width="100" height="100" href="data:image/png;base64,{data}"/>'
        f'<g class="outline">{lines}</g></svg>'
    )


def outline(part: slice, *, closed: bool) -> str:
    """Return the path of one line of the mean face, on a crop of side 100."""
    points = " L".join(f"{100 * x:.1f} {100 * y:.1f}" for x, y in MEAN_FACE[part])
    return f'<path d="M{points}{"Z" if closed else ""}"/>'
