"""Pictures that a data set holds twice: the same bytes, or the same photograph again.

Perceptual hashes propose pairs, and the correlation of their pixels decides. The two limits
below were set by looking at pairs of FER2013's training and validation faces, 64 at a time.
At a correlation of 0.90 to 0.92, 62 of 64 pairs were the same photograph (with a watermark,
recompressed, of another contrast, or cropped anew), at 0.88 to 0.90 about 52 and at 0.84 to
0.86 fewer than half. Letting one picture move a little matters: of the 3,993 pairs found there
that are not equal byte for byte, 1,578 are below 0.90 where the pixels stay in place. Twelve bits
lose few: 14 would find 4 % more pairs among four times as many candidates. Mirrored copies (about
70 pairs there) are not looked for.
"""

import hashlib
from collections.abc import Iterator, Sequence

import cv2
import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from emotion.preprocess import Crop, resize
from train.faces import FaceDataset

SIDE = 48
"""Pictures are compared in grey at this side, in pixels: that of FER2013."""

MOST_BITS = 12
"""Hashes of 64 bits that differ in more are not looked at any further."""

MOST_SHIFT = 4
"""How far one picture may lie beside the other, in pixels of :data:`SIDE`."""

LEAST_CORRELATION = 0.9

CHUNK = 1 << 23


def duplicates_across(faces: FaceDataset, others: Sequence[FaceDataset]) -> NDArray[np.bool_]:
    """Mark the faces that other splits hold too, as the same picture or nearly the same.

    Returns:
        (N,) bool.
    """
    groups = duplicate_groups([*faces.crops, *(crop for other in others for crop in other.crops)])
    return np.isin(groups[: len(faces)], groups[len(faces) :])


def duplicate_groups(crops: Sequence[Crop]) -> NDArray[np.int64]:
    """Number crops so that copies of one picture, and copies of copies, share a number.

    Returns:
        (N,) int64, numbers from 0; a crop without a copy has a number of its own.
    """
    if not crops:
        return np.empty(0, np.int64)
    # Equal bytes first: a placeholder that occurs a thousand times would make a million pairs.
    digests = [hashlib.sha256(repr(c.shape).encode() + c.tobytes()).hexdigest() for c in crops]
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    greys = [normal_form(crops[i]) for i in first]
    pairs = [
        (i, j)
        for i, j in close_pairs(perceptual_hashes(greys))
        if correlation(greys[i], greys[j]) >= LEAST_CORRELATION
    ]
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(first),) * 2)
    _, groups = connected_components(graph, directed=False)
    return groups[which].astype(np.int64)


def normal_form(crop: Crop) -> Crop:
    """Return a crop in grey, (SIDE, SIDE) uint8."""
    return resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) if crop.ndim == 3 else crop, SIDE)


def perceptual_hashes(greys: Sequence[Crop]) -> NDArray[np.uint64]:
    """Return the hash of each grey picture, (N,) of 64 bits.

    Source: pHash in https://github.com/JohannesBuchner/imagehash (signs of the lowest
    frequencies of the discrete cosine transform, against their median).
    """
    bits = np.array([imagehash.phash(Image.fromarray(grey)).hash.ravel() for grey in greys])
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def close_pairs(hashes: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Yield the pairs i < j whose hashes differ in at most :data:`MOST_BITS` bits."""
    step = max(1, CHUNK // len(hashes))
    for start in range(0, len(hashes), step):
        rows = hashes[start : start + step, None]
        distance = np.bitwise_count(rows ^ hashes[start:])
        i, j = np.nonzero(distance <= MOST_BITS)
        yield from zip((i + start)[i < j].tolist(), (j + start)[i < j].tolist(), strict=True)


def correlation(first: Crop, second: Crop) -> float:
    """Return how alike two grey pictures are where they overlap best, up to 1.

    The middle of each is moved over the other by up to :data:`MOST_SHIFT` pixels, and the
    lower of the two best correlations counts: OpenCV gives 1 for a middle of one grey.

    Args:
        first, second: (SIDE, SIDE) uint8.
    """
    inner = slice(MOST_SHIFT, -MOST_SHIFT)
    scores = (
        cv2.matchTemplate(image, other[inner, inner], cv2.TM_CCOEFF_NORMED).max()
        for image, other in ((first, second), (second, first))
    )
    return float(min(scores))
