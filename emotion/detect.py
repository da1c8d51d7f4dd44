"""Where the faces are: three detectors behind one protocol."""

import contextlib
import logging
import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from emotion.boxes import face_side, settle
from emotion.errors import DetectorError, UnknownModelError
from emotion.images import RGBImage
from emotion.results import Face, FloatArray
from emotion.yunet_file import find_yunet

logger = logging.getLogger(__name__)

DETECTORS = ("auto", "yunet", "hog", "cnn")
DLIB_FACE = 80
"""Side in pixels of the smallest face that dlib's detectors find without upsampling."""


class FaceDetector(Protocol):
    """Finds faces; may be shared by threads."""

    name: str

    def detect(self, image: RGBImage, *, min_face: int = 40) -> tuple[Face, ...]:
        """Find the faces of an image, the largest first.

        Args:
            image: (H, W, 3) uint8 RGB.
            min_face: side in pixels of the smallest face asked for.

        Returns:
            Faces with boxes clipped to the image, none overlapping another by half.
        """


def load_detector(name: str = "auto", *, yunet: Path | None = None) -> FaceDetector:
    """Return the detector of a name.

    Args:
        name: ``yunet`` (fast, small faces, any pose), ``hog`` or ``cnn`` (dlib; ``cnn`` is
            slow without a GPU), or ``auto``: yunet where its file is at hand or can be had,
            else hog.
        yunet: path of YuNet's ONNX file; by default what :func:`yunet_file.find_yunet` finds.

    Raises:
        UnknownModelError: no such detector. DetectorError: it cannot be used here.
    """
    if name not in DETECTORS:
        raise UnknownModelError(f"there is no detector {name!r}; available: {', '.join(DETECTORS)}")
    if name == "hog":
        return HogDetector()
    if name == "cnn":
        return CnnDetector()
    try:
        return YunetDetector(find_yunet(yunet))
    except DetectorError as error:
        if name == "yunet" or yunet is not None:
            raise
        logger.warning("faces are found with dlib's HOG, not YuNet: %s", error)
        return HogDetector()


@lru_cache(maxsize=1)
def dlib_models() -> Any:
    """Import ``face_recognition``'s module of loaded models, once; it takes about a second.

    Raises:
        DetectorError: the package is not installed or not importable.
    """
    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with warnings.catch_warnings():
            # Its models package still asks pkg_resources where its files are.
            warnings.simplefilter("ignore")
            from face_recognition import api
    except (ImportError, SystemExit) as error:
        # face_recognition quits the interpreter when its models package is missing.
        raise DetectorError(
            f"face_recognition cannot be imported ({error}); "
            "install face-recognition with setuptools<81"
        ) from None
    finally:
        # Its import tells Pillow, for the whole process, to take cut-off pictures for whole.
        ImageFile.LOAD_TRUNCATED_IMAGES = strict
    return api


class HogDetector:
    """dlib's frontal face detector on grey pixels (a little faster than on colour).

    Source: Dalal & Triggs, CVPR 2005; King, arXiv:1502.00046.

    Args:
        time_budget: seconds on one core that one image may take, by estimate (so that the
            same image gives the same faces on any machine). Upsampling beyond the first pass
            goes on within it. While nothing is found, or the smallest face found is at the
            limit of what could be found, ten times as much may be spent.
        threshold: lowest score kept; at dlib's own 0, folds of cloth pass for faces.
    """

    name = "hog"
    seconds_per_megapixel = 0.12

    def __init__(self, time_budget: float = 0.1, threshold: float = 0.1) -> None:
        if time_budget <= 0:
            raise ValueError(f"time_budget must be above 0 seconds, got {time_budget}")
        self.time_budget = time_budget
        self.threshold = threshold
        self.run = dlib_models().face_detector.run
        self.lock = threading.Lock()

    def detect(self, image: RGBImage, *, min_face: int = 40) -> tuple[Face, ...]:
        """See :class:`FaceDetector`."""
        check_min_face(min_face)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        megapixels = grey.size / 1e6
        wanted = DLIB_FACE / min_face
        scale = min(1.0, wanted, self.affordable(megapixels, (), 1.0))
        faces = self.search(grey, scale)
        while scale < wanted:
            larger = min(scale * 2, wanted)
            if larger > self.affordable(megapixels, faces, larger):
                break
            scale = larger
            faces += self.search(grey, scale)
        return settle(faces, grey.shape)

    def affordable(self, megapixels: float, faces: Sequence[Face], scale: float) -> float:
        """Return the largest scale that the budget allows for a pass at about ``scale``."""
        smallest = min((face_side(f) for f in faces), default=0.0)
        # A face near the limit of the last pass makes smaller ones likely.
        seeking = smallest < 1.25 * DLIB_FACE / (scale / 2)
        seconds = self.time_budget * (10 if seeking else 1)
        return math.sqrt(seconds / (self.seconds_per_megapixel * megapixels))

    def search(self, grey: NDArray[np.uint8], scale: float) -> list[Face]:
        """Run dlib once on the picture resized by ``scale``."""
        picture = resize(grey, scale)
        with self.lock:
            boxes, scores, _ = self.run(picture, 0, self.threshold)
        return [
            Face(box=to_box(r, scale), score=float(s)) for r, s in zip(boxes, scores, strict=True)
        ]


class CnnDetector:
    """dlib's MMOD network: more poses than HOG, seconds instead of milliseconds on a CPU.

    Source: King, arXiv:1502.00046.

    Args:
        max_megapixels: the picture, after upsampling, is not larger than this.
    """

    name = "cnn"

    def __init__(self, max_megapixels: float = 1.0) -> None:
        self.network = dlib_models().cnn_face_detector
        self.max_megapixels = max_megapixels
        self.lock = threading.Lock()

    def detect(self, image: RGBImage, *, min_face: int = 40) -> tuple[Face, ...]:
        """See :class:`FaceDetector`."""
        check_min_face(min_face)
        megapixels = image.shape[0] * image.shape[1] / 1e6
        scale = min(DLIB_FACE / min_face, math.sqrt(self.max_megapixels / megapixels))
        with self.lock:
            found = self.network(resize(image, scale), 0)
        faces = [Face(box=to_box(d.rect, scale), score=float(d.confidence)) for d in found]
        return settle(faces, image.shape)


class YunetDetector:
    """YuNet: small faces, many poses, five landmarks, a few milliseconds.

    The picture is searched at two sizes: small, for faces that fill it, and as large as
    ``min_face`` asks for.

    Source: Wu et al., Machine Intelligence Research 2023; ``cv2.FaceDetectorYN``.

    Args:
        path: of the ONNX file.
        threshold: lowest score kept, in [0, 1].

    Raises:
        DetectorError: the file is missing or OpenCV cannot run it.
    """

    name = "yunet"
    smallest = 14
    """Side in pixels that a face should at least have in the picture that is searched."""

    def __init__(self, path: Path, threshold: float = 0.7) -> None:
        if not path.is_file():
            raise DetectorError(f"there is no YuNet file {path}")
        self.lock = threading.Lock()
        try:
            with quiet_opencv():
                self.network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold, 0.3)
                self.search(np.zeros((96, 128, 3), np.uint8), 1.0)
        except cv2.error as error:
            reason = str(error).strip().splitlines()[0]
            raise DetectorError(f"OpenCV cannot run {path.name}: {reason}") from None

    def detect(self, image: RGBImage, *, min_face: int = 40) -> tuple[Face, ...]:
        """See :class:`FaceDetector`."""
        check_min_face(min_face)
        longest = max(image.shape[:2])
        coarse = min(1.0, 320 / longest)
        fine = min(1.0, self.smallest / min_face, 2400 / longest)
        faces = self.search(image, coarse)
        if fine > coarse * 1.25:
            faces += self.search(image, fine)
        return settle(faces, image.shape)

    def search(self, image: RGBImage, scale: float) -> list[Face]:
        """Run the network once on the picture resized by ``scale``."""
        bgr = cv2.cvtColor(resize(image, scale), cv2.COLOR_RGB2BGR)
        with self.lock:
            self.network.setInputSize((bgr.shape[1], bgr.shape[0]))
            _, rows = self.network.detect(bgr)
        return [yunet_face(row, scale) for row in (() if rows is None else rows)]


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from warning, at each load, that it has no choice of target device."""
    logging_of_opencv = cv2.utils.logging
    before = logging_of_opencv.getLogLevel()
    logging_of_opencv.setLogLevel(logging_of_opencv.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging_of_opencv.setLogLevel(before)


def yunet_face(row: FloatArray, scale: float) -> Face:
    """Turn a row of YuNet's output (x, y, w, h, five points, score) into a face."""
    x, y, width, height = row[:4] / scale
    return Face(
        box=np.array([x, y, x + width, y + height], np.float32),
        score=float(row[14]),
        landmarks=(row[4:14].reshape(5, 2) / scale).astype(np.float32),
    )


def resize(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Resize a picture by a factor; at least one pixel remains."""
    if scale == 1.0:
        return image
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=how)


def to_box(rect: Any, scale: float) -> FloatArray:
    """Turn a dlib rectangle into a box in pixels of the unscaled picture."""
    sides = [rect.left(), rect.top(), rect.right() + 1, rect.bottom() + 1]
    return (np.array(sides, np.float32) / scale).astype(np.float32)


def check_min_face(min_face: int) -> None:
    """Raise ``ValueError`` unless ``min_face`` is a size that a detector can aim for."""
    if not 10 <= min_face <= 4000:
        raise ValueError(f"min_face must be 10 to 4000 pixels, got {min_face}")
