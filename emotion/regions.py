"""Landmarks to named parts of the face, and what is said about them in words.

Left and right are the viewer's. Every pixel of the crop belongs to exactly one region.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from emotion.geometry import Matrix, apply
from emotion.landmarks import MEAN_FACE, YUNET_FIVE
from emotion.results import NOT_SURE, Explanation, Face, FloatArray, Prediction, either, two_digits

REGIONS = (
    "left brow",
    "right brow",
    "left eye",
    "right eye",
    "nose",
    "mouth",
    "left cheek",
    "right cheek",
    "forehead",
    "jaw",
    "outside",
)
MASK_SIZE = 64
GROUPS = {
    "brows": ("left brow", "right brow"),
    "eyes": ("left eye", "right eye"),
    "cheeks": ("left cheek", "right cheek"),
}
"""Pairs that one word names when both sides agree."""

JAW, NOSE, MOUTH = slice(0, 17), slice(27, 36), slice(48, 60)
BROWS, EYES = (slice(17, 22), slice(22, 27)), (slice(36, 42), slice(42, 48))
OUTSIDE = REGIONS.index("outside")
PARTS = (
    ("left brow", BROWS[0], 0.10),
    ("right brow", BROWS[1], 0.10),
    ("left eye", EYES[0], 0.12),
    ("right eye", EYES[1], 0.12),
    ("nose", NOSE, 0.07),
    ("mouth", MOUTH, 0.12),
)
"""Region, its landmarks, and how far it reaches beyond them in units of the eyes' distance."""

REACH = np.zeros((68, 1, 1), np.float32)
for _, _part, _margin in PARTS:
    REACH[_part] = _margin
"""The same reach for each landmark."""

FAR = 8.0
RING = np.array([(np.cos(turn), np.sin(turn)) for turn in np.arange(8) * np.pi / 4], np.float32)
"""Eight points around the origin, to grow a shape by."""

FOREHEAD_HEIGHT = 0.75
"""Height of the forehead over the brows, in units of the distance from brows to nose base.

Source: the neoclassical canon of thirds makes it 1 (Farkas et al., Plast Reconstr Surg 1985);
the crop ends before the hair line, and 0.75 leaves hair out on most faces."""


def crop_landmarks(face: Face, to_crop: Matrix) -> NDArray[np.float64]:
    """Return a face's 68 landmarks in crop units.

    Without them the mean face stands in: placed by the five points where there are five.
    """
    if face.landmarks is None:
        return MEAN_FACE
    points = apply(to_crop, face.landmarks)
    if len(points) == 68:
        return points
    # Five points say how the face lies; the alignment has used them up, and what is left is
    # how this face differs from the mean one. Each part is moved by its own point's rest.
    rest = points - YUNET_FIVE
    moved = MEAN_FACE.copy()
    for part, index in ((EYES[0], 0), (EYES[1], 1), (BROWS[0], 0), (BROWS[1], 1), (NOSE, 2)):
        moved[part] += rest[index]
    moved[48:68] += rest[3:].mean(0)
    return moved


def region_masks(points: NDArray[np.float64], size: int = MASK_SIZE) -> NDArray[np.bool_]:
    """Draw the regions of a face.

    Args:
        points: (68, 2) landmarks in crop units.

    Returns:
        (11, size, size) bool in the order of :data:`REGIONS`; exactly one is true anywhere.
    """
    numbers = region_map(points, size)
    return numbers[None] == np.arange(len(REGIONS), dtype=np.uint8)[:, None, None]


def region_map(points: NDArray[np.float64], size: int = MASK_SIZE) -> NDArray[np.uint8]:
    """Return the number of the region at each pixel, (size, size) uint8."""
    # Nonsense landmarks may lie anywhere; beyond a few crops away it makes no difference where.
    near = np.clip(points, -FAR, FAR).astype(np.float32)
    numbers = coarse_parts(near, size)
    outside = np.ones((size, size), np.uint8)
    fill(outside, cv2.convexHull(outline_points(near))[:, 0], 0)
    numbers[outside > 0] = OUTSIDE
    # All parts are grown and brought to pixels at once: it is the calls that cost here.
    clouds = to_pixels(near[:, None] + RING * (REACH * eye_distance(near)), size)
    for region, part, _ in PARTS:
        hull = cv2.convexHull(clouds[part].reshape(-1, 2))
        cv2.fillConvexPoly(numbers, hull, REGIONS.index(region), shift=4)
    return numbers


def outline_points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return points around the face: the jaw line, the brows, and an arch over them."""
    brows = points[17:27]
    up = (points[19] + points[24] - 2 * points[33]) / 2
    return np.concatenate([points[JAW], brows, brows + up * FOREHEAD_HEIGHT])


def coarse_parts(points: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Divide the whole crop into forehead, cheeks and jaw, for what no finer part covers."""
    # Plain floats: for a handful of numbers they are several times faster than arrays.
    chin, bridge, eye, other_eye, corner, other_corner = points[[8, 27, 36, 45, 48, 54]].tolist()
    across = (other_eye[0] - eye[0], other_eye[1] - eye[1])
    down = (-across[1], across[0])
    right = (chin[1] - bridge[1], bridge[0] - chin[0])
    numbers = np.full((size, size), REGIONS.index("left cheek"), np.uint8)
    fill(numbers, half_plane(bridge, right), REGIONS.index("right cheek"))
    up = (-down[0], -down[1])
    fill(numbers, half_plane(middle(eye, other_eye), up), REGIONS.index("forehead"))
    fill(numbers, half_plane(middle(corner, other_corner), down), REGIONS.index("jaw"))
    return numbers


def middle(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Return the point half-way between two."""
    return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2


def half_plane(point: Sequence[float], towards: Sequence[float]) -> NDArray[np.float32]:
    """Return a rectangle, larger than the crop, on one side of a line through a point.

    Args:
        point: on the line. towards: across the line, any length.
    """
    reach = 8 * FAR / max(math.hypot(*towards), 1e-6)
    (x, y), dx, dy = point, towards[0] * reach, towards[1] * reach
    corners = [
        (x + dy, y - dx),
        (x - dy, y + dx),
        (x - dy + dx, y + dx + dy),
        (x + dy + dx, y - dx + dy),
    ]
    return np.array(corners, np.float32)


def eye_distance(points: NDArray[np.float32]) -> float:
    """Return the distance of the eyes' centres, in crop units."""
    outer, inner, other_inner, other_outer = points[[36, 39, 42, 45]].tolist()
    return max(math.dist(middle(outer, inner), middle(other_inner, other_outer)), 0.02)


def fill(numbers: NDArray[np.uint8], polygon: NDArray[np.float32], number: int) -> None:
    """Write a number into the pixels of a convex polygon given in crop units."""
    cv2.fillConvexPoly(numbers, to_pixels(polygon, len(numbers)), number, shift=4)


def to_pixels(points: NDArray[np.float32], size: int) -> NDArray[np.int32]:
    """Turn crop units into sixteenths of a pixel, int32, as OpenCV draws with ``shift=4``."""
    # OpenCV's pixel centres are at whole numbers, ours at halves: half a pixel is 8 sixteenths.
    return np.rint(points * (16 * size) - 8).astype(np.int32)


def describe(prediction: Prediction, explanation: Explanation, label: str | None = None) -> str:
    """Say in one sentence which regions spoke for a label and which against it.

    Args:
        label: by default the most probable one, and the sentence then starts with what else the
            answer may be.

    Returns:
        Such as "Happiness (0.97): mostly the mouth (+3.1) and the cheeks (+1.2); the brows
        spoke against it (-0.3)."
    """
    if label is None:
        return doubt(prediction) + describe(prediction, explanation, prediction.label)
    row = explanation.region_evidence[prediction.index(label)]
    shares = merge_pairs(explanation.regions, row)
    top = max((v for _, v in shares), default=0.0)
    least = max(0.1, 0.2 * top)
    for_it = [s for s in shares if s[1] >= least][:3]
    against = [s for s in reversed(shares) if s[1] <= -least][:2]
    head = f"{label.capitalize()} ({two_digits(prediction.probability(label))}): "
    if not for_it:
        said = "no region spoke for it"
    else:
        said = ("mostly " if len(for_it) < len(shares) else "") + listing(for_it)
    if against:
        said += f"; {listing(against)} spoke against it"
    return f"{head}{said}."


def doubt(prediction: Prediction) -> str:
    """Name the candidates where there are several, such as "Fear or anger. "; else ""."""
    if prediction.sure:
        return ""
    if prediction.answer != NOT_SURE:
        return f"{prediction.answer.capitalize()}. "
    return f"{NOT_SURE.capitalize()}: could be {either(prediction.candidates)}. "


def merge_pairs(regions: tuple[str, ...], row: FloatArray) -> list[tuple[str, float]]:
    """Return (words, evidence) of each region, pairs of equal sign merged, largest first."""
    values = dict(zip(regions, (float(v) for v in row), strict=True))
    merged: dict[str, float] = {}
    for word, (left, right) in GROUPS.items():
        if left in values and right in values and values[left] * values[right] > 0:
            merged[f"the {word}"] = values.pop(left) + values.pop(right)
    merged |= {phrase(name): value for name, value in values.items()}
    return sorted(merged.items(), key=lambda item: -item[1])


def phrase(region: str) -> str:
    """Return a region's name as it stands in a sentence."""
    return "the area outside the face" if region == "outside" else f"the {region}"


def listing(shares: list[tuple[str, float]]) -> str:
    """Join regions and their evidence with commas and an "and"."""
    words = [f"{name} ({value:+.1f})" for name, value in shares]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
