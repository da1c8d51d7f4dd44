"""Similarities are recovered from points, and undone exactly."""

import math

import numpy as np
import pytest

from emotion.geometry import apply, fit_similarity, invert

SEEDS = range(40)


def similarity(rng: np.random.Generator) -> np.ndarray:
    """A random turn, scale (over six orders of magnitude) and shift."""
    angle, scale = rng.uniform(-math.pi, math.pi), 10 ** rng.uniform(-3, 3)
    turn = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    return np.column_stack([turn, rng.uniform(-500, 500, 2)])


@pytest.mark.parametrize("seed", SEEDS)
def test_fit_recovers_a_similarity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = similarity(rng)
    points = rng.uniform(-100, 100, (int(rng.integers(2, 68)), 2))
    found = fit_similarity(points, apply(matrix, points))
    np.testing.assert_allclose(found, matrix, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_inverse_leads_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, points = similarity(rng), rng.uniform(-100, 100, (9, 2))
    np.testing.assert_allclose(apply(invert(matrix), apply(matrix, points)), points, atol=1e-6)


def test_fit_is_the_least_squares_one() -> None:
    rng = np.random.default_rng(0)
    points, goal = rng.normal(size=(2, 20, 2))
    best = fit_similarity(points, goal)

    def error(matrix: np.ndarray) -> float:
        return float(((apply(matrix, points) - goal) ** 2).sum())

    a, b = best[0, 0], best[1, 0]
    for da, db, dx in ((1e-3, 0, 0), (-1e-3, 0, 0), (0, 1e-3, 0), (0, -1e-3, 0), (0, 0, 1e-3)):
        other = np.array([[a + da, -(b + db), best[0, 2] + dx], [b + db, a + da, best[1, 2]]])
        assert error(other) > error(best)


def test_fit_never_mirrors() -> None:
    points = np.array([[0, 0], [1, 0], [0.2, 1]])
    matrix = fit_similarity(points, points * [-1, 1])
    assert np.linalg.det(matrix[:, :2]) >= 0


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (np.zeros((5, 2)), np.ones((5, 2))),
        (np.full((5, 2), 1e6), np.ones((5, 2))),
        (np.full((5, 2), np.nan), np.ones((5, 2))),
        (np.ones((1, 2)), np.ones((1, 2))),
    ],
)
def test_points_at_one_place_fix_nothing(source: np.ndarray, target: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one place"):
        fit_similarity(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (np.zeros((5, 2)), np.zeros((4, 2))),
        (np.zeros((5, 3)), np.zeros((5, 3))),
        (np.zeros(4), np.zeros(4)),
    ],
)
def test_wrong_shapes(source: np.ndarray, target: np.ndarray) -> None:
    with pytest.raises(ValueError, match="equal"):
        fit_similarity(source, target)
