"""What the package returns: frozen, checked, and free of any model or picture library.

Arrays are numpy; see each class for shape, dtype, range and units. Two results are equal
only if they are the same object, since arrays have no single truth of equality.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

NOT_SURE = "not sure"
QUALITY_KINDS = ("dark", "bright", "blurred", "small", "turned")


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


def two_digits(probability: float) -> str:
    """Return a probability as it is shown: two digits, and never a certainty that is not one."""
    return "0.99+" if 0.995 <= probability < 1 else f"{probability:.2f}"


def either(names: Sequence[str]) -> str:
    """Return names as alternatives: "neutral, sadness or anger"."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


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
    """What the model answers for one face: probabilities, and the labels that may be right.

    The threshold is chosen so that on 90 % of faces the set of labels at or above it, with the
    most probable label, holds the one that people gave. That is 90 % of many faces drawn like the
    validation faces it was chosen on: it says nothing about one face, about one emotion, or about
    pictures of another kind (a dark room, another camera), where the share may well be lower.

    Attributes:
        labels: C names, in the order of the model's outputs.
        logits: (C,) float32, already divided by the calibration temperature.
        probabilities: (C,) float32 in [0, 1], the softmax of the logits.
        set_threshold: probability, above 0, from which on a label belongs to the set; 1 for no
            sets: then the most probable label stands alone, as if it were sure.

    Source: split conformal prediction with least ambiguous sets, Sadinle, Lei and Wasserman,
    JASA 2019, arXiv:1609.00451; introduced in Angelopoulos and Bates, arXiv:2107.07511.
    """

    labels: tuple[str, ...]
    logits: FloatArray
    probabilities: FloatArray
    set_threshold: float = 1.0

    def __post_init__(self) -> None:
        check_shape("logits", self.logits, (len(self.labels),))
        check_shape("probabilities", self.probabilities, (len(self.labels),))
        if not 0 < self.set_threshold <= 1:
            raise ValueError(
                f"set_threshold: expected above 0, at most 1, got {self.set_threshold}"
            )

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.labels[int(self.probabilities.argmax())]

    @property
    def candidates(self) -> tuple[str, ...]:
        """The labels that may be right, the most probable first; the first is :attr:`label`.

        All labels that reach the threshold. Where none does, the two most probable ones: naming
        the best of such weak answers alone would look like certainty. That rule only adds labels
        to a set, so the promised coverage is kept.
        """
        order = np.argsort(-self.probabilities, kind="stable")
        size = 1 if self.set_threshold == 1 else self.reached or 2
        return tuple(self.labels[i] for i in order[:size])

    @property
    def reached(self) -> int:
        """How many labels reach the threshold."""
        return int((self.probabilities >= self.set_threshold).sum())

    @property
    def sure(self) -> bool:
        """Whether only one label may be right."""
        return len(self.candidates) == 1

    @property
    def answer(self) -> str:
        """The answer in words, as it is shown everywhere.

        "happiness" for one candidate, "happiness or surprise" for two that reach the threshold.
        "not sure" for more, and where not even the most probable label reaches the threshold.
        """
        if self.sure or (len(self.candidates) == 2 and self.reached == 2):
            return either(self.candidates)
        return NOT_SURE

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


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a face can be read, as plain numbers; see :mod:`emotion.quality`.

    Attributes:
        brightness: mean grey of the crop, 0 to 255.
        contrast: standard deviation of the crop's grey, 0 to 127.5.
        sharpness: variance of the Laplacian over the variance of the grey, both of the crop at
            48 pixels; no unit, 0 or more. It does not change with the contrast of the picture.
        size: mean of the width and height of the face's box, in image pixels.
        turn: where the nose is between the eyes: 0 in the middle, -1 at the eye on the viewer's
            left, 1 at the other; None without landmarks.
    """

    brightness: float
    contrast: float
    sharpness: float
    size: float
    turn: float | None = None

    def __post_init__(self) -> None:
        limits = {"brightness": 255.0, "contrast": 127.5, "sharpness": np.inf, "size": np.inf}
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise ValueError(f"{name}: expected 0 to {limit}, got {value}")
        if self.turn is not None and not -1 <= self.turn <= 1:
            raise ValueError(f"turn: expected -1 to 1 or None, got {self.turn}")


@dataclass(frozen=True, slots=True)
class QualityNote:
    """One reason why a face's answer may be wrong more often than usual.

    Attributes:
        kind: one of :data:`QUALITY_KINDS`. text: a sentence for the reader.
    """

    kind: str
    text: str

    def __post_init__(self) -> None:
        if self.kind not in QUALITY_KINDS:
            raise ValueError(f"kind: expected one of {', '.join(QUALITY_KINDS)}, got {self.kind!r}")


@dataclass(frozen=True, slots=True, eq=False)
class FaceResult:
    """Everything about one face.

    Attributes:
        face: where it is.
        crop: (S, S, 3) uint8 RGB, the aligned face that the model saw.
        to_crop: (2, 3) float64, maps image pixels (x, y, 1) to the crop's unit square.
        prediction, explanation: the answer, and where it comes from.
        sentence: the answer, and the explanation of the top label, in words.
        quality: how well the face can be read. notes: what may be wrong with it, in words.
    """

    face: Face
    crop: NDArray[np.uint8]
    to_crop: NDArray[np.float64]
    prediction: Prediction
    explanation: Explanation
    sentence: str
    quality: Quality
    notes: tuple[QualityNote, ...] = ()

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
