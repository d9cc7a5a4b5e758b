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


def fitted(
    segments: NDArray[np.float64], step_s: float, lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A path that does not leave position limits between rows that lie inside them.

    A spline swings out beyond its rows where they turn. A joint that would leave its limits so is shrunk towards the
    far end of its path until it fits, by what it swings out at most. Where the rows lie outside, it may go as far.

    Args:
        segments: [n, 4, joints] of `segments`.
        lower, upper: [joints].
    """
    rows = segments[:, 0]
    lower, upper = np.minimum(lower, rows.min(axis=0)), np.maximum(upper, rows.max(axis=0))
    # A cubic stays within its Bezier points.
    third = segments[:-1, 1] * (step_s / 3.0)
    inner = np.concatenate((rows[:-1] + third, rows[:-1] + 2.0 * third + segments[:-1, 2] * (step_s**2 / 3.0)))
    joints = np.flatnonzero(((inner < lower) | (inner > upper)).any(axis=0))
    if not len(joints):
        return segments
    found = segments.copy()
    for joint in joints:
        least, most = _extremes(segments[:-1, :, joint], step_s)
        for end, far, limit in ((least, most, lower[joint]), (most, least, upper[joint])):
            if (limit - end) * (far - end) > 0.0:  # beyond the limit, seen from the far end
                found[:, :, joint] *= (far - limit) / (far - end)
                found[:, 0, joint] += far * (1.0 - (far - limit) / (far - end))
    return found


def _extremes(cubics: NDArray[np.float64], step_s: float) -> tuple[float, float]:
    """Smallest and largest value of cubics [n, 4] over a step each."""
    _, c, b, a = cubics.T * np.array([[0.0], [1.0], [2.0], [3.0]])  # of the derivative
    with np.errstate(divide="ignore", invalid="ignore"):
        half = -0.5 * (b + np.copysign(np.sqrt(np.maximum(b * b - 4.0 * a * c, 0.0)), b))
        turns = np.array((np.zeros_like(a), half / a, c / half, np.full_like(a, step_s)))
    u = np.clip(np.nan_to_num(turns), 0.0, step_s)
    values = cubics[:, 0] + u * (cubics[:, 1] + u * (cubics[:, 2] + u * cubics[:, 3]))
    return float(values.min()), float(values.max())


def evaluate_cubic(coefficients: NDArray[np.float64], u: float) -> NDArray[np.float64]:
    """Position, velocity and acceleration, [3, joints], of a cubic [4, joints] at time `u`."""
    powers = np.array(((1.0, u, u * u, u * u * u), (0.0, 1.0, 2.0 * u, 3.0 * u * u), (0.0, 0.0, 2.0, 6.0 * u)))
    return powers @ coefficients
