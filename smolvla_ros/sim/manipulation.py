"""The scripted expert of the scene with plate and bin: touches, picks up, places, or holds still, from any state.

It is a rule without memory: joints, the cube and the aim decide the next command, so it can label states that no
demonstration ever came through. Where a rule alone would chatter (closing, letting go), what has begun goes on within
wider bounds. Everything is batched over leading axes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from .expert import STEP_S
from .grasping import (
    GRASP_POINT_M,
    HELD_SLACK_RAD,
    TIP_POINT_M,
    Array,
    GraspKinematics,
    held_outward,
    in_gripper,
    is_held,
    jaw_angle,
    jaw_face,
)

OPEN_RAD, CLOSED_RAD = 0.90, 0.05
LIFT_M = 0.07  # underside of a cube that was picked up

_HOVER_M = 0.085
_GRASP_HEIGHT_M = 0.013  # of the grasp point above the cube's underside
_MAX_STEP = np.array([1.2] * 5 + [2.0]) * STEP_S
_GAIN = np.array([0.25] * 5 + [0.3])
# The jaw is commanded so far ahead of where it is: that is also the squeeze.
_JAW_LEAD_RAD = 0.12
# A chunk runs open loop for some ticks, so it must not lift before the real jaw has closed: assume a slow one.
_JAW_STEP_RAD = 0.6 * STEP_S
# A cube that lies askew is turned by the closing jaws, which takes longer still.
_TURNING_STEP_RAD, _TURNING_RAD = 0.2 * STEP_S, 0.10
_TOUCH_JAW_RAD = 0.1
_TOUCH_HOVER_M, _PRESS_M = 0.05, 0.004
_TOUCH_FUNNEL_M = (0.012, 0.05)


class Kind(IntEnum):
    """What is to be done with the cube."""

    STAY = 0
    TOUCH = 1
    PICK = 2
    PLACE = 3


@dataclass(frozen=True)
class Aim:
    """What the arm shall do, for a batch [...].

    Attributes:
        kind: of `Kind`.
        half_m: half size of the cube.
        place_xy: [..., 2], where to put it.
        support_m: height of what bears a cube there.
        release_m: height of the cube's underside when the jaws let go.
    """

    kind: NDArray[np.int64]
    half_m: Array
    place_xy: Array
    support_m: Array
    release_m: Array

    def __getitem__(self, mask: NDArray[np.bool_]) -> Aim:
        return Aim(*(getattr(self, field.name)[mask] for field in fields(self)))

    @classmethod
    def stack(cls, aims: list[Aim]) -> Aim:
        return cls(*(np.stack([getattr(aim, field.name) for aim in aims]) for field in fields(cls)))


class Manipulator:
    """The expert. Cubes are positions [..., 3] of their centres, joints [..., 6] in rad. Never changes."""

    def __init__(self) -> None:
        self.kinematics = GraspKinematics()

    def step(self, joints: Array, cube: Array, aim: Aim) -> Array:
        """The command for the next `STEP_S`."""
        offset = cube - self.kinematics.point(joints)
        held = is_held(joints, offset, aim.half_m)
        command = joints.copy()
        squeeze = np.clip(joints[..., 5] - _JAW_LEAD_RAD, CLOSED_RAD, joints[..., 5])
        command[..., 5] = np.where(held, squeeze, joints[..., 5])
        touching = (aim.kind == Kind.TOUCH) & ~held  # what is in the hand is touched
        if touching.any():
            command[touching] = self._touch(joints[touching], cube[touching], aim[touching])
        grasping = aim.kind >= Kind.PICK
        if grasping.any():
            now = _Grasp(joints[grasping], offset[grasping], cube[grasping], held[grasping], aim[grasping])
            command[grasping] = self._grasp(joints[grasping], now)
        return command

    def rollout(self, joints: Array, cube: Array, aim: Aim, rows: int) -> Array:
        """The commands [..., rows, 6] of the next steps, if all goes as meant."""
        commands = []
        attached = is_held(joints, cube - self.kinematics.point(joints), aim.half_m)
        for _ in range(rows):
            command = self.step(joints, cube, aim)
            commands.append(command)
            joints, cube, attached = self._moved(joints, cube, aim, command, attached)
        return np.stack(commands, axis=-2)

    def _touch(self, joints: Array, cube: Array, aim: Aim) -> Array:
        tip = self.kinematics.point(joints, TIP_POINT_M)
        away = cube[..., :2] - tip[..., :2]
        near, far = _TOUCH_FUNNEL_M
        above = np.clip((np.hypot(away[..., 0], away[..., 1]) - near) / (far - near), 0.0, 1.0)
        above = np.maximum(above, np.clip((joints[..., 5] - 0.3) / 0.2, 0.0, 1.0))  # an open jaw comes down on others
        top = cube[..., 2] + aim.half_m
        low = np.clip((top + _TOUCH_HOVER_M - tip[..., 2]) / (_TOUCH_HOVER_M - 0.01), 0.0, 1.0)
        target = tip.copy()
        target[..., :2] += (1.0 - 0.9 * low * above)[..., None] * away
        target[..., 2] = top - _PRESS_M + above * (_TOUCH_HOVER_M + _PRESS_M)
        change = self.kinematics.joints(target, _TOUCH_JAW_RAD, TIP_POINT_M) - joints
        return joints + _bounded(_GAIN * change)

    def _grasp(self, joints: Array, now: _Grasp) -> Array:
        """Goes to the cube, closes, carries it, lets go; or only lifts it."""
        target = np.concatenate(
            [now.point[..., :2] + now.sideways_rate[..., None] * now.error, now.height[..., None]], -1
        )
        change = _GAIN * (self.kinematics.joints(target, now.jaw, GRASP_POINT_M) - joints)
        command = joints + _bounded(change)
        ahead = np.clip(now.jaw - joints[..., 5], -_JAW_LEAD_RAD, _JAW_LEAD_RAD)
        command[..., 5] = np.clip(joints[..., 5] + ahead, CLOSED_RAD, OPEN_RAD)
        return command

    def _moved(
        self, joints: Array, cube: Array, aim: Aim, command: Array, attached: NDArray[np.bool_]
    ) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Joints and cube one step later, without physics: the arm obeys, the jaw lags and pushes the cube."""
        width, rest = jaw_angle(2 * aim.half_m), held_outward(aim.half_m)
        offset = cube - self.kinematics.point(joints)
        outward, sideways = in_gripper(joints, offset)
        after = command.copy()
        between = (
            (np.abs(sideways) < 0.012) & (np.abs(offset[..., 2]) < 0.02) & (outward > rest - 0.008) & (outward < 0.03)
        )
        turning = between & (joints[..., 5] < width + _TURNING_RAD) & ~attached
        closing_step = np.where(turning, _TURNING_STEP_RAD, _JAW_STEP_RAD)
        after[..., 5] = joints[..., 5] + np.clip(command[..., 5] - joints[..., 5], -closing_step, _JAW_STEP_RAD)
        face = jaw_face(after[..., 5]) - aim.half_m - GRASP_POINT_M[0]
        pushed = np.where(between, np.maximum(np.minimum(outward, face), rest), outward)
        after[..., 5] = np.where(between & (after[..., 5] < width), width, after[..., 5])
        over = _length(cube[..., :2] - aim.place_xy) < 0.025
        floor = np.where(over, aim.support_m, 0.0) + aim.half_m
        hanging = between & (cube[..., 2] > floor + 0.004) & (after[..., 5] < width + _TURNING_RAD)
        attached = (between | attached) & (after[..., 5] < width + HELD_SLACK_RAD) | hanging
        grasp = self.kinematics.point(after)
        cos, sin = np.cos(after[..., 0]), -np.sin(after[..., 0])
        carried = grasp + np.stack([pushed * cos - sideways * sin, pushed * sin + sideways * cos, offset[..., 2]], -1)
        shift = (pushed - outward)[..., None] * np.stack([np.cos(joints[..., 0]), -np.sin(joints[..., 0])], -1)
        lying = np.concatenate([cube[..., :2] + shift, np.minimum(floor, cube[..., 2])[..., None]], -1)
        return after, np.where(attached[..., None], carried, lying), attached


class _Grasp:
    """Where a grasp has got to, and what follows: `height` and `jaw` to go for, how far to go sideways meanwhile."""

    def __init__(self, joints: Array, offset: Array, cube: Array, held: NDArray[np.bool_], aim: Aim):
        self.point = cube - offset
        outward, sideways = in_gripper(joints, offset)
        to_place = aim.place_xy - cube[..., :2]
        underside = cube[..., 2] - aim.half_m
        only_lift = aim.kind == Kind.PICK
        above = underside - aim.release_m
        placed = ~only_lift & (_length(to_place) < 0.02) & (above > -0.017) & (above < 0.018)
        approaching, leaving = ~held & ~placed, ~held & placed
        carrying = held & ~only_lift

        self.error = np.where(carrying[..., None], to_place, np.where(approaching[..., None], offset[..., :2], 0.0))
        distance = _length(self.error)
        low = np.where(held, self.point[..., 2] + aim.release_m - underside, underside + _GRASP_HEIGHT_M)
        hover = np.maximum(_HOVER_M, low + np.where(held, 0.025, 0.045))
        # Down a funnel over the cube or the place; sideways only when high or near.
        in_funnel = np.clip((distance - np.where(held, 0.005, 0.004)) / 0.025, 0.0, 1.0)
        height = low + in_funnel * (hover - low)
        too_low = np.clip((hover - 0.012 - self.point[..., 2]) / 0.03, 0.0, 1.0)
        rate = 1.0 - 0.97 * too_low * np.clip((distance - 0.012) / 0.02, 0.0, 1.0)

        # The jaw: what it has begun goes on within wider bounds.
        jaw, over_cube = joints[..., 5], self.point[..., 2] - low
        began_to_close, began_to_open = jaw < OPEN_RAD - 0.1, jaw > jaw_angle(2 * aim.half_m) + 0.03
        enters = (distance < 0.007) & (over_cube < 0.0045)
        inside = (outward > held_outward(aim.half_m) - 0.004) & (outward < 0.027) & (np.abs(sideways) < 0.011)
        closing = approaching & (np.abs(over_cube) < 0.008) & (enters | began_to_close & inside)
        there = (distance < np.where(began_to_open, 0.014, 0.008)) & (
            np.abs(above) < np.where(began_to_open, 0.018, 0.009)
        )
        releasing = carrying & there
        opening = leaving & (_length(offset) < 0.03) & (np.abs(offset[..., 2]) < 0.02) & (jaw < OPEN_RAD - 0.3)

        still = closing & began_to_close | releasing | opening
        height = np.where(leaving, np.maximum(_HOVER_M, low + 0.045), height)
        self.height = np.where(still, self.point[..., 2], height)
        self.sideways_rate = np.where(still | leaving, 0.0, rate)
        self.jaw = np.where((held & ~releasing) | closing, CLOSED_RAD, OPEN_RAD)


def _bounded(change: Array) -> Array:
    """Steps within the joints' speeds; lift, elbow and wrist are scaled together, or a straight way would bend."""
    bent = np.abs(change[..., 1:4]).max(-1, keepdims=True)
    scaled = change.copy()
    scaled[..., 1:4] *= np.minimum(1.0, _MAX_STEP[0] / np.maximum(bent, 1e-9))
    return np.asarray(np.clip(scaled, -_MAX_STEP, _MAX_STEP))


def _length(vector: Array) -> Array:
    return np.asarray(np.hypot(vector[..., 0], vector[..., 1]))
