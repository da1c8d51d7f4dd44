"""Affine maps of the plane as (2, 3) float64 matrices."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


def fit_similarity(source: ArrayLike, target: ArrayLike) -> Matrix:
    """Return the rotation, uniform scale and shift that bring points nearest to others.

    Least squares over all points, in closed form: with [a -b; b a] a similarity is linear
    in a, b and the shift.

    Args:
        source, target: (N, 2), N at least 2, not all at one place.

    Returns:
        (2, 3) matrix M with M @ (x, y, 1) = target.

    Raises:
        ValueError: points that fix no similarity.
    """
    points, goal = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if points.shape != goal.shape or points.ndim != 2 or points.shape[1:] != (2,):
        raise ValueError(f"expected two equal (N, 2) arrays, got {points.shape}, {goal.shape}")
    centre, goal_centre = points.mean(0), goal.mean(0)
    p, q = points - centre, goal - goal_centre
    spread = (p**2).sum()
    if not np.isfinite(spread) or spread < 1e-12:
        raise ValueError("the points lie at one place and fix no similarity")
    a = (p * q).sum() / spread
    b = (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum() / spread
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, goal_centre - turn @ centre])


def apply(matrix: Matrix, points: ArrayLike) -> NDArray[np.float64]:
    """Map points (N, 2)."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: Matrix) -> Matrix:
    """Return the map that undoes ``matrix``."""
    turn = np.linalg.inv(matrix[:, :2])
    return np.column_stack([turn, -turn @ matrix[:, 2]])
