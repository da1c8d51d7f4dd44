"""The measures follow what is done to a face, and the notes tell what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from emotion.detect import HogDetector, YunetDetector
from emotion.images import RGBImage, load_image
from emotion.labels import FERPLUS
from emotion.landmarks import MEAN_FACE, YUNET_FIVE
from emotion.model import EmotionModel
from emotion.pipeline import EmotionPipeline
from emotion.quality import LIMITS, measure, notes
from emotion.results import QUALITY_KINDS, Face, Quality
from emotion.weights import WEIGHTS_DIR, load_spec
from train.faces import FaceDataset
from train.quality import SIZES, Trial, find, measure_quality, note_figures, record, table

EXAMPLES = Path(__file__).resolve().parents[1] / "emotion" / "examples"
GOOD = Quality(brightness=120.0, contrast=50.0, sharpness=0.5, size=80.0, turn=0.1)


def box_of(side: float) -> Face:
    return Face(np.array([10, 20, 10 + side, 20 + side], np.float32), 1.0)


@pytest.fixture(scope="module")
def crop(face_tile: RGBImage) -> RGBImage:
    """A real face, (96, 96, 3)."""
    return cv2.resize(face_tile[40:160, 35:155], (96, 96), interpolation=cv2.INTER_AREA)


def sharpness_of(crop: RGBImage) -> float:
    return measure(crop, box_of(50)).sharpness


def test_brightness_and_contrast_are_in_grey_levels() -> None:
    halves = np.zeros((48, 48), np.uint8)
    halves[:, 24:] = 200
    quality = measure(halves, box_of(50))
    assert (quality.brightness, quality.contrast) == (100.0, 100.0)


def test_grey_and_coloured_crops_measure_alike(crop: RGBImage) -> None:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    coloured = np.repeat(grey[..., None], 3, 2)
    assert measure(grey, box_of(50)) == measure(coloured, box_of(50))


def test_sharpness_does_not_depend_on_contrast(crop: RGBImage) -> None:
    faint = np.rint(crop * 0.5 + 60).astype(np.uint8)
    assert sharpness_of(faint) == pytest.approx(sharpness_of(crop), rel=0.05)


@pytest.mark.parametrize("factor", [2, 3, 6])
def test_sharpness_does_not_depend_on_the_crops_size(crop: RGBImage, factor: int) -> None:
    larger = np.repeat(np.repeat(crop, factor, 0), factor, 1)
    assert sharpness_of(larger) == pytest.approx(sharpness_of(crop), rel=0.01)


def test_blur_lowers_sharpness_step_by_step(crop: RGBImage) -> None:
    steps = [sharpness_of(cv2.GaussianBlur(crop, (0, 0), sigma)) for sigma in (1, 2, 3, 5)]
    assert sharpness_of(crop) > steps[0]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] < 0.1 < sharpness_of(crop)


def test_an_even_crop_has_no_sharpness() -> None:
    assert sharpness_of(np.full((48, 48, 3), 7, np.uint8)) == 0


def test_size_is_the_mean_side_of_the_box(crop: RGBImage) -> None:
    face = Face(np.array([5, 5, 35, 45], np.float32), 1.0)
    assert measure(crop, face).size == 35


@pytest.mark.parametrize("points", [YUNET_FIVE, MEAN_FACE], ids=["five", "sixty-eight"])
def test_turn_follows_the_nose(crop: RGBImage, points: np.ndarray) -> None:
    nose = 2 if len(points) == 5 else 30

    def turn_of(shift: float, turned: float = 0.0) -> float | None:
        moved = points.copy()
        moved[nose, 0] += shift
        spin = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
        landmarks = (100 * moved @ spin.T).astype(np.float32)
        return measure(crop, replace(box_of(50), landmarks=landmarks)).turn

    assert turn_of(0) == pytest.approx(0, abs=1e-3)
    right = turn_of(0.1)
    assert right is not None
    assert 0.4 < right < 0.7
    assert turn_of(-0.1) == pytest.approx(-right, abs=1e-3)
    assert turn_of(0.1, turned=0.6) == pytest.approx(right, abs=0.02)  # a head on its side
    assert (turn_of(2), turn_of(-2)) == (1, -1)


def test_no_turn_without_sound_landmarks(crop: RGBImage) -> None:
    assert measure(crop, box_of(50)).turn is None
    nowhere = YUNET_FIVE.astype(np.float32)
    nowhere[2] = np.nan
    for landmarks in (np.zeros((5, 2), np.float32), nowhere):
        assert measure(crop, replace(box_of(50), landmarks=landmarks)).turn is None


def test_wrong_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a crop"):
        measure(np.zeros((4, 5, 3), np.uint8), box_of(50))


def test_a_good_face_gets_no_note() -> None:
    assert notes(GOOD, {}) == ()
    assert notes(replace(GOOD, turn=None), {}) == ()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("dark", {"brightness": 5.0}),
        ("bright", {"brightness": 250.0}),
        ("blurred", {"sharpness": 0.01}),
        ("small", {"size": 12.0}),
        ("turned", {"turn": 0.95}),
        ("turned", {"turn": -0.95}),
    ],
)
def test_each_kind_has_its_note(kind: str, change: dict[str, float]) -> None:
    quality = replace(GOOD, **change)
    (plain,) = notes(quality, {})
    assert plain.kind == kind
    assert plain.text.endswith(": the answer may be less reliable.")
    (told,) = notes(quality, {kind: 0.784, "all": 0.8737})
    assert "the model is right 78 times in 100 (87 on ordinary ones)." in told.text
    (alone,) = notes(quality, {kind: 0.784})
    assert alone.text.endswith("right 78 times in 100.")
    # A model that is no worse on such faces has nothing to warn of.
    assert notes(quality, {kind: 0.88, "all": 0.8737}) == ()


def test_several_notes_in_a_fixed_order() -> None:
    quality = Quality(brightness=3.0, contrast=1.0, sharpness=0.0, size=10.0, turn=1.0)
    found = [note.kind for note in notes(quality, {})]
    assert found == ["dark", "blurred", "small", "turned"]
    assert tuple(limit.kind for limit in LIMITS) == QUALITY_KINDS


@pytest.fixture(scope="module")
def drawn(pipeline: EmotionPipeline) -> FaceDataset:
    """The drawn faces as a data set of four, 48x48 grey."""
    names = ("happiness", "surprise", "sadness", "anger")
    faces = [pipeline(load_image(EXAMPLES / f"{name}.jpg")).faces[0] for name in names]
    crops = [cv2.cvtColor(face.crop, cv2.COLOR_RGB2GRAY) for face in faces]
    labels = np.array([FERPLUS.index(name) for name in names])
    return FaceDataset(
        crops=[cv2.resize(crop, (48, 48), interpolation=cv2.INTER_AREA) for crop in crops],
        targets=np.eye(8, dtype=np.float32)[labels],
        labels=labels,
        names=names,
        fer2013=np.full(4, -1),
    )


def test_figures_of_a_model(model: EmotionModel, drawn: FaceDataset) -> None:
    figures = measure_quality(model, drawn)
    assert (figures["n"], figures["all"]) == (4, 1.0)
    assert list(figures["notes"]) == ["dark", "bright", "blurred", "small"]
    small = figures["notes"]["small"]
    below = sum(size < small["limit"] for size in SIZES)
    assert (small["n"], small["alarms"]) == (4 * below, 0.0)
    assert figures["notes"]["blurred"]["n"] > 0
    assert all(row["alarms"] == 0 for row in figures["notes"].values())
    for row in figures["notes"].values():
        assert row["limit"] in [other["limit"] for other in row["tried"]]
    lines: list[str] = []
    table(figures, lines.append)
    assert lines[0] == "all faces as they are: n 4, accuracy 100.00 %"
    assert sum("*" in line for line in lines) == 4


def test_turned_faces_are_found_first(
    model: EmotionModel, drawn: FaceDataset, yunet: YunetDetector
) -> None:
    figures = measure_quality(model, drawn, detector=yunet)
    turned = figures["notes"]["turned"]
    assert (turned["n"], turned["alarms"], turned["accuracy"]) == (0, 0.0, None)
    assert figures["notes"]["dark"]["found"] == 0
    seen = find(yunet, drawn.crops[0], 0)
    assert seen is not None
    crop, face = seen
    assert crop.shape == (192, 192, 3)
    assert 100 < measure(crop, face).size < 200
    assert find(yunet, np.zeros((48, 48), np.uint8), 0) is None


def test_a_detector_without_landmarks_measures_no_turn(
    drawn: FaceDataset, hog: HogDetector
) -> None:
    assert find(hog, drawn.crops[0], 0) is None


def test_note_figures_count_over_all_trials() -> None:
    dark = LIMITS[0]
    grey = [replace(GOOD, brightness=value) for value in (1.0, 100.0, 200.0, 250.0)]
    plain = Trial(grey, np.array([False, True, True, True]))
    black = Trial([replace(GOOD, brightness=2.0)] * 3, np.array([True, False, True]))
    assert note_figures(dark, [plain, black]) == {
        "limit": dark.value,
        "n": 4,
        "accuracy": 0.5,
        "alarms": 0.25,
    }
    empty = note_figures(dark, [Trial([], np.empty(0, bool))])
    assert (empty["n"], empty["accuracy"], empty["alarms"]) == (0, None, None)


def test_only_what_rests_on_enough_faces_is_recorded(tmp_path: Path) -> None:
    weights = tmp_path / "ferplus-face27.safetensors"
    before = load_spec(WEIGHTS_DIR / weights.name)
    weights.with_suffix(".json").write_text(before.to_json())
    rows = {
        "dark": {"n": 60, "accuracy": 0.812345},
        "bright": {"n": 49, "accuracy": 0.5},
        "turned": {"n": 0, "accuracy": None},
    }
    record(weights, {"n": 3199, "all": 0.8737, "notes": rows})
    stored = json.loads(weights.with_suffix(".json").read_text())
    assert stored["quality"] == {"all": 0.8737, "dark": 0.8123}
    assert replace(load_spec(weights), quality=before.quality) == before
