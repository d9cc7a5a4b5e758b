"""What is measured of an execution, each defined once, for the replay report and the benchmarks.

The controller counts its idle periods and measures its seam jumps one by one, as defined here.

Positions are [ticks, joints] sampled every `period_s`, in rad or m. A quantity that needs more samples than there are
is NaN, so a short recording gives a gap in a table and no error.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def idle_fraction(has_action: ArrayLike) -> float:
    """Ticks without a valid action / ticks. Synchronous execution has ceil(latency / step) of them per cycle."""
    flags = np.asarray(has_action, dtype=bool)
    return float(1.0 - flags.mean()) if flags.size else math.nan


def seam_jump(last_sent: ArrayLike, first_new: ArrayLike) -> float:
    """Largest joint jump at a change of chunks: max over joints of |first new command - last sent|."""
    return float(np.abs(np.asarray(first_new, dtype=np.float64) - np.asarray(last_sent, dtype=np.float64)).max())


def in_chunk_step(positions: ArrayLike) -> float:
    """Median over ticks of the largest joint step between two rows; the yardstick for seam jumps."""
    rows = np.asarray(positions, dtype=np.float64)
    return float(np.median(np.abs(np.diff(rows, axis=0)).max(axis=1))) if len(rows) > 1 else math.nan


def overlap_disagreement(old: ArrayLike, new: ArrayLike, shift: int) -> float:
    """Mean of |new[k] - old[k + shift]| over the rows that two chunks share, before merging; NaN without overlap.

    Args:
        old, new: [rows, joints] each.
        shift: rows of the old chunk that lie before the first row of the new one, at least 0.
    """
    before, after = np.asarray(old, dtype=np.float64)[shift:], np.asarray(new, dtype=np.float64)
    rows = min(len(before), len(after))
    return float(np.abs(after[:rows] - before[:rows]).mean()) if rows else math.nan


def jerk(positions: ArrayLike, period_s: float) -> Array:
    """Third difference / T^3, [ticks - 3, joints]: (q(t+3) - 3 q(t+2) + 3 q(t+1) - q(t)) / T^3."""
    return np.asarray(np.diff(np.asarray(positions, dtype=np.float64), n=3, axis=0) / period_s**3)


def jerk_rms(positions: ArrayLike, period_s: float) -> Array:
    """Root mean square of the jerk of every joint, [joints]."""
    values = jerk(positions, period_s)
    return np.sqrt((values**2).mean(axis=0)) if len(values) else np.full(values.shape[1], math.nan)


def jerk_percentile(positions: ArrayLike, period_s: float, p: float = 99.0) -> Array:
    """The p-th percentile of |jerk| of every joint, [joints]."""
    values = np.abs(jerk(positions, period_s))
    return np.percentile(values, p, axis=0) if len(values) else np.full(values.shape[1], math.nan)


def log_dimensionless_jerk(positions: ArrayLike, period_s: float) -> Array:
    """LDLJ = -ln(D^3 / v_peak^2 * integral of jerk^2) of every joint, [joints]; closer to zero is smoother.

    Independent of duration and size of the motion (Balasubramanian et al., 2012). NaN for a joint at rest.
    """
    rows = np.asarray(positions, dtype=np.float64)
    squared = jerk(rows, period_s) ** 2
    if not len(squared):
        return np.full(rows.shape[1], math.nan)
    duration_s = (len(rows) - 1) * period_s
    peak = np.abs(np.diff(rows, axis=0)).max(axis=0) / period_s
    integral = squared.sum(axis=0) * period_s
    moving = (peak > 0.0) & (integral > 0.0)
    scaled = np.full(rows.shape[1], math.nan)
    scaled[moving] = -np.log(duration_s**3 / peak[moving] ** 2 * integral[moving])
    return scaled


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a success rate, (low, high) in [0, 1]; (0, 1) without trials."""
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    rate = successes / trials
    centre = rate + z * z / (2.0 * trials)
    spread = z * math.sqrt(rate * (1.0 - rate) / trials + z * z / (4.0 * trials * trials))
    scale = 1.0 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def period_errors(times_s: ArrayLike, period_s: float) -> Array:
    """Control jitter: e_k = t_k - t_(k-1) - T for the instants of consecutive ticks, [ticks - 1]."""
    return np.asarray(np.diff(np.asarray(times_s, dtype=np.float64)) - period_s)


def drift_s(times_s: ArrayLike, period_s: float) -> float:
    """t_N - t_0 - N T: how far the ticks have moved from their grid (a whole number of T for missed ticks)."""
    times = np.asarray(times_s, dtype=np.float64)
    return float(times[-1] - times[0] - (len(times) - 1) * period_s) if len(times) else math.nan
