"""The 68 landmarks of a face, and the mean face that stands in where they are missing."""

import cv2
import numpy as np
from numpy.typing import NDArray

from emotion.detect import dlib_models
from emotion.errors import DetectorError
from emotion.geometry import apply, fit_similarity, invert
from emotion.images import RGBImage
from emotion.results import Face, FloatArray

HOG_BOX = np.array([0.073, 0.125, 0.910, 0.962], np.float32)
"""Where dlib's HOG puts its box, in units of the training crop; the predictor expects it."""

YUNET_FIVE = np.array(
    [[0.321, 0.3745], [0.679, 0.3745], [0.5, 0.594], [0.3555, 0.752], [0.6445, 0.752]], np.float64
)
"""Mean place of YuNet's five points in the training crop, made symmetric."""

# fmt: off
MEAN_FACE = np.array([
    [0.093, 0.393], [0.097, 0.502], [0.110, 0.610], [0.134, 0.716], [0.177, 0.814],
    [0.241, 0.900], [0.318, 0.973], [0.403, 1.032], [0.500, 1.050], [0.597, 1.032],
    [0.682, 0.973], [0.759, 0.900], [0.823, 0.814], [0.866, 0.716], [0.890, 0.610],
    [0.903, 0.502], [0.907, 0.393], [0.171, 0.310], [0.221, 0.266], [0.291, 0.252],
    [0.364, 0.262], [0.432, 0.290], [0.568, 0.290], [0.636, 0.262], [0.709, 0.252],
    [0.779, 0.266], [0.829, 0.310], [0.500, 0.375], [0.500, 0.443], [0.500, 0.510],
    [0.500, 0.580], [0.420, 0.631], [0.458, 0.644], [0.500, 0.656], [0.542, 0.644],
    [0.580, 0.631], [0.251, 0.386], [0.295, 0.360], [0.349, 0.360], [0.395, 0.395],
    [0.345, 0.405], [0.292, 0.404], [0.605, 0.395], [0.651, 0.360], [0.705, 0.360],
    [0.749, 0.386], [0.708, 0.404], [0.655, 0.405], [0.346, 0.772], [0.400, 0.738],
    [0.459, 0.722], [0.500, 0.732], [0.541, 0.722], [0.600, 0.738], [0.654, 0.772],
    [0.602, 0.836], [0.545, 0.865], [0.500, 0.870], [0.455, 0.865], [0.398, 0.836],
    [0.370, 0.774], [0.458, 0.758], [0.500, 0.762], [0.542, 0.758], [0.630, 0.774],
    [0.543, 0.811], [0.500, 0.816], [0.457, 0.811],
], np.float64)
# fmt: on
"""Mean of dlib's 68 landmarks in units of the training crop, made symmetric.

Source: ``python -m benchmarks.face_template`` on FER2013's validation split.
"""

UPRIGHT_SIDE, UPRIGHT_MARGIN = 224, 0.25


def find_landmarks(image: RGBImage, face: Face) -> FloatArray | None:
    """Find the 68 landmarks of a face.

    Where the detector gave five points, the face is first turned upright by them: the
    predictor is made for upright faces in a box such as HOG gives.

    Args:
        image: (H, W, 3) uint8 RGB. face: found in it.

    Returns:
        (68, 2) float32 image pixels, or None where ``face_recognition`` is not at hand.

    Source: Kazemi & Sullivan, CVPR 2014; the model is trained on iBUG 300-W, whose licence
    excludes commercial use.
    """
    try:
        models = dlib_models()
    except DetectorError:
        return None
    if face.landmarks is None or len(face.landmarks) != 5:
        return predict_points(models, image, face.box)
    try:
        to_unit = fit_similarity(face.landmarks, YUNET_FIVE)
    except ValueError:  # five points at one place say nothing of how the face lies
        return predict_points(models, image, face.box)
    shift = np.array([[1.0, 0, UPRIGHT_MARGIN], [0, 1.0, UPRIGHT_MARGIN]])
    to_upright = shift * (UPRIGHT_SIDE / (1 + 2 * UPRIGHT_MARGIN))
    matrix = to_upright[:, :2] @ to_unit
    matrix[:, 2] += to_upright[:, 2]
    upright = cv2.warpAffine(image, matrix, (UPRIGHT_SIDE, UPRIGHT_SIDE))
    box = apply(to_upright, HOG_BOX.reshape(2, 2)).astype(np.float32).reshape(4)
    points = predict_points(models, upright, box)
    return apply(invert(matrix), points).astype(np.float32)


def predict_points(models: object, image: RGBImage, box: FloatArray) -> FloatArray:
    """Run dlib's shape predictor in a box; (68, 2) float32 pixels of ``image``."""
    dlib = models.dlib  # type: ignore[attr-defined]
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    rect = dlib.rectangle(x1, y1, x2 - 1, y2 - 1)
    shape = models.pose_predictor_68_point(image, rect)  # type: ignore[attr-defined]
    return np.array([(p.x, p.y) for p in shape.parts()], np.float32)


def five_points(landmarks: NDArray[np.floating]) -> NDArray[np.floating]:
    """Reduce 68 landmarks to eye centres, nose tip and mouth corners, (5, 2)."""
    eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
    return np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])
