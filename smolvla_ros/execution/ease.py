"""Easing in: how the offset between the motion commanded last and a new plan decays to zero.

Joint by joint the offset takes the fastest way to rest at zero under bounds of speed and acceleration: full
acceleration one way, cruise if the speed is used up, full acceleration the other way. That is then averaged over a
sliding window. An average of motions inside the bounds is inside the bounds, the acceleration becomes continuous, and
the offset still arrives exactly, one window later. Before the seam the offset is continued by its derivatives, so that
position, velocity and acceleration are those of the motion commanded last.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .interpolation import evaluate_cubic

Vector = NDArray[np.float64]

_TINY = 1e-12
_SHORTEST_WINDOW_S = 0.001
# Of the acceleration, for an offset that has time.
_GENTLEST = 1e-3


class Bounds(NamedTuple):
    """What an offset may do, [joints]: speeds away from and towards the lower limit, and acceleration; all positive."""

    up: Vector
    down: Vector
    acceleration: Vector


class _Dash(NamedTuple):
    """The fastest way of each joint to rest at zero: three phases of constant acceleration, each [..., joints]."""

    sign: Vector  # the direction of the cruise
    start: Vector  # speed along it at the beginning
    cruise: Vector
    acceleration: Vector
    first: Vector  # durations of the phases [s]
    second: Vector
    third: Vector

    @property
    def duration_s(self) -> Vector:
        return self.first + self.second + self.third


def _dash(position: Vector, velocity: Vector, bounds: Bounds) -> _Dash:
    a = bounds.acceleration
    sign = np.where(position + velocity * np.abs(velocity) / (2.0 * a) > 0.0, -1.0, 1.0)
    distance, start = -sign * position, sign * velocity
    # Without a bound of the speed: up to the peak and straight down again.
    peak = np.sqrt(np.maximum(a * distance + 0.5 * start**2, 0.0))
    cruise = np.minimum(peak, np.where(sign > 0.0, bounds.up, bounds.down))
    first, third = np.abs(cruise - start) / a, cruise / a
    rest = distance - 0.5 * (start + cruise) * first - 0.5 * cruise * third
    second = np.where(rest > _TINY, rest / np.maximum(cruise, _TINY), 0.0)
    return _Dash(sign, start, cruise, a, first, second, third)


def _unhurried(position: Vector, velocity: Vector, duration_s: Vector) -> Vector:
    """[joints] the acceleration with which an offset is gone after exactly that time, if its speed is not bounded."""
    sign = -np.sign(position + 0.5 * velocity * duration_s)
    distance, start = -sign * position, sign * velocity * duration_s
    half = 2.0 * distance - start
    acceleration: Vector = (half + np.sqrt(half**2 + start**2)) / duration_s**2
    return acceleration


class Ease:
    """An offset [3, joints] that decays to zero inside bounds, none of it before `window_s`.

    Args:
        offset: position, velocity and acceleration at time 0. An acceleration outside the bounds is cut to them.
        bounds: see `Bounds`.
        window_s: [joints] time over which the motion is averaged, see `averaging`.
        leisure_s: an offset that can be gone within this time takes it, with less acceleration, but not past zero.
    """

    def __init__(self, offset: Vector, bounds: Bounds, window_s: Vector, leisure_s: float):
        limit = bounds.acceleration
        acceleration = np.minimum(np.maximum(offset[2], -limit), limit)
        # What, averaged over a window, is the offset at time 0.
        velocity = offset[1] + 0.5 * window_s * acceleration
        position = offset[0] + 0.5 * window_s * velocity - window_s**2 / 6.0 * acceleration
        closing = np.where(position * velocity < 0.0, velocity**2 / (2.0 * np.maximum(np.abs(position), _TINY)), 0.0)
        gentle = np.minimum(np.maximum(_unhurried(position, velocity, leisure_s - window_s), closing), limit)
        dash = _dash(position, velocity, bounds._replace(acceleration=np.maximum(gentle, _GENTLEST * limit)))
        self.duration_s = dash.duration_s + window_s
        self.end_s = float(self.duration_s.max())
        self._tabulate(dash, position, velocity, acceleration, window_s)

    def _tabulate(self, dash: _Dash, position: Vector, velocity: Vector, before: Vector, window_s: Vector) -> None:
        """Cubics between the instants at which the averaged acceleration bends."""
        zero = np.zeros_like(position)
        ends = np.cumsum((zero, dash.first, dash.second, dash.third), axis=0)
        jolt = dash.sign * dash.acceleration
        push = np.array((before, jolt * np.sign(dash.cruise - dash.start), zero, -jolt, zero))
        # State at the beginning of each phase, the one before time 0 being told backwards from there.
        phases = np.empty((5, 4, len(position)))  # integral of the position, position, velocity, acceleration
        phases[0] = phases[1] = (zero, position, velocity, zero)
        phases[:, 3] = push
        for i, duration in enumerate((dash.first, dash.second, dash.third), start=1):
            phases[i + 1, :3] = _after(phases[i], duration)[:3]
        phases[4, 1:] = 0.0
        starts = np.concatenate((ends[:1], ends))
        # The same knots for all joints, so that a control step looks for one place and evaluates one product.
        knots = np.sort(np.concatenate((ends, ends + window_s)), axis=None)
        joint = np.arange(len(position))

        def unaveraged(times: Vector) -> Vector:
            phase = (times[:, None] >= ends[None]).sum(axis=1)
            state = np.moveaxis(phases[phase, :, joint], -1, 0)
            return _after(state, times - starts[phase, joint])

        both = unaveraged(np.concatenate((knots[:, None] + zero, knots[:, None] - window_s)))
        averaged = (both[:, : len(knots)] - both[:, len(knots) :]) * (1.0 / window_s)
        span = np.maximum(knots[1:] - knots[:-1], _TINY)[:, None]
        jerk = (averaged[2, 1:] - averaged[2, :-1]) / span
        self._starts = knots.tolist()
        self._cubics = np.zeros((len(knots), 4, len(position)))
        self._cubics[:-1, 0], self._cubics[:-1, 1] = averaged[0, :-1], averaged[1, :-1]
        self._cubics[:-1, 2], self._cubics[:-1, 3] = 0.5 * averaged[2, :-1], jerk / 6.0

    def at(self, t: float) -> Vector:
        """[3, joints] position, velocity and acceleration at time `t` >= 0."""
        piece = bisect_right(self._starts, t) - 1
        return evaluate_cubic(self._cubics[piece], t - self._starts[piece])

    def positions(self, t: Vector) -> Vector:
        """[times, joints] at times >= 0."""
        piece = np.searchsorted(self._starts, t, side="right") - 1
        u = (t - np.array(self._starts)[piece])[:, None]
        constant, linear, square, cubic = np.moveaxis(self._cubics[piece], 1, 0)
        positions: Vector = constant + u * (linear + u * (square + u * cubic))
        return positions


def _after(state: Vector, duration: Vector) -> Vector:
    """Integral, position, velocity and acceleration [4, ...] after a time under that acceleration."""
    total, x, v, a = state
    return np.array(
        (
            total + duration * (x + duration * (0.5 * v + duration / 6.0 * a)),
            x + duration * (v + 0.5 * duration * a),
            v + duration * a,
            a,
        )
    )


def shortest(offset: Vector, bounds: Bounds) -> Vector:
    """[joints] the time in which an offset [3, joints] can be gone, without averaging."""
    return _dash(offset[0], offset[1], bounds).duration_s


def averaging(offset: Vector, bounds: Bounds, speed: Vector, to_limit: Vector, longest_s: float) -> Vector:
    """[joints] time over which to average: less where a joint has to brake for the plan, or for a limit.

    What is averaged goes on with the acceleration before for half of that time: to a position or a speed beyond.

    Args:
        offset: [3, joints].
        bounds: of the offset.
        speed, to_limit: [joints] of the motion commanded last, and the way to the position limit ahead of it.
        longest_s: what smoothness asks for.
    """
    closing = np.where(offset[0] * offset[1] < 0.0, np.abs(offset[1]), 0.0)
    spare = [way - v**2 / (2.0 * bounds.acceleration) for way, v in ((np.abs(offset[0]), closing), (to_limit, speed))]
    longest = np.minimum(*(way / np.maximum(v, _TINY) for way, v in zip(spare, (closing, speed), strict=True)))
    faster = np.where(offset[1] * offset[2] > 0.0, np.abs(offset[2]), 0.0)
    left = np.where(offset[1] > 0.0, bounds.up, bounds.down) - np.abs(offset[1])
    longest = np.minimum(longest, 2.0 * left / np.maximum(faster, _TINY))
    window_s: Vector = np.clip(longest, _SHORTEST_WINDOW_S, longest_s)
    return window_s
