"""Boxes around faces: clipped to the picture, merged where they overlap, put in order."""

from collections.abc import Sequence

import numpy as np

from emotion.results import Face, FloatArray


def face_side(face: Face) -> float:
    """Return the longer side of a face's box, in pixels."""
    x1, y1, x2, y2 = face.box
    return float(max(x2 - x1, y2 - y1))


def settle(faces: Sequence[Face], shape: tuple[int, ...]) -> tuple[Face, ...]:
    """Clip boxes to the picture, merge overlaps, and order by size, the largest first.

    Of two boxes that overlap (intersection over union above 0.4, or one mostly inside the
    other) the one with the higher score stays.
    """
    height, width = shape[:2]
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.score):
        box = np.clip(face.box, 0, [width, height, width, height]).astype(np.float32)
        if min(box[2] - box[0], box[3] - box[1]) < 1:
            continue
        if all(overlap(box, other.box) <= 0.4 for other in kept):
            kept.append(Face(box=box, score=face.score, landmarks=face.landmarks))
    return tuple(sorted(kept, key=face_side, reverse=True))


def overlap(a: FloatArray, b: FloatArray) -> float:
    """Return how far two boxes are the same: IoU, or 0.7 of the share of the smaller one."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (a, b)]
    return max(shared / (sum(areas) - shared), 0.7 * shared / min(areas))
