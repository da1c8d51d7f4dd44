"""One image in, one result out: detection, alignment, classification, evidence, in a row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emotion.align import alignment, warp
from emotion.classify import predictions
from emotion.detect import FaceDetector, load_detector
from emotion.evidence import class_evidence, share_by_region
from emotion.geometry import Matrix
from emotion.images import ImageSource, RGBImage, load_image
from emotion.landmarks import find_landmarks
from emotion.model import EmotionModel, load_model
from emotion.quality import measure, notes
from emotion.regions import REGIONS, crop_landmarks, describe, region_masks
from emotion.results import Explanation, Face, FaceResult, FloatArray, ImageResult, Prediction
from emotion.stopwatch import Stopwatch
from emotion.weights import DEFAULT_MODEL


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFace:
    """A face on its way through the pipeline: found and cut out, not yet classified.

    Attributes:
        face: with the best landmarks at hand.
        crop: (S, S, 3) uint8 RGB. to_crop: (2, 3), image pixels to crop units.
    """

    face: Face
    crop: RGBImage
    to_crop: Matrix


def align_face(image: RGBImage, face: Face) -> AlignedFace:
    """Find a face's landmarks and cut it out upright."""
    landmarks = find_landmarks(image, face)
    best = face if landmarks is None else replace(face, landmarks=landmarks)
    to_crop = alignment(best)
    return AlignedFace(face=best, crop=warp(image, to_crop), to_crop=to_crop)


class EmotionPipeline:
    """Finds the faces of images, names the emotion each shows, and says what drove it.

    Loaded once; may be shared by any number of threads; keeps nothing of what it sees.

    Args:
        model: see :func:`emotion.load_model`.
        detector: see :func:`emotion.detect.load_detector`.
        min_face: side in pixels of the smallest face asked for.
    """

    def __init__(self, model: EmotionModel, detector: FaceDetector, *, min_face: int = 40) -> None:
        self.model = model
        self.detector = detector
        self.min_face = min_face

    def __call__(self, source: ImageSource) -> ImageResult:
        """Analyse one image.

        Args:
            source: anything that :func:`emotion.load_image` takes.

        Raises:
            ImageError: it cannot be read.
        """
        return self.analyse([load_image(source)])[0]

    def analyse(self, images: Sequence[RGBImage]) -> tuple[ImageResult, ...]:
        """Analyse images (H, W, 3) uint8 RGB; all their faces are classified in one batch."""
        found = [self.find(image) for image in images]
        faces = iter(self.read([aligned for faces in found for aligned in faces]))
        return tuple(
            self.image_result(image, list(islice(faces, len(aligned))))
            for image, aligned in zip(images, found, strict=True)
        )

    def read(
        self, faces: Sequence[AlignedFace], watch: Stopwatch | None = None
    ) -> list[FaceResult]:
        """Classify and explain faces that are found and cut out, all in one batch.

        Args:
            watch: notes the stages ``classify`` and ``evidence``.
        """
        watch = watch or Stopwatch()
        features = self.model.features([aligned.crop for aligned in faces])
        answers = predictions(self.model, features)
        watch.lap("classify")
        maps = class_evidence(self.model, features)
        parts = zip(faces, answers, maps, strict=True)
        results = [self.face_result(*part) for part in parts]
        watch.lap("evidence")
        return results

    def warm_up(self) -> None:
        """Do once what the first image would otherwise wait for: libraries, memory, kernels."""
        blank = np.full((240, 320, 3), 128, np.uint8)
        self(blank)
        face = Face(box=np.array([110, 70, 210, 170], np.float32), score=0.0)
        self.model.features([align_face(blank, face).crop])

    def find(self, image: RGBImage) -> list[AlignedFace]:
        """Detect and cut out the faces of one image."""
        faces = self.detector.detect(image, min_face=self.min_face)
        return [align_face(image, face) for face in faces]

    def face_result(
        self, aligned: AlignedFace, prediction: Prediction, evidence: FloatArray
    ) -> FaceResult:
        """Put together what is known about one face."""
        masks = region_masks(crop_landmarks(aligned.face, aligned.to_crop))
        explanation = self.explanation(evidence, masks)
        quality = measure(aligned.crop, aligned.face)
        return FaceResult(
            face=aligned.face,
            crop=aligned.crop,
            to_crop=aligned.to_crop,
            prediction=prediction,
            explanation=explanation,
            sentence=describe(prediction, explanation),
            quality=quality,
            notes=notes(quality, self.model.spec.quality),
        )

    def explanation(self, evidence: FloatArray, masks: NDArray[np.bool_]) -> Explanation:
        """Share the evidence (C, h, w) of one face among its regions (R, M, M)."""
        spec = self.model.spec
        origin, step = spec.grid_on_crop()
        return Explanation(
            labels=spec.labels,
            evidence=evidence,
            bias=self.model.bias.cpu().numpy(),
            regions=REGIONS,
            region_evidence=share_by_region(evidence, masks, origin=origin, step=step),
            grid_origin=origin,
            grid_step=step,
            scale=spec.evidence_scale,
        )

    def image_result(self, image: RGBImage, faces: list[FaceResult]) -> ImageResult:
        """Put together what is known about one image."""
        return ImageResult(
            width=image.shape[1],
            height=image.shape[0],
            faces=tuple(faces),
            model=self.model.spec.name,
            detector=self.detector.name,
        )


def load_pipeline(
    model: str = DEFAULT_MODEL,
    *,
    detector: str = "auto",
    device: str | None = None,
    min_face: int = 40,
    yunet: Path | None = None,
) -> EmotionPipeline:
    """Load a pipeline; takes seconds, so do it once and keep it.

    Args:
        model: a name of :func:`emotion.available_models`, or a path to a weight file.
        detector: ``auto``, ``yunet``, ``hog`` or ``cnn``.
        device: ``cpu``, ``cuda``, ``mps``; by default the best at hand.
        min_face: side in pixels of the smallest face asked for.
        yunet: path of YuNet's ONNX file, where you have one.

    Raises:
        UnknownModelError, WeightsError, DetectorError: see each; ``ValueError`` for the device.
    """
    return EmotionPipeline(
        load_model(model, device=device),
        load_detector(detector, yunet=yunet),
        min_face=min_face,
    )
