"""How the joints followed their commands: which command explains which joint, with which factor and delay.

Both are compared by their motion (displacement over `_WINDOW_S`), which a constant offset does not touch, and by their
level. A joint whose own command explains it is beyond suspicion, whatever others do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ..replay.facts import Array, Facts

Flags = NDArray[np.bool_]

DEGREES = math.degrees(1.0)
GAINS = (1.0, -1.0, DEGREES, 1.0 / DEGREES, -DEGREES, -1.0 / DEGREES)  # position / command

_WINDOW_S = 0.3
_LAGS_S = (-0.6, 1.0)
_MAX_SILENCE_S = 0.25  # a controller that commands nothing leaves the arm to others
_MIN_SAMPLES = 50
_MOVES = 0.03  # displacement within the window that a joint exceeds for 5 % of the time, rad
_OWN_EXPLAINS_LITTLE, _OTHER_EXPLAINS = 0.75, 0.5  # unexplained part of the motion, 0 to 1
_AT_REST_APART, _AT_REST_EQUAL = 0.25, 0.05  # rad


@dataclass(frozen=True)
class Tracking:
    """Commands against positions, at the delay that explains most.

    Attributes:
        lag_s: positions follow commands by this much; NaN for an arm at rest.
        unexplained: [commanded joint, measured joint, gain of `GAINS`], the part of the commanded motion that is not in
            the measured one: 0 all explained, 1 as much as nothing, more where they differ. NaN: not commanded to move.
        apart: the same for the level, rms of position / gain - command.
        command_range, position_range: [joints], largest - smallest.
        commanded: [joints], whether there are commands.
    """

    lag_s: float
    unexplained: Array
    apart: Array
    command_range: Array
    position_range: Array
    position_moves: NDArray[np.bool_]
    commanded: NDArray[np.bool_]

    @property
    def command_moves(self) -> NDArray[np.bool_]:
        return np.isfinite(self.unexplained[:, 0, 0])

    def explained(self, command: int, position: int, gain: int = 0) -> float:
        """Part of the variance of a commanded motion that a measured one shows, 0 to 1; NaN without motion."""
        unexplained = self.unexplained[command, position, gain]
        return float(max(0.0, 1.0 - unexplained**2))

    def suspicious(self) -> NDArray[np.bool_]:
        """[joints] that do not show the motion, or at rest the level, of their own commands."""
        own, apart = np.diagonal(self.unexplained[:, :, 0]), np.diagonal(self.apart[:, :, 0])
        at_rest = (apart > _AT_REST_APART) | self.position_moves
        return self.commanded & np.where(self.command_moves, own > _OWN_EXPLAINS_LITTLE, at_rest)

    def other_gain(self, joint: int) -> int | None:
        """The gain, other than 1, with which a suspicious joint's own commands explain it."""
        if not self.command_moves[joint]:
            return None
        gain = int(np.argmin(self.unexplained[joint, joint]))
        return gain if gain and self.unexplained[joint, joint, gain] < _OTHER_EXPLAINS else None

    def permutation(self, gain: int = 0) -> dict[int, int]:
        """Commanded joint -> measured joint, for the suspicious ones that another one's motion explains."""
        joints = np.flatnonzero(self.suspicious())
        if len(joints) < 2:
            return {}
        square = np.ix_(joints, joints)
        unexplained, apart = self.unexplained[..., gain][square], self.apart[..., gain][square]
        moves = self.command_moves[joints, None]
        cost = np.where(moves, unexplained, apart / _AT_REST_APART)
        found = {}
        for row, column in zip(*linear_sum_assignment(np.minimum(cost, 10.0)), strict=True):
            limit = _OTHER_EXPLAINS if moves[row, 0] else _AT_REST_EQUAL / _AT_REST_APART
            if row != column and cost[row, column] < limit and cost[row, column] < 0.5 * cost[row, row]:
                found[int(joints[row])] = int(joints[column])
        return found if set(found) == set(found.values()) else {}


def track(facts: Facts) -> Tracking | None:
    """The comparison, or None without commands, without joint states or without time in common."""
    if len(facts.commands) < 2 or len(facts.positions) < 2:
        return None
    joints = len(facts.positions.values[0])
    grid_ns = _grid(facts)
    commands = _on_grid(facts.commands.times_ns, _filled(facts.commands.rows(joints)), grid_ns)
    positions = _on_grid(facts.positions.times_ns, facts.positions.rows(joints), grid_ns)
    commanded: Flags = np.asarray(np.isfinite(commands).any(axis=0))
    both = np.isfinite(commands[:, commanded]).all(axis=1) & np.isfinite(positions).all(axis=1)
    valid: Flags = np.asarray(both)
    if not commanded.any() or valid.sum() < _MIN_SAMPLES:
        return None
    step_s = float(np.median(np.diff(grid_ns))) / 1e9
    commands[:, ~commanded] = 0.0
    window = max(1, round(_WINDOW_S / step_s))
    lag, unexplained = _best_lag(commands, positions, valid, window, step_s)
    shifted, rows = _shifted(positions, valid, lag)
    followed, whole = _displaced(positions, valid, window)
    return Tracking(
        lag_s=lag * step_s if np.isfinite(unexplained).any() else math.nan,
        unexplained=unexplained,
        apart=_apart(commands[rows], shifted[rows]),
        command_range=np.ptp(commands[valid], axis=0),
        position_range=np.ptp(positions[valid], axis=0),
        position_moves=_moves(followed[whole]),
        commanded=commanded,
    )


def _grid(facts: Facts) -> NDArray[np.int64]:
    times = (facts.commands.times_ns, facts.positions.times_ns)
    step_ns = max(20_000_000, *(int(np.median(np.diff(t))) for t in times))
    return np.arange(max(t[0] for t in times), min(t[-1] for t in times) + 1, step_ns, dtype=np.int64)


def _filled(rows: Array) -> Array:
    """A message may leave joints out: they keep what they were told before."""
    last = np.maximum.accumulate(np.where(np.isfinite(rows), np.arange(len(rows))[:, None], 0), axis=0)
    return np.take_along_axis(rows, last, axis=0)


def _on_grid(times_ns: NDArray[np.int64], rows: Array, grid_ns: NDArray[np.int64]) -> Array:
    """Interpolated, NaN within long silences; times may not be ordered strictly but never fall."""
    result = np.column_stack([np.interp(grid_ns, times_ns, column) for column in rows.T])
    after = np.clip(np.searchsorted(times_ns, grid_ns), 1, len(times_ns) - 1)
    silence_ns = max(_MAX_SILENCE_S * 1e9, 4.0 * float(np.median(np.diff(times_ns))))
    result[times_ns[after] - times_ns[after - 1] > silence_ns] = np.nan
    return result


def _displaced(rows: Array, valid: NDArray[np.bool_], window: int) -> tuple[Array, NDArray[np.bool_]]:
    """rows[k + window] - rows[k], padded to the same length, and where all rows in between are valid."""
    moved, whole = np.zeros_like(rows), np.zeros(len(rows), bool)
    moved[:-window] = rows[window:] - rows[:-window]
    until = np.concatenate([[0], np.cumsum(valid)])
    whole[:-window] = until[window + 1 :] - until[: -window - 1] == window + 1
    return moved, whole


def _shifted(rows: Array, valid: NDArray[np.bool_], lag: int) -> tuple[Array, NDArray[np.bool_]]:
    """rows[k + lag] at k, and where both that and `valid` hold."""
    places = np.arange(len(rows)) + lag
    inside = (places >= 0) & (places < len(rows))
    places = np.clip(places, 0, len(rows) - 1)
    return rows[places], inside & valid & valid[places]


def _moves(moved: Array) -> NDArray[np.bool_]:
    if not len(moved):
        return np.zeros(moved.shape[1], bool)
    return np.asarray(np.percentile(np.abs(moved), 95, axis=0) > _MOVES)


def _best_lag(
    commands: Array, positions: Array, valid: NDArray[np.bool_], window: int, step_s: float
) -> tuple[int, Array]:
    """The lag in steps of the grid, and what is unexplained at it."""
    moved, whole = _displaced(commands, valid, window)
    followed, _ = _displaced(positions, valid, window)
    valid = whole
    joints = commands.shape[1]
    nothing = np.full((joints, joints, len(GAINS)), np.nan)
    if not valid.any():
        return 0, nothing
    moves = _moves(moved[valid])
    if not moves.any():
        return 0, nothing
    best, best_cost, best_lag = nothing, math.inf, 0
    lags = range(math.ceil(_LAGS_S[0] / step_s), math.floor(_LAGS_S[1] / step_s) + 1)
    for lag in sorted(lags, key=abs):
        shifted, rows = _shifted(followed, valid, lag)
        if rows.sum() < _MIN_SAMPLES // 2:
            continue
        unexplained = _unexplained(moved[rows], shifted[rows], moves)
        cost = float(np.minimum(unexplained[moves], 1.0).min(axis=(1, 2)).sum())
        if cost < best_cost - 1e-9:
            best, best_cost, best_lag = unexplained, cost, lag
    return best_lag, best


def _unexplained(moved: Array, followed: Array, moves: NDArray[np.bool_]) -> Array:
    """rms(followed_j / gain - moved_i) / rms(moved_i), from products of sums, [i, j, gain]."""
    product = moved.T @ followed / len(moved)
    commanded, measured = (moved**2).mean(axis=0), (followed**2).mean(axis=0)
    gain = np.array(GAINS)
    squared = (
        measured[None, :, None] / gain**2 - 2.0 * product[:, :, None] / gain + commanded[:, None, None]
    ) / np.maximum(commanded, 1e-12)[:, None, None]
    squared[~moves] = np.nan
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def _apart(commands: Array, positions: Array) -> Array:
    """rms(position_j / gain - command_i), [i, j, gain]."""
    scaled = positions[:, :, None] / np.array(GAINS)
    errors = [((scaled - column[:, None, None]) ** 2).mean(axis=0) for column in commands.T]
    return np.asarray(np.sqrt(np.stack(errors)))
