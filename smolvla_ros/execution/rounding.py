"""Rounding: a path that asks for more acceleration than allowed is smoothed within a tolerance before it is slowed.

The rows of a real policy carry noise of a few mrad, of which the second differences at 30 Hz are larger than what any
arm can accelerate. To follow them exactly would only mean to be slow. So each such joint goes over to the smoothing
spline of its rows (Whittaker 1923, Reinsch 1967): of all paths as near to the rows in the mean square, the one with the
least mean square acceleration. First and last row stay, nothing is delayed, and a straight motion is not changed.

With the ends fixed, second differences are diagonal in the basis of the discrete sine transform (Garcia 2010 has the
cosine transform for free ends), so any strength of smoothing is one factor per frequency.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dst, idst

Vector = NDArray[np.float64]

# Weights of the squared second differences against the squared distances, from hardly anything to half a chunk.
_STRENGTHS: Vector = 2.0 ** np.arange(-4.0, 14.0)
# Of the limits, for a path that asks for twice as much or more: the rest is for going over to it and coming to rest.
_SHARE = 0.5


def rounded(rows: Vector, step_s: float, acceleration: Vector, tolerance: Vector) -> Vector:
    """The rows of a path whose natural cubic spline asks for less acceleration.

    Args:
        rows: [n, joints] in rad or m.
        step_s: time between two rows.
        acceleration: [joints] limits; infinite for a joint that is left as it is.
        tolerance: [joints] how far a row may be moved.

    Returns:
        [n, joints]. Joints inside their limits unchanged; the others smoothed until they ask for as much less than the
        limit as they did for more, half of it at most, or as far as the tolerance permits. The rest has to be slowed.
    """
    n = len(rows)
    if n < 3:
        return rows
    line = rows[0] + np.linspace(0.0, 1.0, n)[:, None] * (rows[-1] - rows[0])
    waves: Vector = dst(rows[1:-1] - line[1:-1], type=1, axis=0)
    difference = 2.0 - 2.0 * np.cos(np.pi * np.arange(1, n - 1) / (n - 1))[:, None]
    curve = difference / (1.0 - difference / 6.0) / step_s**2  # of the natural spline at its knots
    demand = _largest(curve * waves, axis=0) / acceleration
    over = np.flatnonzero(demand > 1.0)
    if not len(over):
        return rows
    waves, target = waves[:, over], np.maximum(1.0 / demand[over], _SHARE)
    kept = 1.0 / (1.0 + _STRENGTHS[:, None, None] * difference**2)
    moved = _largest((1.0 - kept) * waves, axis=1)
    demand = _largest(curve * kept * waves, axis=1) / acceleration[over]
    allowed = moved <= tolerance[over]
    fits = allowed & (demand <= target)
    chosen = np.where(fits.any(axis=0), fits.argmax(axis=0), np.where(allowed, demand, np.inf).argmin(axis=0))
    removed = np.where(allowed.any(axis=0), 1.0 - kept[chosen, :, 0].T, 0.0)
    smooth = rows.copy()
    smooth[1:-1, over] -= idst(removed * waves, type=1, axis=0)
    return smooth


def _largest(waves: Vector, axis: int) -> Vector:
    largest: Vector = np.abs(idst(waves, type=1, axis=axis)).max(axis=axis)
    return largest
