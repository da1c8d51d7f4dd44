"""Results cannot be changed, and cannot be made with arrays of the wrong shape."""

from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from emotion.cam import CamMap
from emotion.pipeline import AlignedFace
from emotion.quality import Limit
from emotion.results import (
    Explanation,
    Face,
    FaceResult,
    ImageResult,
    Prediction,
    Quality,
    QualityNote,
    either,
    two_digits,
)
from emotion.weights import ModelSpec

LABELS = ("happiness", "fear")


def make_face() -> Face:
    return Face(box=np.array([1, 2, 3, 4], np.float32), score=0.5)


def make_prediction() -> Prediction:
    return Prediction(LABELS, np.array([2.0, 0.0], np.float32), np.array([0.9, 0.1], np.float32))


def answer_of(threshold: float, **probabilities: float) -> Prediction:
    """A prediction of given probabilities; the labels are in the order given."""
    values = np.array(list(probabilities.values()), np.float32)
    return Prediction(tuple(probabilities), np.log(values), values, threshold)


def make_quality() -> Quality:
    return Quality(brightness=120.0, contrast=50.0, sharpness=0.5, size=80.0, turn=-0.1)


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
        quality=make_quality(),
    )


@pytest.mark.parametrize(
    "kind",
    [
        Face,
        Prediction,
        Explanation,
        FaceResult,
        ImageResult,
        Quality,
        QualityNote,
        AlignedFace,
        CamMap,
        Limit,
        ModelSpec,
    ],
)
def test_dataclasses_are_frozen_and_slotted(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert set(kind.__slots__) == {f.name for f in fields(kind)}  # type: ignore[attr-defined]
    assert not hasattr(object.__new__(kind), "__dict__")


@pytest.mark.parametrize(
    "result",
    [
        make_face(),
        make_prediction(),
        make_explanation(),
        make_result(),
        make_quality(),
        QualityNote("dark", "Dark picture."),
        ImageResult(1, 1),
    ],
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


@pytest.mark.parametrize(
    ("threshold", "probabilities", "candidates", "answer"),
    [
        # No sets: the top label stands alone, however weak.
        (1.0, {"joy": 0.3, "fear": 0.4, "awe": 0.3}, ("fear",), "fear"),
        (0.35, {"joy": 0.05, "fear": 0.9, "awe": 0.05}, ("fear",), "fear"),
        (0.35, {"joy": 0.4, "fear": 0.5, "awe": 0.1}, ("fear", "joy"), "fear or joy"),
        (0.3, {"joy": 0.31, "fear": 0.36, "awe": 0.33}, ("fear", "awe", "joy"), "not sure"),
        # The top label is below the threshold: never sure, and the two best are listed.
        (0.45, {"joy": 0.3, "fear": 0.4, "awe": 0.3}, ("fear", "joy"), "not sure"),
        # A tie is broken by the order of the labels.
        (0.3, {"joy": 0.5, "fear": 0.5}, ("joy", "fear"), "joy or fear"),
        # A label right at the threshold belongs to the set.
        (0.25, {"joy": 0.75, "fear": 0.25}, ("joy", "fear"), "joy or fear"),
    ],
)
def test_candidates_and_answer(
    threshold: float, probabilities: dict[str, float], candidates: tuple[str, ...], answer: str
) -> None:
    prediction = answer_of(threshold, **probabilities)
    assert prediction.candidates == candidates
    assert prediction.answer == answer
    assert prediction.sure is (len(candidates) == 1)


def test_sets_hold_at_least_what_the_threshold_promises() -> None:
    """Never less than the labels at or above it, and always the label that is shown."""
    random = np.random.default_rng(0)
    for threshold in (0.05, 0.2, 0.35, 0.6, 0.99):
        for row in random.dirichlet(np.full(8, 0.4), 200).astype(np.float32):
            prediction = Prediction(tuple("abcdefgh"), np.log(row + 1e-9), row, threshold)
            reached = {n for n, p in zip("abcdefgh", row, strict=True) if p >= threshold}
            assert reached <= set(prediction.candidates)
            assert prediction.candidates[0] == prediction.label
            shown = [prediction.probability(name) for name in prediction.candidates]
            assert shown == sorted(shown, reverse=True)
            assert not (prediction.sure and row.max() < threshold)


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.1, float("nan")])
def test_impossible_threshold(threshold: float) -> None:
    with pytest.raises(ValueError, match="set_threshold: expected above 0"):
        replace(make_prediction(), set_threshold=threshold)


def test_alternatives_in_words() -> None:
    assert [either(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a or b",
        "a, b or c",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"brightness": 256.0},
        {"contrast": -1.0},
        {"sharpness": float("nan")},
        {"size": -0.5},
        {"turn": 1.2},
        {"turn": float("nan")},
    ],
)
def test_impossible_measures_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(change))}: expected"):
        replace(make_quality(), **change)


def test_unknown_note_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of dark, bright, blurred, small, turned"):
        QualityNote("foggy", "")


def test_nearly_certain_is_not_shown_as_certain() -> None:
    values = (0.0, 0.004, 0.4567, 0.994, 0.996, 1.0)
    assert [two_digits(v) for v in values] == ["0.00", "0.00", "0.46", "0.99", "0.99+", "1.00"]
