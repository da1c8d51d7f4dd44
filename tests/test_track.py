"""emotion.track: which face is which from frame to frame."""

import numpy as np
import pytest

from emotion.results import FloatArray, Prediction
from emotion.smooth import Smoother
from emotion.track import Track, assign, cost, thumbnail


def look(seed: int) -> FloatArray:
    values = np.random.default_rng(seed).normal(size=256).astype(np.float32)
    values -= values.mean()
    return values / np.linalg.norm(values)


def box(x: float, y: float = 100, side: float = 80) -> FloatArray:
    return np.array([x, y, x + side, y + side], np.float32)


def track(number: int, x: float, at: float = 0.0, seed: int | None = None) -> Track:
    half = np.full(2, 0.5, np.float32)
    smoother = Smoother.start(Prediction(("a", "b"), half, half), at)
    return Track(number, box(x), at, look(number if seed is None else seed), smoother)


def test_the_nearest_and_most_alike_wins() -> None:
    tracks = [track(1, 100), track(2, 200)]
    found = assign(tracks, [box(195), box(105)], [look(2), look(1)], 0.03)
    assert {i: t.number for i, t in found.items()} == {0: 2, 1: 1}


def test_a_new_face_gets_no_track() -> None:
    assert assign([track(1, 100)], [box(400)], [look(9)], 0.03) == {}
    assert assign([], [box(400)], [look(9)], 0.03) == {}
    assert assign([track(1, 100)], [], [], 0.03) == {}


def test_faces_that_cross_keep_their_numbers() -> None:
    """Both move on; at the crossing place says nothing, motion and look do."""
    tracks = [track(1, 100), track(2, 300)]
    for frame in range(1, 41):
        at, step = frame / 30, 5.0 * frame
        boxes, looks = [box(300 - step), box(100 + step)], [look(2), look(1)]
        found = assign(tracks, boxes, looks, at)
        assert {i: t.number for i, t in found.items()} == {0: 2, 1: 1}, frame
        for i, one in found.items():
            one.move(boxes[i], looks[i], at)


def test_motion_is_learnt_and_not_trusted_for_long() -> None:
    one = track(1, 100)
    for frame in range(1, 31):
        one.move(box(100 + 6 * frame), look(1), frame / 30)
    assert one.velocity[0] == pytest.approx(180, rel=0.05)
    soon, late = one.expected(31 / 30), one.expected(5.0)
    assert soon[0] == pytest.approx(286, abs=1)
    assert late[0] < 320


def test_one_that_returns_elsewhere_is_known_by_its_look() -> None:
    gone = track(1, 50, at=0.0)
    assert np.isfinite(cost(gone, box(400), look(1), 1.0))
    assert not np.isfinite(cost(gone, box(400), look(7), 1.0))
    assert not np.isfinite(cost(gone, box(400), look(1), 0.03))  # nobody jumps in a frame


def test_thumbnails_forget_light_and_contrast() -> None:
    rng = np.random.default_rng(0)
    crop = rng.integers(60, 120, (192, 192, 3)).astype(np.uint8)
    crop[60:120, 40:150] += 60
    brighter = np.clip(crop * 1.2 + 20, 0, 255).astype(np.uint8)
    assert thumbnail(crop) @ thumbnail(brighter) > 0.99
    assert not thumbnail(np.full((192, 192, 3), 40, np.uint8)).any()
