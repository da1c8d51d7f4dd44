"""A face in a photograph to an upright crop, framed like the faces the model was trained on."""

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from emotion.geometry import Matrix, fit_similarity
from emotion.images import RGBImage
from emotion.landmarks import HOG_BOX, MEAN_FACE, YUNET_FIVE, five_points
from emotion.results import Face

CROP_SIZE = 192
MAX_OVERSAMPLING = 16


def alignment(face: Face) -> Matrix:
    """Return the similarity that brings a face to the unit square of its crop.

    Eyes, nose tip and mouth corners are brought to where they lie on average in the training
    faces. A face without landmarks, or with landmarks that all fall together, is framed by
    its box alone.

    Returns:
        (2, 3) float64, image pixels to crop units; :func:`geometry.invert` leads back.
    """
    points, places = anchor_points(face)
    try:
        return fit_similarity(points, places)
    except ValueError:
        return alignment(replace(face, landmarks=None))


def anchor_points(face: Face) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the points of a face and the places in the crop where they belong."""
    if face.landmarks is None:
        x1, y1, x2, y2 = face.box
        side = max(x2 - x1, y2 - y1, 1) / 2
        middle = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
        return np.stack([middle - side, middle + side]), HOG_BOX.reshape(2, 2).astype(np.float64)
    if len(face.landmarks) == 5:
        return face.landmarks, YUNET_FIVE
    return five_points(face.landmarks), five_points(MEAN_FACE)


def warp(image: RGBImage, to_unit: Matrix, size: int = CROP_SIZE) -> RGBImage:
    """Cut the unit square of an alignment out of a picture.

    A face that must shrink is first warped at a multiple of the size and then averaged, so
    that nothing aliases. Beyond the picture its edge is continued.

    Args:
        image: (H, W, 3) uint8. to_unit: image pixels to crop units. size: of the crop.

    Returns:
        (size, size, 3) uint8.
    """
    zoom = size * math.sqrt(abs(np.linalg.det(to_unit[:, :2])))
    factor = min(max(1, math.ceil(1 / max(zoom, 1e-6))), MAX_OVERSAMPLING)
    side = size * factor
    matrix = to_unit * side
    # Crop units run from the edge of the first pixel, OpenCV's coordinates from its centre.
    matrix[:, 2] -= 0.5
    crop = cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if factor > 1:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return crop
