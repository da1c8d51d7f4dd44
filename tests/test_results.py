"""Results cannot be changed, and cannot be made with arrays of the wrong shape."""

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from emotion.cam import CamMap
from emotion.pipeline import AlignedFace
from emotion.results import Explanation, Face, FaceResult, ImageResult, Prediction
from emotion.weights import ModelSpec

LABELS = ("happiness", "fear")


def make_face() -> Face:
    return Face(box=np.array([1, 2, 3, 4], np.float32), score=0.5)


def make_prediction() -> Prediction:
    return Prediction(LABELS, np.array([2.0, 0.0], np.float32), np.array([0.9, 0.1], np.float32))


def make_explanation() -> Explanation:
    return Explanation(
        labels=LABELS,
        evidence=np.zeros((2, 7, 7), np.float32),
        bias=np.zeros(2, np.float32),
        regions=("nose", "mouth", "outside"),
        region_evidence=np.zeros((2, 3), np.float32),
        grid_origin=0.1,
        grid_step=0.1,
        scale=10.0,
    )


def make_result() -> FaceResult:
    return FaceResult(
        face=make_face(),
        crop=np.zeros((8, 8, 3), np.uint8),
        to_crop=np.eye(2, 3),
        prediction=make_prediction(),
        explanation=make_explanation(),
        sentence="",
    )


@pytest.mark.parametrize(
    "kind",
    [Face, Prediction, Explanation, FaceResult, ImageResult, AlignedFace, CamMap, ModelSpec],
)
def test_dataclasses_are_frozen_and_slotted(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert set(kind.__slots__) == {f.name for f in fields(kind)}  # type: ignore[attr-defined]
    assert not hasattr(object.__new__(kind), "__dict__")


@pytest.mark.parametrize(
    "result", [make_face(), make_prediction(), make_explanation(), make_result(), ImageResult(1, 1)]
)
def test_fields_cannot_be_set(result: object) -> None:
    name = fields(result)[0].name  # type: ignore[arg-type]
    with pytest.raises(FrozenInstanceError):
        setattr(result, name, None)


@pytest.mark.parametrize("count", [5, 68])
def test_face_takes_five_or_sixty_eight_landmarks(count: int) -> None:
    landmarks = np.zeros((count, 2), np.float32)
    assert replace(make_face(), landmarks=landmarks).landmarks is landmarks


@pytest.mark.parametrize("shape", [(6, 2), (67, 2), (5, 3), (0, 2), (5,)])
def test_face_refuses_other_landmarks(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="landmarks: expected shape"):
        replace(make_face(), landmarks=np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("result", "change"),
    [
        (make_face(), {"box": np.zeros(5, np.float32)}),
        (make_face(), {"box": [1, 2, 3, 4]}),
        (make_prediction(), {"logits": np.zeros(3, np.float32)}),
        (make_prediction(), {"probabilities": np.zeros((1, 2), np.float32)}),
        (make_explanation(), {"evidence": np.zeros((3, 7, 7), np.float32)}),
        (make_explanation(), {"evidence": np.zeros((2, 49), np.float32)}),
        (make_explanation(), {"bias": np.zeros(1, np.float32)}),
        (make_explanation(), {"region_evidence": np.zeros((2, 4), np.float32)}),
        (make_result(), {"crop": np.zeros((8, 8), np.uint8)}),
        (make_result(), {"to_crop": np.eye(3)}),
    ],
)
def test_wrong_shape_names_the_field(result: object, change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(change))}: expected shape .* got"):
        replace(result, **change)  # type: ignore[type-var]


def test_prediction_answers_by_label() -> None:
    prediction = make_prediction()
    assert prediction.label == "happiness"
    assert prediction.index("fear") == 1
    assert prediction.probability("fear") == pytest.approx(0.1)


def test_unknown_label_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no label 'joy'; expected one of happiness, fear"):
        make_prediction().probability("joy")


def test_no_face_is_an_empty_tuple() -> None:
    assert ImageResult(width=3, height=2).faces == ()
