"""What the servos are told, out of commands as a real arm's controllers take them: set points and trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline

from smolvla_ros.wording import listed

from .world import JOINTS

Array = NDArray[np.float64]
_MOST = 1000.0  # rad, rad/s: what a servo could ever be told; arithmetic with much more overflows


class CommandError(ValueError):
    """A command cannot be followed; the text says what it holds and what is expected."""


@dataclass(frozen=True)
class FollowedTrajectory:
    """Points for some joints: `columns` of the arm, `times_s` from its start, `positions` [points, columns].

    `velocities` of the same shape, or None: then the points are joined by straight lines, as
    joint_trajectory_controller does.
    """

    columns: tuple[int, ...]
    times_s: Array
    positions: Array
    velocities: Array | None

    @classmethod
    def checked(
        cls,
        names: Sequence[str],
        times_s: ArrayLike,
        positions: Sequence[Sequence[float]],
        velocities: Sequence[Sequence[float]],
    ) -> FollowedTrajectory:
        """A trajectory out of a message's fields.

        Raises:
            CommandError: unknown or repeated joints, no points, times that do not rise, wrong sizes, values that
                are not finite.
        """
        columns = _columns(names)
        times = np.asarray(times_s, float)
        if not len(times) or (np.diff(times) <= 0).any() or times[0] < 0 or not np.isfinite(times).all():
            raise CommandError(f"the points' times are {times[:5].tolist()} s, expected some that rise from 0 or later")
        with_velocities = any(len(row) for row in velocities)
        return cls(
            columns,
            times,
            np.stack([_finite(row, len(columns), "positions") for row in positions]),
            np.stack([_finite(row, len(columns), "velocities") for row in velocities]) if with_velocities else None,
        )


def check_positions(names: Sequence[str], positions: Sequence[float]) -> tuple[tuple[int, ...], Array]:
    """Columns and values of a set point by joint names; without names it is for all joints, in order.

    Raises:
        CommandError: unknown or repeated joints, a wrong number of values, values that are not finite.
    """
    columns = _columns(names) if names else tuple(range(len(JOINTS)))
    return columns, _finite(positions, len(columns), "positions")


class Follower:
    """Turns commands into servo targets; time is an argument, in s of any clock. Not thread-safe."""

    def __init__(self, positions: ArrayLike):
        self.hold(positions)

    def hold(self, positions: ArrayLike) -> None:
        """Forgets every command; the targets are `positions` [6]."""
        self._targets = np.array(positions, float)
        self._moves: list[tuple[tuple[int, ...], CubicHermiteSpline | None, Array, Array]] = []

    def set_positions(self, columns: tuple[int, ...], positions: Array) -> None:
        """These joints go to `positions` at once; a trajectory of theirs ends."""
        self._moves = [move for move in self._moves if not set(move[0]) & set(columns)]
        self._targets[list(columns)] = positions

    def follow(self, trajectory: FollowedTrajectory, start_s: float, now_s: float) -> None:
        """Follows `trajectory` from `start_s` on, from where the joints' targets are now."""
        self.targets(now_s)
        columns = list(trajectory.columns)
        self._moves = [move for move in self._moves if not set(move[0]) & set(columns)]
        times = start_s + trajectory.times_s
        ahead = times > now_s
        here = self._targets[columns]
        if not ahead.any():
            self.set_positions(trajectory.columns, trajectory.positions[-1])
            return
        knots = np.concatenate([[now_s], times[ahead]])
        positions = np.concatenate([here[None], trajectory.positions[ahead]])
        spline = None
        if trajectory.velocities is not None:
            # The way to the first point starts with the straight line's slope: the target's own speed is not kept.
            slope = (positions[1] - positions[0]) / (knots[1] - knots[0])
            velocities = np.concatenate([slope[None], trajectory.velocities[ahead]])
            spline = CubicHermiteSpline(knots, positions, velocities)
        self._moves.append((trajectory.columns, spline, knots, positions))

    def targets(self, now_s: float) -> Array:
        """The servo targets [6] at `now_s`, rad."""
        for columns, spline, knots, positions in self._moves:
            at = min(now_s, knots[-1])
            if spline is not None:
                self._targets[list(columns)] = spline(at)
            else:
                self._targets[list(columns)] = [np.interp(at, knots, column) for column in positions.T]
        self._moves = [move for move in self._moves if move[2][-1] > now_s]
        return self._targets


def _columns(names: Sequence[str]) -> tuple[int, ...]:
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
