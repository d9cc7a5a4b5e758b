"""A stream of trajectories followed by the rules of joint_trajectory_controller, which runs on most arms.

Facts from its source, version 4.42.1 (Jazzy): a message takes effect at the controller's first update after it came.
Up to the trajectory's first point it goes there from its "state before": what was measured at that update, or with
`interpolate_from_desired_state` what it commanded at the last one, which was meant for an update later. Points with
velocities are joined by cubics, others by straight lines. What it commands at an update is the trajectory an update
later. Stamp 0 means from that first update on. After 6.9.0 it blends (`allow_trajectory_replacement`): a message whose
stamp has passed begins at the last update as if it were stamped then, and until a later stamp the old one goes on.

Knows no ROS and no physics. Time is an argument, ns of the clock of the stamps. Not thread-safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Times = NDArray[np.int64]

_STILL = 1.2e-7  # the largest last velocity that counts as none


class CommandError(ValueError):
    """A command cannot be followed; the text says what it holds and what is expected."""


class Knot(NamedTuple):
    """Where the joints are to be, [joints] in rad or m, s; without velocities the way is a straight line."""

    at_ns: int
    positions: Array
    velocities: Array | None


@dataclass(frozen=True)
class FollowedTrajectory:
    """Points of one message: `times_ns` [points] from its stamp on, positions and velocities [points, joints].

    `stamp_ns` 0: from when it is followed on. Without velocities the points are joined by straight lines.
    """

    stamp_ns: int
    times_ns: Times
    positions: Array
    velocities: Array | None

    def knots(self, start_ns: int) -> list[Knot]:
        """Its points if it begins at `start_ns`."""
        velocities = self.velocities if self.velocities is not None else [None] * len(self.times_ns)
        times = (start_ns + self.times_ns).tolist()
        return [Knot(*point) for point in zip(times, self.positions, velocities, strict=True)]


class TrajectoryFollower:
    """One joint_trajectory_controller.

    Args:
        positions: [joints] that it holds until a trajectory comes.
        now_ns: the time of its activation.
        period_ns: between two updates; what it commands is for so much later.
        from_desired: its parameter interpolate_from_desired_state.
        blends: its parameter allow_trajectory_replacement, after 6.9.0.
    """

    def __init__(
        self,
        positions: ArrayLike,
        now_ns: int,
        period_ns: int,
        *,
        from_desired: bool = False,
        blends: bool = False,
    ):
        held = np.array(positions, float)
        self._period_ns, self._from_desired, self._blends = period_ns, from_desired, blends
        self._before = self._commanded = Knot(now_ns, held, np.zeros_like(held))
        self._knots = [self._commanded]
        self._new: FollowedTrajectory | None = None
        self._updated_ns = now_ns

    def receive(self, trajectory: FollowedTrajectory, now_ns: int) -> None:
        """Takes a message that came at `now_ns`; only the last one before an update counts.

        Raises:
            CommandError: joint_trajectory_controller would refuse it.
        """
        if trajectory.velocities is not None and (np.abs(trajectory.velocities[-1]) > _STILL).any():
            fastest = float(np.abs(trajectory.velocities[-1]).max())
            raise CommandError(f"the last point's velocity is up to {fastest:g} rad/s, expected 0")
        if trajectory.stamp_ns and trajectory.stamp_ns + int(trajectory.times_ns[-1]) < now_ns:
            late_s = (now_ns - trajectory.stamp_ns - int(trajectory.times_ns[-1])) * 1e-9
            raise CommandError(f"it ended {late_s:.3f} s ago, expected an end in the future")
        self._new = trajectory

    def update(self, now_ns: int, positions: ArrayLike, velocities: ArrayLike) -> Array:
        """What it commands at this update, [joints], given what was measured, [joints] each."""
        if self._new is not None:
            self._begin(self._new, now_ns)
            measured = Knot(now_ns, np.array(positions, float), np.array(velocities, float))
            self._before = self._commanded if self._from_desired else measured
            self._new = None
        position, velocity = self._sample(now_ns + self._period_ns)
        self._commanded, self._updated_ns = Knot(now_ns, position, velocity), now_ns
        return position

    def _begin(self, new: FollowedTrajectory, now_ns: int) -> None:
        if not self._blends or len(self._knots) < 2:
            self._knots = new.knots(new.stamp_ns or now_ns)
            return
        last_ns = self._updated_ns
        start_ns = last_ns + max(new.stamp_ns - now_ns, 0)
        kept = [knot for knot in self._knots if last_ns < knot.at_ns < start_ns]
        if new.times_ns[0] > 0:
            kept.append(Knot(start_ns, *self._sample(start_ns)))
        shift_ns = now_ns - last_ns  # the last update counts as this one
        self._knots = [knot._replace(at_ns=knot.at_ns + shift_ns) for knot in (*kept, *new.knots(start_ns))]

    def _sample(self, at_ns: int) -> tuple[Array, Array]:
        knots = self._knots
        if at_ns >= knots[-1].at_ns:
            _, position, velocity = knots[-1]
            return position, velocity if velocity is not None else np.zeros_like(position)
        after = next(index for index, knot in enumerate(knots) if at_ns < knot.at_ns)
        return _between(knots[after - 1] if after else self._before, knots[after], at_ns)


def _between(a: Knot, b: Knot, at_ns: int) -> tuple[Array, Array]:
    """Position and velocity on the way from one knot to the next."""
    length_s = (b.at_ns - a.at_ns) * 1e-9
    x = (at_ns - a.at_ns) / (b.at_ns - a.at_ns)
    slope = (b.positions - a.positions) / length_s
    if a.velocities is None or b.velocities is None:
        return a.positions + x * (b.positions - a.positions), slope
    square, cubic = 3.0 * slope - 2.0 * a.velocities - b.velocities, a.velocities + b.velocities - 2.0 * slope
    position = a.positions + length_s * x * (a.velocities + x * (square + x * cubic))
    velocity: Array = a.velocities + x * (2.0 * square + 3.0 * x * cubic)
    return position, velocity
