"""Polynomials in time: rows of a chunk to a continuous motion, and the bridge that joins two motions.

Everything is evaluated as one small matrix product, [3, order] @ [order, joints], because a control step has a few
dozen microseconds and each numpy call costs about one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dptsv

INTERPOLATIONS = ("linear", "cubic")


def segments(rows: NDArray[np.float64], step_s: float, kind: str) -> NDArray[np.float64]:
    """Cubic polynomials between equally spaced rows.

    Args:
        rows: [n, joints], n at least 1.
        step_s: time between two rows.
        kind: 'linear', or 'cubic' for the natural C2 spline.

    Returns:
        [n, 4, joints], coefficients of 1, u, u^2, u^3 with u the time since row i in s. The last row has no
        successor: its polynomial is the constant.
    """
    coefficients = np.zeros((len(rows), 4, rows.shape[1]))
    coefficients[:, 0] = rows
    if len(rows) == 1:
        return coefficients
    slope = (rows[1:] - rows[:-1]) * (1.0 / step_s)  # np.diff takes five times as long
    if kind == "linear" or len(rows) == 2:
        coefficients[:-1, 1] = slope
        return coefficients
    velocity = _natural_spline_velocities(slope)
    before, after = velocity[:-1] - slope, velocity[1:] - slope
    coefficients[:-1, 1] = velocity[:-1]
    coefficients[:-1, 2] = (-1.0 / step_s) * (before + before + after)
    coefficients[:-1, 3] = (1.0 / step_s**2) * (before + after)
    return coefficients


def _natural_spline_velocities(slope: NDArray[np.float64]) -> NDArray[np.float64]:
    """Velocities at the knots that make the acceleration continuous and zero at both ends."""
    n = len(slope) + 1
    diagonal = np.full(n, 4.0)
    diagonal[0] = diagonal[-1] = 2.0
    right = np.empty((n, slope.shape[1]))
    right[0] = 3.0 * slope[0]
    right[1:-1] = 3.0 * (slope[:-1] + slope[1:])
    right[-1] = 3.0 * slope[-1]
    # Positive definite and tridiagonal; scipy's general wrapper costs ten times as much as the solution.
    *_, velocity, info = dptsv(diagonal, np.ones(n - 1), right)
    assert info == 0, "a diagonally dominant matrix was not positive definite"
    return np.asarray(velocity)


def evaluate_cubic(coefficients: NDArray[np.float64], u: float) -> NDArray[np.float64]:
    """Position, velocity and acceleration, [3, joints], of a cubic [4, joints] at time `u`."""
    powers = np.array(((1.0, u, u * u, u * u * u), (0.0, 1.0, 2.0 * u, 3.0 * u * u), (0.0, 0.0, 2.0, 6.0 * u)))
    return powers @ coefficients


# Rows: coefficients of x^3, x^4, x^5 that bring position, velocity and acceleration at x = 0, given in the columns, to
# zero at x = 1.
_QUINTIC_TO_ZERO = np.array(((-10.0, -6.0, -1.5), (15.0, 8.0, 1.5), (-6.0, -3.0, -0.5)))


def decay_to_zero(start: NDArray[np.float64], duration_s: float) -> NDArray[np.float64]:
    """The quintic [6, joints] in x = time / duration that starts at `start` and is at rest at zero at x = 1.

    Args:
        start: [3, joints] position, velocity and acceleration at x = 0.
        duration_s: its length.
    """
    scaled = start * np.array(((1.0,), (duration_s,), (duration_s**2,)))
    coefficients = np.empty((6, start.shape[1]))
    coefficients[:3] = scaled
    coefficients[2] *= 0.5
    np.matmul(_QUINTIC_TO_ZERO, scaled, out=coefficients[3:])
    return coefficients


def evaluate_quintic(coefficients: NDArray[np.float64], x: float, duration_s: float) -> NDArray[np.float64]:
    """Position, velocity and acceleration, [3, joints], of `decay_to_zero` at x in [0, 1]."""
    x2, x3, x4 = x**2, x**3, x**4
    v, a = 1.0 / duration_s, 1.0 / duration_s**2
    powers = np.array(
        (
            (1.0, x, x2, x3, x4, x4 * x),
            (0.0, v, 2.0 * v * x, 3.0 * v * x2, 4.0 * v * x3, 5.0 * v * x4),
            (0.0, 0.0, 2.0 * a, 6.0 * a * x, 12.0 * a * x2, 20.0 * a * x3),
        )
    )
    return powers @ coefficients
