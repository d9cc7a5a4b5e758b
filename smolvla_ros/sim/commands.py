"""What the servos are told, out of commands as a real arm's controllers take them: set points and trajectories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smolvla_ros.wording import listed

from .trajectory_follower import CommandError, FollowedTrajectory, TrajectoryFollower
from .world import JOINTS

Array = NDArray[np.float64]
Columns = tuple[int, ...]
_MOST = 1000.0  # rad, rad/s: what a servo could ever be told; arithmetic with much more overflows


def check_trajectory(
    names: Sequence[str],
    stamp_ns: int,
    times_ns: Sequence[int],
    positions: Sequence[Sequence[float]],
    velocities: Sequence[Sequence[float]],
) -> tuple[Columns, FollowedTrajectory]:
    """Columns of the arm, rising, and the trajectory for them, out of a message's fields.

    Raises:
        CommandError: unknown or repeated joints, no points, times that do not rise, wrong sizes, values that are not
            finite.
    """
    columns = _columns(names)
    times = np.asarray(times_ns, np.int64)
    if not len(times) or (np.diff(times) <= 0).any() or times[0] < 0:
        seconds = (times[:5] * 1e-9).tolist()
        raise CommandError(f"the points' times are {seconds} s, expected some that rise from 0 or later")
    order = np.argsort(columns)
    rows = np.stack([_finite(row, len(columns), "positions") for row in positions])[:, order]
    rates = None
    if any(len(row) for row in velocities):
        rates = np.stack([_finite(row, len(columns), "velocities") for row in velocities])[:, order]
    return tuple(sorted(columns)), FollowedTrajectory(stamp_ns, times, rows, rates)


def check_positions(names: Sequence[str], positions: Sequence[float]) -> tuple[Columns, Array]:
    """Columns and values of a set point by joint names; without names it is for all joints, in order.

    Raises:
        CommandError: unknown or repeated joints, a wrong number of values, values that are not finite.
    """
    columns = _columns(names) if names else tuple(range(len(JOINTS)))
    return columns, _finite(positions, len(columns), "positions")


class Follower:
    """Turns commands into servo targets; time is an argument, ns on the clock of the commands' stamps. Not thread-safe.

    Args:
        positions: [6] targets until a command comes.
        period_ns: between two calls of `targets`.
    """

    def __init__(self, positions: ArrayLike, period_ns: int):
        self._period_ns = period_ns
        self.hold(positions)

    def hold(self, positions: ArrayLike) -> None:
        """Forgets every command; the targets are `positions` [6]."""
        self._targets = np.array(positions, float)
        self._controllers: dict[Columns, TrajectoryFollower] = {}

    def set_positions(self, columns: Columns, positions: Array) -> None:
        """These joints go to `positions` at once; a trajectory of theirs ends."""
        self._release(columns)
        self._targets[list(columns)] = positions

    def follow(self, columns: Columns, trajectory: FollowedTrajectory, now_ns: int) -> None:
        """Follows `trajectory` with these joints, as a joint_trajectory_controller that has exactly them.

        Raises:
            CommandError: such a controller would refuse it.
        """
        controller = self._controllers.get(columns)
        if controller is None:
            controller = TrajectoryFollower(self._targets[list(columns)], now_ns, self._period_ns)
        controller.receive(trajectory, now_ns)
        if columns not in self._controllers:
            self._release(columns)
            self._controllers[columns] = controller

    def targets(self, now_ns: int, positions: Array, velocities: Array) -> Array:
        """The servo targets [6] at this update, rad, given what is measured, [6] each."""
        for columns, controller in self._controllers.items():
            place = list(columns)
            self._targets[place] = controller.update(now_ns, positions[place], velocities[place])
        return self._targets

    def _release(self, columns: Columns) -> None:
        self._controllers = {own: kept for own, kept in self._controllers.items() if not set(own) & set(columns)}


def _columns(names: Sequence[str]) -> Columns:
    unknown = [name for name in names if name not in JOINTS]
    if unknown or not names or len(set(names)) != len(names):
        raise CommandError(
            f"the joints are {listed(names)}, expected each at most once of {', '.join(JOINTS)}"
        )
    return tuple(JOINTS.index(name) for name in names)


def _finite(values: Sequence[float], count: int, what: str) -> Array:
    array = np.asarray(values, float)
    if array.shape != (count,):
        raise CommandError(f"{len(array)} {what} for {count} joints")
    if not (np.abs(array) <= _MOST).all():  # false for NaN
        raise CommandError(f"the {what} are {array.tolist()}, expected finite numbers up to {_MOST:g}")
    return array
