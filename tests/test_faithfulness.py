"""emotion.faithfulness: hide what a map marks, and look again."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from emotion.classify import classify
from emotion.evidence import spread
from emotion.faithfulness import (
    INFILLS,
    MOST,
    SIDE,
    Proof,
    Trial,
    elsewhere,
    hide,
    hottest,
    prove,
    shift,
)
from emotion.parts import part_drops, spearman
from emotion.pipeline import EmotionPipeline
from emotion.regions import OUTSIDE, REGIONS, crop_landmarks, region_map
from emotion.results import FaceResult
from emotion.serialize import proof_json
from tests.clips import drawn


@pytest.fixture(scope="module")
def face(pipeline: EmotionPipeline) -> FaceResult:
    (found,) = pipeline(drawn("happiness")).faces
    return found


@pytest.fixture(scope="module")
def inside(face: FaceResult) -> np.ndarray:
    return region_map(crop_landmarks(face.face, face.to_crop), SIDE) != OUTSIDE


def test_the_hottest_area_has_the_most_evidence_of_its_size(face, inside) -> None:
    mask = hottest(face.explanation, "happiness", inside)
    assert 0 < mask.sum() <= MOST * inside.sum()
    assert not (mask & ~inside).any()
    explanation = face.explanation
    laid = spread(
        explanation.evidence[1], SIDE, origin=explanation.grid_origin, step=explanation.grid_step
    )
    assert laid[mask].min() >= laid[inside & ~mask].max() - 1e-9
    assert laid[mask].min() > 0


def test_nothing_speaks_for_it_so_nothing_is_hidden(pipeline, face) -> None:
    silent = replace(face.explanation, evidence=-np.abs(face.explanation.evidence))
    proof = prove(pipeline.model, replace(face, explanation=silent))
    assert proof.verdict == "nothing to hide"
    assert not proof.mask.any()
    assert "No part of the face speaks for happiness" in proof.sentence


def test_elsewhere_is_as_large_inside_and_apart(face, inside) -> None:
    mask = hottest(face.explanation, "happiness", inside)
    places = elsewhere(mask, inside)
    assert len(places) == 3
    for place in places:
        assert place.sum() >= 0.7 * mask.sum()
        assert place.sum() <= mask.sum()
        assert not (place & ~inside).any()
        assert (place & mask).sum() <= 0.25 * mask.sum()


def test_the_numbers_are_those_of_the_model(pipeline, face) -> None:
    """One infill, done by hand."""
    proof = prove(pipeline.model, face)
    crop = cv2.resize(face.crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grey = hide(crop, proof.mask, "mean")
    before, after = classify(pipeline.model, [crop, grey])
    trial = next(t for t in proof.trials if t.infill == "mean")
    row = before.index("happiness")
    assert trial.hidden == pytest.approx(float(after.probabilities[row]), abs=1e-4)
    assert trial.drop == pytest.approx(float(before.logits[row] - after.logits[row]), abs=1e-3)
    assert proof.before == pytest.approx(float(before.probabilities[row]), abs=0.02)
    assert [t.infill for t in proof.trials] == list(INFILLS)
    assert proof.pictures.shape == (2, SIDE, SIDE, 3)


def test_a_true_map_stands_and_a_false_one_falls(pipeline, face) -> None:
    """The map of the model is supported; its mirror image upside down, which it never used, not."""
    true = prove(pipeline.model, face)
    assert true.verdict == "supported"
    flipped = replace(face.explanation, evidence=face.explanation.evidence[:, ::-1].copy())
    false = prove(pipeline.model, replace(face, explanation=flipped))
    assert false.verdict != "supported"
    drops = [np.median([t.drop for t in proof.trials]) for proof in (true, false)]
    assert drops[0] > drops[1]


def test_the_same_face_gives_the_same_proof(pipeline, face) -> None:
    first, second = (proof_json(prove(pipeline.model, face, "surprise")) for _ in range(2))
    assert first == second
    assert first["label"] == "surprise"


def test_an_unknown_label(pipeline, face) -> None:
    with pytest.raises(ValueError, match="no label 'joy'"):
        prove(pipeline.model, face, "joy")


@pytest.mark.parametrize("infill", INFILLS)
def test_only_what_is_masked_changes(infill: str) -> None:
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:40, 30:60] = True
    out = hide(crop, mask, infill)
    assert np.array_equal(out[~mask], crop[~mask])
    assert (out[mask] != crop[mask]).mean() > 0.9
    assert out[mask].astype(float).std() < crop[mask].astype(float).std()
    hide(crop, np.ones_like(mask), infill)  # all of it: no crash


def test_hiding_nonsense() -> None:
    crop = np.zeros((SIDE, SIDE, 3), np.uint8)
    with pytest.raises(ValueError, match="expected a mask"):
        hide(crop, np.zeros((4, 4), bool), "blur")
    with pytest.raises(ValueError, match="no infill 'paint'"):
        hide(crop, np.zeros((SIDE, SIDE), bool), "paint")


def trial(drop: float, drop_elsewhere: float) -> Trial:
    return Trial("blur", 0.5, 0.5, drop, drop_elsewhere)


@pytest.mark.parametrize(
    ("drop", "drop_elsewhere", "verdict"),
    [
        (3.0, 0.2, "supported"),
        (3.0, -0.5, "supported"),
        (3.0, 2.0, "weak"),
        (0.3, 0.0, "weak"),
        (0.1, 0.3, "weak"),
        (1.0, 1.5, "contradicted"),
        (-1.0, 1.5, "contradicted"),
    ],
)
def test_verdicts(drop: float, drop_elsewhere: float, verdict: str) -> None:
    assert trial(drop, drop_elsewhere).verdict == verdict


def test_two_of_three_must_agree() -> None:
    good, weak, bad = trial(3, 0), trial(3, 2), trial(1, 2)
    mask = np.ones((SIDE, SIDE), bool)
    pictures = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    said = {}
    for trials in ((good, good, bad), (bad, weak, bad), (good, weak, bad), (weak, weak, good)):
        said[trials] = Proof("a", 0.9, 0.2, mask, mask[None], trials, pictures).verdict
    assert list(said.values()) == ["supported", "contradicted", "weak", "weak"]


def test_shift_loses_what_leaves() -> None:
    mask = np.zeros((6, 6), bool)
    mask[1, 2] = mask[5, 5] = True
    moved = shift(mask, 1, -2)
    assert np.argwhere(moved).tolist() == [[2, 0]]
    assert not shift(mask, 6, 0).any()


def test_what_each_part_is_worth(pipeline, face, inside) -> None:
    """The drawn smile hangs on its mouth; one part is hidden by hand to compare."""
    parts = part_drops(pipeline.model, face)
    drops = dict(zip(parts.regions, parts.drops, strict=True))
    assert "outside" not in drops
    assert max(drops, key=lambda name: drops[name]) == "mouth"
    crop = cv2.resize(face.crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    numbers = region_map(crop_landmarks(face.face, face.to_crop), SIDE)
    mouth = numbers == REGIONS.index("mouth")
    crops = [crop, hide(crop, mouth, "blur"), hide(crop, mouth, "mean")]
    before, *after = (float(a.logits[1]) for a in classify(pipeline.model, crops))
    assert drops["mouth"] == pytest.approx(before - sum(after) / 2, abs=1e-3)
    assert -1 <= parts.agreement <= 1
    with pytest.raises(ValueError, match="no label"):
        part_drops(pipeline.model, face, "joy")


def test_rank_correlation() -> None:
    a = np.array([3.0, 1.0, 2.0, 2.0])
    assert spearman(a, a) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    assert spearman(a, np.ones(4)) == 0
    assert spearman(a, np.array([10.0, 0.0, 5.0, 6.0])) == pytest.approx(0.9486833)
