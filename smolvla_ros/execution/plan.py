"""A plan: the rows of one merged chunk as a continuous motion inside the limits, joined to the motion before it.

Without help, a new chunk begins where the policy believed the arm to be, not where the last command left it, and ends
at full speed. A plan is the path through its rows, played by a time law that comes to rest on the last row, plus an
offset at the seam that decays to zero. All of it is made before the plan is used, from the limits, so that the limiter
behind it finds nothing to change. Averaging the overlap does none of this (docs/explanation/execution.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .ease import Bounds, Ease, averaging, shortest
from .interpolation import evaluate_cubic, fitted, segments
from .rounding import rounded
from .time_law import HEADROOM, Demand, TimeLaw, demand_of, time_law

Vector = NDArray[np.float64]

_S = 1e-9
# What is tried in this order: the part of the limits that is left to the path while the offset decays, and how many
# times as long the offset may then take as with all of the limits for itself.
_TRIES = ((1.0, 1.5), (0.7, 1.5), (0.4, 1.5), (0.15, 1.5), (0.15, 3.0), (0.15, 6.0))
# Of the limits, for path and offset together.
_USED = 0.99
# Of the ease-in time, for averaging.
_WINDOW = 1.0 / 3.0
# Position limits are looked at so often, and not closer to them than this [rad or m].
_LOOK_S, _MOST_LOOKS, _LARGEST_MARGIN = 0.002, 400, 1e-4
# An instant that misses a row by rounding, or by the last braking, is that of the row.
_SAME_ROW = 1e-3


class Motion(NamedTuple):
    """Position, velocity and acceleration of all joints at one instant, each [joints]."""

    position: Vector
    velocity: Vector
    acceleration: Vector

    @classmethod
    def at_rest(cls, position: Vector) -> Motion:
        return cls(position, np.zeros_like(position), np.zeros_like(position))


class Room(NamedTuple):
    """Limits of a plan, [joints]; speed and acceleration infinite for a joint that is not smoothed.

    `tolerance`: how far rows may be moved that ask for more than the acceleration.
    """

    velocity: Vector
    acceleration: Vector
    lower: Vector
    upper: Vector
    tolerance: Vector


class Plan:
    """Rows at `start_ns + i * step_ns`, a polynomial between each two. Not changed once it is in use.

    Until `join` is called the rows are played at their own pace up to the last one, which holds for one step.

    Args:
        rows: [n, joints] in rad or m.
        averaged: [n] how many chunks are in the mean of each row.
        start_ns: instant of row 0 on the ROS clock.
        step_ns: time between two rows.
        interpolation: 'linear' or 'cubic'.
    """

    def __init__(self, rows: Vector, averaged: NDArray[np.int64], start_ns: int, step_ns: int, interpolation: str):
        self.rows = rows
        self.averaged = averaged
        self.start_ns = start_ns
        self.step_ns = step_ns
        # Rows all lie in the past from this instant on, if they are played at their own pace.
        self.expiry_ns = self.end_ns = start_ns + len(rows) * step_ns
        self._step_s = step_ns * _S
        self._last_s = (len(rows) - 1) * self._step_s
        self._interpolation = interpolation
        self._segments = segments(rows, self._step_s, interpolation)
        self._law: TimeLaw | None = None
        self._ease: Ease | None = None
        self._joined_ns = start_ns

    def join(self, last: Motion, at_ns: int, room: Room, ease_s: float) -> Vector:
        """Fits the plan into the limits from `last` on, which was commanded for the instant `at_ns`; once, before use.

        Args:
            ease_s: shortest time in which the offset decays; 0 leaves the seam to the limiter.

        Returns:
            [joints] the distance between `last` and the rows at that instant.
        """
        self._joined_ns = at_ns
        joined_s = max((at_ns - self.start_ns) * _S, 0.0)
        if self._interpolation == "cubic":
            path = rounded(self.rows, self._step_s, HEADROOM * room.acceleration, room.tolerance)
            if path is not self.rows:
                self._segments = segments(path, self._step_s, self._interpolation)
            self._segments = fitted(self._segments, self._step_s, room.lower, room.upper)
        demand = None
        if joined_s < self._last_s:
            demand = demand_of(self._segments, self._step_s, room.velocity, room.acceleration).from_point(joined_s)
        self._law = time_law(demand) if demand is not None else TimeLaw([self._last_s], [0.0])
        distance: Vector = last.position - self._path(at_ns)[0]
        if ease_s > 0.0:
            self._ease_in(last, joined_s, demand, room, ease_s)
        ends_s = max(self._law.end_s, joined_s + (self._ease.end_s if self._ease else 0.0))
        # The last row is held long enough to be commanded once at rest.
        self.end_ns = max(self.expiry_ns, self.start_ns + round(ends_s / _S) + self.step_ns // 4)
        return distance

    def _ease_in(self, last: Motion, joined_s: float, demand: Demand | None, room: Room, ease_s: float) -> None:
        """Lets the offset decay; the path gives way, by a lower pace, where to catch up with it would take too long."""
        smoothed = np.isfinite(room.velocity)
        limits = Bounds(*(np.where(smoothed, limit, 1.0) for limit in (room.velocity, *room[:2])))
        to_limit = np.where(last.velocity > 0.0, room.upper - last.position, last.position - room.lower)
        for share, patience in _TRIES:
            offset = (np.array(last) - self._path(self._joined_ns)) * smoothed
            fastest_s = float(shortest(offset, limits).max())
            within_s = patience * fastest_s + ease_s
            if demand is not None and share < 1.0:
                slowed = time_law(demand.scaled(joined_s + within_s, share))
                passed_s = slowed.at(joined_s + within_s)[0]  # only this part of the path is passed meanwhile
                self._law = time_law(demand.scaled(passed_s, share))
                offset = (np.array(last) - self._path(self._joined_ns)) * smoothed
            bounds = self._left_by_path(within_s, room, smoothed)
            window_s = averaging(offset, bounds, np.abs(last.velocity), to_limit, ease_s * _WINDOW)
            self._ease = Ease(offset, bounds, window_s, ease_s)
            # An offset that starts faster than the path leaves room for must slow down while the path gets faster.
            slow = (offset[1] <= bounds.up) & (-offset[1] <= bounds.down)
            slow |= bounds.acceleration >= 0.5 * limits.acceleration
            if demand is None or (
                self._ease.end_s <= within_s and slow.all() and self._stays_inside(self._ease, last, room)
            ):
                return

    def _stays_inside(self, ease: Ease, last: Motion, room: Room) -> bool:
        """Whether path and offset together keep the position limits where the path alone does.

        Each does by itself, but a joint that brakes for a limit brakes later with what the path leaves of its
        acceleration, and a path may come near a limit while an offset lasts.
        """
        t = np.linspace(0.0, ease.end_s, min(int(ease.end_s / _LOOK_S) + 2, _MOST_LOOKS))
        path = self._path_positions((self._joined_ns - self.start_ns) * _S + t)
        together = path + ease.positions(t)
        # What a motion may do between two looks.
        margin = np.minimum(room.acceleration * t[1] ** 2 / 8.0, _LARGEST_MARGIN)
        lower = np.minimum(np.minimum(room.lower + margin, last.position), path.min(axis=0))
        upper = np.maximum(np.maximum(room.upper - margin, last.position), path.max(axis=0))
        return bool((together.min(axis=0) >= lower).all() and (together.max(axis=0) <= upper).all())

    def _left_by_path(self, within_s: float, room: Room, smoothed: NDArray[np.bool_]) -> Bounds:
        """What the path leaves of the limits until `within_s` after the seam."""
        rates, bends = self._course(within_s)
        velocity, acceleration = (np.where(smoothed, _USED * limit, np.inf) for limit in room[:2])
        floor = 1.0 - HEADROOM / _USED
        return Bounds(
            np.where(smoothed, np.maximum(velocity - rates.max(axis=0), floor * velocity), 1.0),
            np.where(smoothed, np.maximum(velocity + rates.min(axis=0), floor * velocity), 1.0),
            np.where(smoothed, np.maximum(acceleration - np.abs(bends).max(axis=0), floor * acceleration), 1.0),
        )

    def _course(self, within_s: float) -> tuple[Vector, Vector]:
        """Velocity and acceleration of the path alone, [looks, joints] each, at all its bends until `within_s`.

        These are the rows and the knots of the time law, where the acceleration jumps: looked at are both ends and
        the middle of each piece between two of them.
        """
        assert self._law is not None
        begin_s = (self._joined_ns - self.start_ns) * _S
        rows = self._step_s * np.arange(len(self.rows))
        knots = np.concatenate(((begin_s, begin_s + within_s), rows[rows < self._law.begin_s], self._law.knots_s))
        ends = np.sort(np.clip(knots, begin_s, begin_s + within_s))
        middle = 0.5 * (ends[1:] + ends[:-1])
        s, pace, _ = self._law.at_many(np.array((ends[:-1], middle, ends[1:])))
        change = self._law.at_many(middle)[2][:, None]
        u, (_, linear, square, cubic) = self._pieces(s)
        pace = pace[..., None]
        rate = linear + u * (2.0 * square + 3.0 * u * cubic)
        bend = (2.0 * square + 6.0 * u * cubic) * pace**2 + rate * change
        joints = self.rows.shape[1]
        return (rate * pace).reshape(-1, joints), bend.reshape(-1, joints)

    def _path_positions(self, t: Vector) -> Vector:
        """[times, joints] of the path alone, at times [s] since row 0."""
        assert self._law is not None
        u, (constant, linear, square, cubic) = self._pieces(self._law.at_many(t)[0])
        positions: Vector = constant + u * (linear + u * (square + u * cubic))
        return positions

    def _pieces(self, s: Vector) -> tuple[Vector, Vector]:
        """For chunk times of any shape: time since the row before [..., 1] and coefficients [4, ..., joints]."""
        index = np.clip((s * (1.0 / self._step_s)).astype(np.int64), 0, len(self.rows) - 1)
        return (s - index * self._step_s)[..., None], np.moveaxis(self._segments[index], -2, 0)

    def index_at(self, now_ns: int) -> int:
        """The row that is executed at `now_ns`; negative before the first, len(rows) or more after the end."""
        if self._law is None:
            return (now_ns - self.start_ns) // self.step_ns
        if now_ns >= self.end_ns:
            return len(self.rows)
        s = self._law.at((now_ns - self.start_ns) * _S)[0]
        return min(int(s / self._step_s + _SAME_ROW), len(self.rows) - 1)

    def remaining_s(self, now_ns: int) -> float:
        """What is left of the chunk, in its own time [s]."""
        if self._law is None:
            return max(0, self.end_ns - now_ns) * _S
        ahead_s = self._last_s - self._law.at((now_ns - self.start_ns) * _S)[0]
        return ahead_s + min(max(0, self.end_ns - now_ns), self.step_ns) * _S

    def sample(self, now_ns: int) -> Motion:
        """The motion at `now_ns`; after the end the last row at rest."""
        return Motion(*self._sample(now_ns))

    def _sample(self, now_ns: int) -> Vector:
        motion = self._path(now_ns)
        if self._ease is not None:
            since_s = (now_ns - self._joined_ns) * _S
            if since_s < self._ease.end_s:
                motion += self._ease.at(max(since_s, 0.0))
        return motion

    def _path(self, now_ns: int) -> Vector:
        """[3, joints] without the offset."""
        t = max(now_ns - self.start_ns, -self.step_ns) * _S  # the curve goes on before row 0 for what joins it there
        s, pace, change = self._law.at(t) if self._law is not None else (min(t, self._last_s), 1.0, 0.0)
        index = max(min(int(s / self._step_s), len(self.rows) - 1), 0)
        motion = evaluate_cubic(self._segments[index], s - index * self._step_s)
        if pace != 1.0:
            motion[2] = motion[2] * pace**2 + motion[1] * change
            motion[1] *= pace
        return motion

    def positions_at(self, times_ns: NDArray[np.int64]) -> tuple[Vector, NDArray[np.int64]]:
        """Rows interpolated linearly at `times_ns`, without the ease-in, and how many chunks each is a mean of.

        The times must lie between the first row and `end_ns`.
        """
        place = (times_ns - self.start_ns) / self.step_ns
        if self._law is not None:
            place = self._law.at_many(place * self._step_s)[0] / self._step_s
        lower = np.minimum(place.astype(np.int64), len(self.rows) - 1)
        upper = np.minimum(lower + 1, len(self.rows) - 1)
        before, fraction = self.rows[lower], (place - lower)[:, None]
        rows = before + fraction * (self.rows[upper] - before)
        return rows, self.averaged[lower]
