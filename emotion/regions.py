"""Landmarks to named parts of the face, and what is said about them in words.

Left and right are the viewer's. Every pixel of the crop belongs to exactly one region.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from emotion.geometry import Matrix, apply
from emotion.landmarks import MEAN_FACE, YUNET_FIVE
from emotion.results import Explanation, Face, FloatArray, Prediction

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
    numbers = np.full((size, size), REGIONS.index("outside"), np.uint8)
    face = face_outline(points)
    fill(numbers, face, "forehead")
    inside = numbers != REGIONS.index("outside")
    numbers[inside] = coarse_parts(points, size)[inside]
    unit = eye_distance(points)
    for side, part in zip(("left", "right"), BROWS, strict=True):
        fill(numbers, widen(points[part], 0.10 * unit), f"{side} brow")
    for side, part in zip(("left", "right"), EYES, strict=True):
        fill(numbers, widen(points[part], 0.12 * unit), f"{side} eye")
    fill(numbers, widen(points[NOSE], 0.07 * unit), "nose")
    fill(numbers, widen(points[MOUTH], 0.12 * unit), "mouth")
    return numbers


def face_outline(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the polygon of the face: the jaw line, and an arch over the brows."""
    brows = points[17:27]
    up = brows.mean(0) - points[31:36].mean(0)
    arch = brows + up * FOREHEAD_HEIGHT
    hull: NDArray[np.float64] = cv2.convexHull(
        np.concatenate([points[JAW], brows, arch]).astype(np.float32)
    )[:, 0]
    return hull


def coarse_parts(points: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Divide the whole crop into forehead, cheeks and jaw, for what no finer part covers."""
    across = points[45] - points[36]
    down = np.array([-across[1], across[0]]) / max(float(np.hypot(*across)), 1e-6)
    grid = (np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1) + 0.5) / size
    height = grid @ down
    eyes = (points[36:48] @ down).mean()
    corners = (points[[48, 54]] @ down).mean()
    midline, offset = points[8] - points[27], grid - points[27]
    right = midline[0] * offset[..., 1] - midline[1] * offset[..., 0] < 0
    cheeks = np.where(right, REGIONS.index("right cheek"), REGIONS.index("left cheek"))
    lower = np.where(height > corners, REGIONS.index("jaw"), cheeks)
    return np.where(height < eyes, REGIONS.index("forehead"), lower).astype(np.uint8)


def eye_distance(points: NDArray[np.float64]) -> float:
    """Return the distance of the eyes' centres, in crop units."""
    gap = points[EYES[1]].mean(0) - points[EYES[0]].mean(0)
    return float(max(np.hypot(*gap), 0.02))


def widen(points: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Return the convex hull of points, grown by a margin on every side."""
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = margin * np.stack([np.cos(angles), np.sin(angles)], 1)
    cloud = (points[:, None] + ring).reshape(-1, 2)
    hull: NDArray[np.float64] = cv2.convexHull(cloud.astype(np.float32))[:, 0]
    return hull


def fill(numbers: NDArray[np.uint8], polygon: NDArray[np.float64], region: str) -> None:
    """Write a region's number into the pixels of a convex polygon given in crop units."""
    # Sixteenths of a pixel; OpenCV's pixel centres are at whole numbers, ours at halves.
    corners = np.round((polygon * len(numbers) - 0.5) * 16).astype(np.int32)
    cv2.fillConvexPoly(numbers, corners, REGIONS.index(region), shift=4)


def describe(prediction: Prediction, explanation: Explanation, label: str | None = None) -> str:
    """Say in one sentence which regions spoke for a label and which against it.

    Args:
        label: by default the most probable one.

    Returns:
        Such as "Happiness (0.97): mostly the mouth (+3.1) and the cheeks (+1.2); the brows
        spoke against it (-0.3)."
    """
    label = label or prediction.label
    row = explanation.region_evidence[prediction.index(label)]
    shares = merge_pairs(explanation.regions, row)
    top = max((v for _, v in shares), default=0.0)
    least = max(0.1, 0.2 * top)
    for_it = [s for s in shares if s[1] >= least][:3]
    against = [s for s in reversed(shares) if s[1] <= -least][:2]
    head = f"{label.capitalize()} ({prediction.probability(label):.2f}): "
    if not for_it:
        said = "no region spoke for it"
    else:
        said = ("mostly " if len(for_it) < len(shares) else "") + listing(for_it)
    if against:
        said += f"; {listing(against)} spoke against it"
    return f"{head}{said}."


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
