"""The scripted demonstrator: brings the gripper down on a cube and stays there, from any state of the arm.

It is a function of the state alone, so it can label states that no demonstration ever came through. Far from the cube
it goes to a point above it, near the cube it comes down (a funnel), and while the gripper is low and the cube far, the
arm lifts before it turns, so that it does not sweep other cubes off the table. Every joint moves at a bounded speed
and eases out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .kinematics import Kinematics

STEP_S = 1.0 / 30.0
MAX_SPEED = 1.0  # rad/s
CLOSED_GRIPPER = 0.1  # rad

_HOVER_M = 0.05  # above the cube
_PRESS_M = 0.004  # into the cube, so that contact does not hang on a millimetre
_FUNNEL_M = (0.015, 0.06)  # horizontal distance: below the first, straight down; above the second, at hover height
_LIFT_M = 0.04  # this much below hover height, the pan joint waits
_GAIN = 0.2  # of the remaining way per step: eases out over the last 0.17 rad


@dataclass(frozen=True)
class Goal:
    """What it takes to touch one cube: its top's centre [..., 3], and the joints [..., 6] on it and above it."""

    top: NDArray[np.float64]
    touch: NDArray[np.float64]
    hover: NDArray[np.float64]

    @classmethod
    def stack(cls, goals: Sequence[Goal]) -> Goal:
        """Many goals as one, for many states at once."""
        return cls(*(np.stack([getattr(goal, field.name) for goal in goals]) for field in fields(cls)))


class ScriptedExpert:
    """Scripted demonstrations; joints [..., 6] in the order of `world.JOINTS`, rad. Not thread-safe."""

    def __init__(self, kinematics: Kinematics | None = None):
        self.kinematics = kinematics or Kinematics()

    def goal(self, xy: ArrayLike, top_m: float) -> Goal:
        """The goal of touching the cube at `xy` whose top is at height `top_m`.

        Raises:
            UnreachableError: the cube lies outside the arm's reach.
        """
        top = np.array([*np.asarray(xy, float)[:2], top_m])
        touch = self.kinematics.inverse(top - [0.0, 0.0, _PRESS_M], gripper=CLOSED_GRIPPER)
        hover = self.kinematics.inverse(top + [0.0, 0.0, _HOVER_M], gripper=CLOSED_GRIPPER)
        return Goal(top, touch, hover)

    def step(self, joints: NDArray[np.float64], goal: Goal) -> NDArray[np.float64]:
        """The joints one step of `STEP_S` later."""
        tool = self.kinematics.tool(joints)
        distance = np.hypot(tool[..., 0] - goal.top[..., 0], tool[..., 1] - goal.top[..., 1])
        near, far = _FUNNEL_M
        above = np.clip((distance - near) / (far - near), 0.0, 1.0)
        change = goal.touch + above[..., None] * (goal.hover - goal.touch) - joints
        low = np.clip((goal.top[..., 2] + _HOVER_M - tool[..., 2]) / _LIFT_M, 0.0, 1.0)
        change[..., 0] *= 1.0 - 0.9 * low * above
        bound = MAX_SPEED * STEP_S
        return joints + np.clip(_GAIN * change, -bound, bound)

    def actions(self, joints: ArrayLike, goal: Goal, steps: int) -> NDArray[np.float64]:
        """The next `steps` commands from a measured state: row i is the command for i steps after it [..., steps, 6].

        A command is one step ahead of the joints that answer it: row 0 differs from the state by one step.
        """
        rows = []
        now = np.asarray(joints, float)
        for _ in range(steps):
            now = self.step(now, goal)
            rows.append(now)
        return np.stack(rows, axis=-2)
