"""train.explain_eval: figures of explanations that mean what they say."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from emotion.evidence import class_evidence
from emotion.faithfulness import INFILLS, SIDE
from emotion.model import EmotionModel
from emotion.regions import OUTSIDE
from tests.clips import drawn
from tests.noise_faces import random_faces
from train.datasets import DataError
from train.explain_eval import explain_eval
from train.explain_facts import facs_overlap
from train.explain_table import lines, table
from train.explain_trials import CHANGES, UNSEEN, cropped, deletion_areas, fill, gaussian
from train.explained import Explained, ask, explained, mean_and_interval, spearman_rows
from train.parts import as_rgb


@pytest.fixture(scope="module")
def seen(model: EmotionModel) -> Explained:
    """The drawn faces, cut as the data set cuts them, roughly."""
    crops = [drawn(name)[60:340, 60:340] for name in ("happiness", "surprise", "anger", "sadness")]
    return explained(model, crops)


def test_all_figures_of_a_few_faces(model: EmotionModel) -> None:
    figures = json.loads(json.dumps(explain_eval(model, random_faces(6), limit=4)))
    assert figures["n"] == 4
    assert figures["gradcam_relative_difference"] < 1e-4
    assert figures["sum_relative_difference"] < 1e-4
    assert set(figures["regions"]) == {"blur", "mean", "inpaint", "noise", "foreign"}
    assert set(figures["stability"]) <= set(CHANGES)
    assert 0 < figures["inside"]["face"] < 1
    assert 0 <= figures["inside"]["evidence"] <= 1
    assert 0 < figures["cost"]["maps_ms"] < figures["cost"]["forward_ms"]
    assert sum(figures["proofs"].values()) == pytest.approx(1)
    said: list[str] = []
    table({"model": "x", "split": "validation", **figures}, said.append)
    assert said[0] == "n 4 faces, x, validation split"
    assert len([s for s in said if s.startswith(("ok", "MISS"))]) == len(lines(figures)) == 26


def test_a_split_without_labels(model: EmotionModel) -> None:
    faces = random_faces(3)
    with pytest.raises(DataError, match="no face with a label"):
        explain_eval(model, replace(faces, labels=np.full(3, -1)), limit=3)


def test_answers_are_those_of_the_model(model: EmotionModel, seen: Explained) -> None:
    maps = class_evidence(model, model.features(seen.crops))
    assert np.allclose(seen.maps, maps, atol=1e-4)
    assert np.allclose(seen.logits, maps.sum((2, 3)) + model.bias.numpy(), atol=1e-4)
    assert seen.regions.shape == (4, SIDE, SIDE)
    assert all(0.3 < (one != OUTSIDE).mean() < 0.95 for one in seen.regions)


def test_a_good_order_of_deletion_ends_the_answer_sooner(
    model: EmotionModel, seen: Explained
) -> None:
    """By the evidence of the drawn smile sooner than by its opposite."""
    from emotion.evidence import spread

    one = Explained(
        seen.crops[:1], seen.regions[:1], seen.logits[:1], seen.maps[:1], seen.labels[:1]
    )
    origin, step = model.spec.grid_on_crop()
    order = spread(one.chosen()[0], SIDE, origin=origin, step=step)
    (sooner,), (later,) = (deletion_areas(model, one, [m]) for m in (order, -order))
    assert 0 <= sooner < later <= 1


def test_spearman_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 12)), rng.integers(0, 4, (5, 12)).astype(float)
    wanted = [spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert np.allclose(spearman_rows(a, b), wanted)
    assert spearman_rows(np.ones((1, 5)), a[:1, :5]).tolist() == [0]


def test_small_changes_are_small() -> None:
    crop = as_rgb(np.random.default_rng(0).integers(0, 255, (12, 12)).astype(np.uint8), SIDE)
    for name, change in CHANGES.items():
        out = change(crop)
        assert out.shape == crop.shape, name
        assert out.dtype == np.uint8
        assert not np.array_equal(out, crop), name
    twice = CHANGES["flip"](CHANGES["flip"](crop))
    assert np.array_equal(twice, crop)
    middle = slice(40, 56)
    assert np.abs(cropped(crop, 0.0).astype(int) - crop)[middle, middle].max() <= 1


def test_the_middle_and_the_interval() -> None:
    bell = gaussian()
    assert bell.sum() == pytest.approx(1, abs=1e-5)
    assert bell.argmax() // SIDE in (SIDE // 2 - 1, SIDE // 2)
    figures = mean_and_interval(np.array([0.0, 1.0] * 50))
    assert figures["mean"] == 0.5
    assert figures["high"] - figures["low"] == pytest.approx(2 * 1.96 * 0.0503, rel=0.01)


def test_one_batch_or_many_is_the_same(model: EmotionModel, seen: Explained, monkeypatch) -> None:
    monkeypatch.setattr("train.explained.BATCH", 3)
    logits, maps = ask(model, seen.crops)
    assert np.allclose(logits, seen.logits, atol=1e-4)
    assert np.allclose(maps, seen.maps, atol=1e-4)


def test_facs_overlap_is_one_where_the_map_lies_on_the_expected_regions(
    model: EmotionModel, seen: Explained
) -> None:
    """A map hot at the mouth alone overlaps with nose and mouth, and not by chance."""
    labels = np.full(len(seen.crops), model.spec.labels.index("disgust"))
    mouth, corner = np.zeros((2, len(seen.crops), 7, 7), np.float32)
    mouth[:, 5, 3] = mouth[:, 4, 3] = 1
    corner[:, 0, 0] = 1
    high = facs_overlap(model, mouth, labels, seen.regions)
    low = facs_overlap(model, corner, labels, seen.regions)
    assert high["mean"] > 2 * high["chance"] > 0
    assert high["disgust"] == high["mean"]
    assert low["mean"] < high["mean"]
    assert high["fear"] is None
    neutral = np.zeros(len(seen.crops), np.int64)
    assert facs_overlap(model, mouth, neutral, seen.regions)["mean"] is None


def test_ways_to_hide_that_no_network_was_trained_with(seen: Explained) -> None:
    crop, other = seen.crops[:2]
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:50, 30:70] = True
    for infill in ("blur", *UNSEEN):
        hidden = fill(crop, mask, infill, other)
        assert np.array_equal(hidden[~mask], crop[~mask])
        assert not np.array_equal(hidden[mask], crop[mask])
    assert np.array_equal(fill(crop, mask, "foreign", other)[mask], other[mask])
    assert set(UNSEEN).isdisjoint(INFILLS), "those are trained with"
