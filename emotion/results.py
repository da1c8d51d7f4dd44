"""What the package returns: frozen, checked, and free of any model or picture library.

Arrays are numpy; see each class for shape, dtype, range and units. Two results are equal
only if they are the same object, since arrays have no single truth of equality.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def check_shape(name: str, array: NDArray[np.generic], expected: tuple[int | None, ...]) -> None:
    """Raise ``ValueError`` unless ``array`` has the expected shape; None matches any length."""
    shape = getattr(array, "shape", ())
    fits = len(shape) == len(expected) and all(
        want in (None, have) for want, have in zip(expected, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: expected shape {expected}, got {shape}")


def label_index(labels: tuple[str, ...], label: str) -> int:
    """Return the position of a label.

    Raises:
        ValueError: there is no such label; the message lists those there are.
    """
    if label not in labels:
        raise ValueError(f"no label {label!r}; expected one of {', '.join(labels)}")
    return labels.index(label)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face that a detector found.

    Attributes:
        box: (4,) float32, x1, y1, x2, y2 in image pixels, inside the image.
        score: the detector's own confidence; its scale differs between detectors (yunet: a
            probability; hog and cnn: a margin, above 0).
        landmarks: (68, 2) or (5, 2) float32 image pixels, or None. Sixty-eight are in iBUG
            300-W order; five are the eye on the viewer's left, the other eye, nose tip,
            mouth corner on the viewer's left, the other corner.
    """

    box: FloatArray
    score: float
    landmarks: FloatArray | None = None

    def __post_init__(self) -> None:
        check_shape("box", self.box, (4,))
        if self.landmarks is not None:
            count = 5 if len(self.landmarks) == 5 else 68
            check_shape("landmarks", self.landmarks, (count, 2))


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the model answers for one face.

    Attributes:
        labels: C names, in the order of the model's outputs.
        logits: (C,) float32, already divided by the calibration temperature.
        probabilities: (C,) float32 in [0, 1], the softmax of the logits.
    """

    labels: tuple[str, ...]
    logits: FloatArray
    probabilities: FloatArray

    def __post_init__(self) -> None:
        check_shape("logits", self.logits, (len(self.labels),))
        check_shape("probabilities", self.probabilities, (len(self.labels),))

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.labels[int(self.probabilities.argmax())]

    def index(self, label: str) -> int:
        """Return the position of a label; ``ValueError`` if the model has no such label."""
        return label_index(self.labels, label)

    def probability(self, label: str) -> float:
        """Return the probability of a label, in [0, 1]."""
        return float(self.probabilities[self.index(label)])


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Where on the face each logit comes from. Exact: the parts sum to the logit.

    Attributes:
        labels: C names.
        evidence: (C, h, w) float32, signed, in logits: the share of each cell of the last
            feature map. ``evidence[c].sum() + bias[c]`` is the logit of c.
        bias: (C,) float32, the part of each logit that no face changes.
        regions: R names of parts of the face, from the viewer's side.
        region_evidence: (C, R) float32, in logits: the same evidence shared out among the
            regions; each row and its bias sum to the logit too.
        grid_origin, grid_step: centre of the first cell, and distance between centres, as
            fractions of the crop's side.
        scale: evidence density (logits per crop area) that is shown in full colour.
    """

    labels: tuple[str, ...]
    evidence: FloatArray
    bias: FloatArray
    regions: tuple[str, ...]
    region_evidence: FloatArray
    grid_origin: float
    grid_step: float
    scale: float

    def __post_init__(self) -> None:
        count = len(self.labels)
        check_shape("evidence", self.evidence, (count, None, None))
        check_shape("bias", self.bias, (count,))
        check_shape("region_evidence", self.region_evidence, (count, len(self.regions)))


@dataclass(frozen=True, slots=True, eq=False)
class FaceResult:
    """Everything about one face.

    Attributes:
        face: where it is.
        crop: (S, S, 3) uint8 RGB, the aligned face that the model saw.
        to_crop: (2, 3) float64, maps image pixels (x, y, 1) to the crop's unit square.
        prediction, explanation: the answer, and where it comes from.
        sentence: the explanation of the top label in words.
    """

    face: Face
    crop: NDArray[np.uint8]
    to_crop: NDArray[np.float64]
    prediction: Prediction
    explanation: Explanation
    sentence: str

    def __post_init__(self) -> None:
        check_shape("crop", self.crop, (None, None, 3))
        check_shape("to_crop", self.to_crop, (2, 3))


@dataclass(frozen=True, slots=True, eq=False)
class ImageResult:
    """All faces of one image, the largest first; no face is an empty tuple.

    Attributes:
        width, height: of the image, in pixels.
        faces: one result each.
        model, detector: names of what was used.
    """

    width: int
    height: int
    faces: tuple[FaceResult, ...] = field(default=())
    model: str = ""
    detector: str = ""
