"""How fast a chunk is played: at its own pace where the limits allow it, slower where not, and to rest on its last row.

A chunk is a path q(s) over its own time s, one row per step. A time law s(t) says where on the path the motion is at
the instant t, so that the velocity is q' s' and the acceleration q'' s'^2 + q' s''. As in time-optimal path
parameterisation (Bobrow 1985, Pham 2014), y = s'^2 is bounded at the points of a grid: by the limits, by braking
backwards from rest on the last row, and by speeding up forwards from the first point. s'' is constant between two
points. The path itself is never left.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# The part of the limits that a plan uses: the grid sees the path at half steps only.
HEADROOM = 0.98
# Against a division by zero where nothing moves.
_TINY = 1e-12
_SHORTEST_BRAKE_S = 1e-6


class TimeLaw:
    """s(t), both in s since row 0: t itself before the first knot, the last s at rest after the last one.

    Args:
        s: [knots] chunk time, growing.
        pace: [knots] s' in [0, 1], no two zeros in a row; the last one is 0.
    """

    def __init__(self, s: list[float], pace: list[float]):
        self._s, self._pace = s, pace
        self._t = [s[0]]
        for i in range(len(s) - 1):
            self._t.append(self._t[-1] + 2.0 * (s[i + 1] - s[i]) / (pace[i] + pace[i + 1]))
        self.begin_s, self.end_s = self._t[0], self._t[-1]

    @property
    def knots_s(self) -> list[float]:
        """The instants t at which s'' changes."""
        return self._t

    def at(self, t: float) -> tuple[float, float, float]:
        """s, s' and s'' at `t`."""
        if t < self._t[0]:
            return t, 1.0, 0.0
        if t >= self.end_s:
            return self._s[-1], 0.0, 0.0
        knot = bisect_right(self._t, t) - 1
        elapsed, pace = t - self._t[knot], self._pace[knot]
        change = (self._pace[knot + 1] - pace) / (self._t[knot + 1] - self._t[knot])
        return self._s[knot] + elapsed * (pace + 0.5 * elapsed * change), pace + elapsed * change, change

    def at_many(self, t: Vector) -> tuple[Vector, Vector, Vector]:
        """The same for times of any shape."""
        early, late = t < self._t[0], t >= self.end_s
        if len(self._s) == 1:
            return np.minimum(t, self._s[0]), np.where(early, 1.0, 0.0), np.zeros_like(t)
        knots, pace = np.array(self._t), np.array(self._pace)
        knot = np.clip(np.searchsorted(knots, t, side="right") - 1, 0, len(knots) - 2)
        change = ((pace[1:] - pace[:-1]) / (knots[1:] - knots[:-1]))[knot]
        elapsed = np.clip(t, knots[0], knots[-1]) - knots[knot]
        s = np.array(self._s)[knot] + elapsed * (pace[knot] + 0.5 * elapsed * change)
        speed = np.where(late, 0.0, pace[knot] + elapsed * change)
        return np.where(early, t, s), np.where(early, 1.0, speed), np.where(early | late, 0.0, change)


class Demand(NamedTuple):
    """What the path asks of the limits when it is played at its own pace, the worst joint at each grid point.

    Attributes:
        s: [points] chunk time, the last one that of the last row.
        speed: |q'| / velocity limit.
        push: |q'| / acceleration limit [s]; times |s''| the part used by changing the pace.
        bend: |q''| / acceleration limit; times s'^2 the part used by the path.
    """

    s: Vector
    speed: Vector
    push: Vector
    bend: Vector

    def from_point(self, from_s: float) -> Demand:
        """The rest of the path from a chunk time before its end."""
        first = int(np.searchsorted(self.s, from_s, side="right"))
        rest = Demand(*(array[first - 1 :].copy() for array in self))
        rest.s[0] = from_s
        return rest

    def scaled(self, until_s: float, share: float) -> Demand:
        """As if the limits were only the part `share` of what they are, up to a chunk time."""
        factor: Vector = np.where(self.s < until_s, 1.0 / share, 1.0)
        return Demand(self.s, self.speed * factor, self.push * factor, self.bend * factor)


def demand_of(segments: Vector, step_s: float, velocity: Vector, acceleration: Vector) -> Demand:
    """Looks at a path at its rows and half-way between them.

    Args:
        segments: [n, 4, joints] cubics of `interpolation.segments`, n at least 2.
        step_s: time between two rows.
        velocity, acceleration: [joints] limits; infinite for a joint that does not count.
    """
    _, linear, square, cubic = segments[:-1].transpose(1, 0, 2)
    h = 0.5 * step_s
    rate = np.empty((2 * len(linear) + 1, linear.shape[1]))
    curve = np.empty_like(rate)
    rate[0:-1:2], curve[0:-1:2] = linear, 2.0 * square
    rate[1::2], curve[1::2] = linear + h * (2.0 * square + 3.0 * h * cubic), 2.0 * square + 6.0 * h * cubic
    rate[-1] = linear[-1] + step_s * (2.0 * square[-1] + 3.0 * step_s * cubic[-1])
    curve[-1] = 2.0 * square[-1] + 6.0 * step_s * cubic[-1]
    np.abs(rate, out=rate)
    np.abs(curve, out=curve)
    push: Vector = (rate * (1.0 / (HEADROOM * acceleration))).max(axis=1)
    speed: Vector = (rate * (1.0 / (HEADROOM * velocity))).max(axis=1)
    bend: Vector = (curve * (1.0 / (HEADROOM * acceleration))).max(axis=1)
    return Demand(h * np.arange(float(len(rate))), speed, push, bend)


def time_law(demand: Demand) -> TimeLaw:
    """The fastest law inside the limits that is nowhere faster than the chunk's own pace and ends at rest."""
    caps = 1.0 / np.maximum(np.maximum(demand.speed**2, demand.bend), 1.0)
    push = np.maximum(demand.push[:-1], demand.push[1:]).tolist()
    bend = np.maximum(demand.bend[:-1], demand.bend[1:]).tolist()
    twice = (2.0 * (demand.s[1:] - demand.s[:-1])).tolist()
    free = bool((caps == 1.0).all())
    y, s = caps.tolist(), demand.s.tolist()
    y[-1] = 0.0
    for i in range(len(y) - 2, -1, -1):
        y[i] = min(y[i], (push[i] * y[i + 1] + twice[i]) / (push[i] + twice[i] * bend[i] + _TINY))
        if free and y[i] == 1.0:
            break  # what lies before is played at its own pace
    if not free:
        for i in range(len(y) - 1):
            y[i + 1] = min(y[i + 1], (push[i] * y[i] + twice[i]) / (push[i] + twice[i] * bend[i] + _TINY))
    slowed = next(i for i, value in enumerate(y) if value < 1.0)
    first = max(slowed - 1, 0)
    if free and slowed > 0:  # not from the point of the grid before, but from where it has to be
        way = push[first] * (1.0 - y[slowed]) / (2.0 * (1.0 - bend[first]) + _TINY)
        s[first] = max(s[first], s[slowed] - max(way, _SHORTEST_BRAKE_S))
    return TimeLaw(s[first:], [value**0.5 for value in y[first:]])
