"""How well a face can be read: measures of its crop and its place, and notes that say so.

A note never changes an answer. It says that on faces like this one the model is right less often,
and how often, as measured by ``python -m train quality``.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from emotion.landmarks import five_points
from emotion.preprocess import Crop, check_crop, resize
from emotion.results import Face, FloatArray, Quality, QualityNote

SIDE = 48
"""Side in pixels at which a crop is measured: the detail that the models were trained on."""


@dataclass(frozen=True, slots=True)
class Limit:
    """When a face gets a note of a kind, and how the note is worded.

    Attributes:
        kind: one of :data:`emotion.results.QUALITY_KINDS`.
        measure: the field of :class:`emotion.results.Quality` that decides.
        value: the limit, in that field's unit.
        above: whether values above the limit get the note (for the turn: to either side), not
            those below it.
        begin: the note's first words. name: what such faces are called in it.
    """

    kind: str
    measure: str
    value: float
    above: bool
    begin: str
    name: str

    def passed(self, quality: Quality) -> bool:
        """Return whether a face gets the note."""
        value: float | None = getattr(quality, self.measure)
        if value is None:
            return False
        return abs(value) > self.value if self.above else value < self.value


# Chosen by hand from `python -m train quality --yunet FILE` on FER2013's validation split, so that
# a note means something and is rare on faces that are not damaged. The shipped model,
# ferplus-face27, reads 88.4 % of all 3,199 faces right, and of those with a note: dark 83.8 %
# (n 210), overexposed 84.3 % (839), blurred 82.2 % (13,443), small 83.7 % (6,398), turned 78.5 %
# (144). No undamaged face is dark, overexposed or blurred by these limits; of the faces found in an
# enlarged picture 1.7 % are blurred and 4.8 % turned. The model bears darkness well: at a mean grey
# below 30 it is still right for 86.5 %.
LIMITS = (
    Limit("dark", "brightness", 15.0, False, "Dark picture", "dark"),
    Limit("bright", "brightness", 225.0, True, "Overexposed picture", "overexposed"),
    Limit("blurred", "sharpness", 0.1, False, "Blurred picture", "blurred"),
    Limit("small", "size", 24.0, False, "Small face", "small"),
    Limit("turned", "turn", 0.8, True, "Turned face", "turned"),
)


def measure(crop: Crop, face: Face) -> Quality:
    """Measure how well a face can be read.

    Args:
        crop: (S, S, 3) RGB or (S, S) grey uint8, the aligned face that the model sees.
        face: where it was found; its box and landmarks count.
    """
    grey = shrink(crop)
    width, height = (float(v) for v in face.box[2:] - face.box[:2])
    return Quality(
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        sharpness=sharpness(grey),
        size=max((width + height) / 2, 0.0),
        turn=None if face.landmarks is None else turn(face.landmarks),
    )


def shrink(crop: Crop) -> FloatArray:
    """Return a crop as grey, (48, 48) float32 in [0, 255]; a smaller one is enlarged."""
    check_crop(crop)
    grey = crop if crop.ndim == 2 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return resize(grey, SIDE).astype(np.float32)


def sharpness(grey: FloatArray) -> float:
    """Return the variance of the Laplacian over the variance of the grey; 0 for an even picture.

    The division takes out the contrast: a dark picture is not a blurred one. As every crop is
    measured at the same size, so does a crop's own size.

    Source: Pech-Pacheco et al., ICPR 2000 (the variance of the Laplacian).
    """
    variance = float(grey.var())
    if variance < 1e-3:
        return 0.0
    # At the border the Laplacian is made up from mirrored pixels.
    inner = cv2.Laplacian(grey, cv2.CV_32F)[1:-1, 1:-1]
    return float(inner.var()) / variance


def turn(landmarks: FloatArray) -> float | None:
    """Return where the nose tip is between the eyes, along the line through them.

    Args:
        landmarks: (68, 2) or (5, 2), in the order of :class:`emotion.results.Face`.

    Returns:
        0 in the middle, -1 at (or beyond) the eye on the viewer's left, 1 at the other; None
        where the eyes fall together, or a point is not a number.
    """
    points = landmarks if len(landmarks) == 5 else five_points(landmarks)
    left, right, nose = points[:3].astype(np.float64)
    across = right - left
    length = float(across @ across)
    place = 2 * float((nose - left) @ across) / length - 1 if length > 1e-6 else np.nan
    return float(np.clip(place, -1, 1)) if np.isfinite(place) else None


def notes(quality: Quality, accuracy: Mapping[str, float]) -> tuple[QualityNote, ...]:
    """Say what may be wrong with a face.

    A kind on which the model was measured to be no worse than on all faces gets no note.

    Args:
        quality: of the face.
        accuracy: the model's, in [0, 1], by kind, and ``all``: ``ModelSpec.quality``.
    """
    usual = accuracy.get("all", 1.0)
    return tuple(
        QualityNote(limit.kind, note_text(limit, accuracy))
        for limit in LIMITS
        if limit.passed(quality) and accuracy.get(limit.kind, 0.0) < usual
    )


def note_text(limit: Limit, accuracy: Mapping[str, float]) -> str:
    """Return a note's sentence, with the measured accuracy where there is one."""
    if limit.kind not in accuracy:
        return f"{limit.begin}: the answer may be less reliable."
    often = (
        f"on {limit.name} faces the model is right {100 * accuracy[limit.kind]:.0f} times in 100"
    )
    usual = f" ({100 * accuracy['all']:.0f} on ordinary ones)" if "all" in accuracy else ""
    return f"{limit.begin}: {often}{usual}."
