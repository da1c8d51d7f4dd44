"""Which face of this frame is which face of the last: by place, motion and likeness.

The likeness is a thumbnail of the aligned face, good enough to tell two people in one picture
apart for a second or two; it identifies nobody, and is dropped with the track.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from emotion.images import RGBImage
from emotion.results import FloatArray
from emotion.smooth import Smoother, decay

THUMBNAIL = 16
NEAR = 1.0
"""How far, in sides of the face, a face may be from where it was expected."""
RESIZED = 2.0
"""By which factor its size may differ."""
SIMILAR, ALIKE = 0.3, 0.8
"""Correlations of looks from which on a face is taken for one that had left: nearby, anywhere."""
MOTION = 0.15
"""Time constant in seconds of the average of the velocity; motion is trusted for as long."""


def thumbnail(crop: RGBImage) -> FloatArray:
    """Return an aligned face as (256,) float32 with mean 0 and norm 1; zeros for a plain crop."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    values = small.astype(np.float32).ravel()
    values -= values.mean()
    norm = float(np.linalg.norm(values))
    out: FloatArray = values / norm if norm > 1 else np.zeros_like(values)
    return out


@dataclass(slots=True)
class Track:
    """One face through time.

    Attributes:
        number: stable, from 1. box: (4,) where it was last. at: when, in seconds.
        look: its thumbnail, averaged. velocity: (2,) pixels per second.
        smoother: what is remembered of its answers.
        rest: sum and count of logits while its resting face is learnt, or None.
        offset: (C,) what a calibration subtracts, or None.
    """

    number: int
    box: FloatArray
    at: float
    look: FloatArray
    smoother: Smoother
    velocity: FloatArray = field(default_factory=lambda: np.zeros(2, np.float32))
    rest: tuple[FloatArray, int] | None = None
    offset: FloatArray | None = None

    def expected(self, at: float) -> FloatArray:
        """Return the box (4,) where the face should be by now."""
        ahead = min(max(at - self.at, 0.0), MOTION)
        return (self.box + np.tile(self.velocity * np.float32(ahead), 2)).astype(np.float32)

    def move(self, box: FloatArray, look: FloatArray | None, at: float) -> None:
        """Take over where the face is now, and what it looks like.

        Args:
            look: its thumbnail, or None where another face may cover a part of it.
        """
        elapsed = at - self.at
        if 0 < elapsed <= 0.5:
            speed = (centre(box) - centre(self.box)) / np.float32(elapsed)
            weight = np.float32(decay(elapsed, MOTION))
            self.velocity = self.velocity + weight * (speed - self.velocity)
        else:
            self.velocity = np.zeros(2, np.float32)
        if look is not None:
            self.look = self.look + np.float32(0.1) * (look - self.look)
        self.box, self.at = box, at


def centre(box: FloatArray) -> FloatArray:
    """Return the middle (2,) of a box."""
    return (box[:2] + box[2:]) / np.float32(2)


def side(box: FloatArray) -> float:
    """Return the longer side of a box."""
    return float(max(box[2] - box[0], box[3] - box[1], 1e-3))


def cost(track: Track, box: FloatArray, look: FloatArray, at: float) -> float:
    """Return how badly a face fits a track; infinite where it cannot be the same.

    Distance from where it was expected, in sides of the face, plus what its look lacks.
    """
    expected = track.expected(at)
    sides = side(box), side(expected)
    far = float(np.linalg.norm(centre(box) - centre(expected))) / max(sides)
    alike = float(track.look @ look / max(float(np.linalg.norm(track.look)), 1e-6))
    resized = max(sides) > RESIZED * min(sides)
    gone = at - track.at
    if gone <= 2 * MOTION:
        possible = far <= NEAR and not resized
    else:  # it went on while nobody saw it: not too far and a little alike, or very much alike
        near = far <= NEAR * (1 + gone) and not resized and alike >= SIMILAR
        possible = near or alike >= ALIKE
    return min(far, 2 * NEAR) + 2 * (1 - alike) if possible else np.inf


def assign(
    tracks: Sequence[Track], boxes: Sequence[FloatArray], looks: Sequence[FloatArray], at: float
) -> dict[int, Track]:
    """Return which track each face belongs to, the best fitting pairs first.

    Args:
        boxes: (4,) of each face. looks: their thumbnails.

    Returns:
        Tracks by the index of a face; new faces are left out.
    """
    pairs = sorted(
        (
            (cost(track, box, look, at), i, j)
            for i, track in enumerate(tracks)
            for j, (box, look) in enumerate(zip(boxes, looks, strict=True))
        ),
    )
    taken: dict[int, Track] = {}
    used: set[int] = set()
    for badness, i, j in pairs:
        if np.isfinite(badness) and i not in used and j not in taken:
            taken[j] = tracks[i]
            used.add(i)
    return taken
