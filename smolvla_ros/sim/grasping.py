"""Closed-form kinematics of grasping: joints for a point between the jaws, with the gripper's pitch under control.

The arm is a chain of three links in the vertical plane that the pan joint turns. Inverse kinematics without a say in
the pitch leans the gripper 25 degrees outward where the reach ends, and a leaning jaw neither closes squarely nor has
the same angle with a cube in it. So the pitch is a function of radius and height, and two links remain to be solved.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cameras import mujoco
from .layout import PAN_AXIS_XY
from .scene import load_model
from .world import JOINTS

Array = NDArray[np.float64]

# In the gripper's frame (x, z): the middle between the open jaws, and the tips of the closed ones.
GRASP_POINT_M = (0.0235, -0.088)
TIP_POINT_M = (-0.0079, -0.0981)

# The moving jaw's inner face, from the gripper's axis: a pad on a lever that the joint turns.
_FACE_M, _LEVER_M, _FACE_ZERO_RAD = 0.0137, 0.0674, 0.202
_FIXED_FACE_M = -0.0014
_PAD_GIVE_RAD = 0.012  # a jaw that presses on a cube stands so much wider than geometry says
_PAD_DEPTH_M = 0.012
HELD_SLACK_RAD = 0.025  # a jaw that is so much wider than the cube holds it no more

# Pitch over the radius; outward where the reach ends. Higher up it leans outward too, where nothing is grasped.
_PITCH_RADIUS_M, _PITCH_RAD = (0.15, 0.225, 0.27, 0.30), (-0.14, -0.12, 0.12, 0.35)
_PITCH_PER_M, _PITCH_FROM_M, _PITCH_RISE_M = 2.5, 0.03, 0.12
_MARGIN_RAD = 1e-3


class GraspKinematics:
    """Positions in the frame of the table, m; joints [..., 6] in the order of `world.JOINTS`, rad. Never changes."""

    def __init__(self) -> None:
        model = load_model("pick_place")
        data = mujoco.MjData(model)
        self._range = model.jnt_range[[model.joint(name).id for name in JOINTS]].copy()
        at_zero = _plane_points(model, data, np.zeros(6))
        links = np.diff(at_zero[:4], axis=0)
        self._origin = at_zero[0]
        self._lengths = np.hypot(links[:, 0], links[:, 1])
        self._angles = np.arctan2(links[:, 1], links[:, 0])
        self._pitch = float(np.arctan2(at_zero[4, 1], at_zero[4, 0]))
        self._signs = np.array([_sign(model, data, joint, at_zero) for joint in (1, 2, 3)])
        self.level_roll = _level_roll(model, data)

    def point(self, joints: ArrayLike, tool: tuple[float, float] = GRASP_POINT_M) -> Array:
        """Position [..., 3] of a point of the gripper, by default the middle between the jaws."""
        joints = np.asarray(joints, float)
        first, second, third = np.moveaxis((self._signs * joints[..., 1:4]).cumsum(-1), -1, 0)
        angles = (self._angles[0] + first, self._angles[1] + second, self._angles[2] + third)
        pitch = self._pitch + third
        radius = self._origin[0] + sum(length * np.cos(a) for length, a in zip(self._lengths, angles, strict=True))
        height = self._origin[1] + sum(length * np.sin(a) for length, a in zip(self._lengths, angles, strict=True))
        radius = radius + tool[0] * np.cos(pitch) - tool[1] * np.sin(pitch)
        height = height + tool[0] * np.sin(pitch) + tool[1] * np.cos(pitch)
        pan = joints[..., 0]
        return np.stack([PAN_AXIS_XY[0] + radius * np.cos(pan), PAN_AXIS_XY[1] - radius * np.sin(pan), height], axis=-1)

    def joints(self, position: ArrayLike, gripper: ArrayLike, tool: tuple[float, float] = GRASP_POINT_M) -> Array:
        """Joints [..., 6] that bring a point of the gripper to `position` [..., 3], with the jaw at `gripper` [...].

        Beyond the reach: the nearest there is with this pitch.
        """
        position = np.asarray(position, float)
        x, y, z = position[..., 0] - PAN_AXIS_XY[0], position[..., 1] - PAN_AXIS_XY[1], position[..., 2]
        radius = np.hypot(x, y)
        pitch = np.interp(radius, _PITCH_RADIUS_M, _PITCH_RAD)
        pitch = pitch + _PITCH_PER_M * np.clip(z - _PITCH_FROM_M, 0.0, _PITCH_RISE_M)
        a, b, c = self._lengths
        third = self._angles[2] - self._pitch + pitch  # direction of the last link
        to_r = radius - c * np.cos(third) - tool[0] * np.cos(pitch) + tool[1] * np.sin(pitch) - self._origin[0]
        to_z = z - c * np.sin(third) - tool[0] * np.sin(pitch) - tool[1] * np.cos(pitch) - self._origin[1]
        reach = np.minimum(np.hypot(to_r, to_z), a + b - 1e-4)
        direction = np.arctan2(to_z, to_r)
        # Law of cosines, elbow up.
        first = direction + np.arccos(np.clip((a**2 + reach**2 - b**2) / (2 * a * reach), -1.0, 1.0))
        second = np.arctan2(
            reach * np.sin(direction) - a * np.sin(first), reach * np.cos(direction) - a * np.cos(first)
        )
        sum_1 = _wrapped(first - self._angles[0])
        lift = self._signs[0] * sum_1
        elbow = self._signs[1] * _wrapped(second - self._angles[1] - sum_1)
        flex = self._signs[2] * _wrapped(pitch - self._pitch - sum_1 - self._signs[1] * elbow)
        columns = np.broadcast_arrays(-np.arctan2(y, x), lift, elbow, flex, self.level_roll, gripper)
        return np.clip(np.stack(columns, -1), self._range[:, 0] + _MARGIN_RAD, self._range[:, 1] - _MARGIN_RAD)


def in_gripper(joints: Array, offset: Array) -> tuple[Array, Array]:
    """A horizontal offset [..., 2 or 3] as the gripper sees it: (outward, sideways), m."""
    cos, sin = np.cos(joints[..., 0]), -np.sin(joints[..., 0])
    return offset[..., 0] * cos + offset[..., 1] * sin, offset[..., 1] * cos - offset[..., 0] * sin


def jaw_angle(gap_m: ArrayLike) -> Array:
    """Jaw angle at which a cube of width `gap_m` is between the pads."""
    inner = np.asarray(gap_m, float) + _FIXED_FACE_M - _FACE_M
    return np.asarray(_FACE_ZERO_RAD + _PAD_GIVE_RAD + np.arcsin(np.clip(inner / _LEVER_M, -1.0, 1.0)))


def jaw_face(angle: ArrayLike) -> Array:
    """How far out of the gripper's axis the moving jaw's inner face stands, m."""
    return np.asarray(_FACE_M + _LEVER_M * np.sin(np.asarray(angle, float) - _FACE_ZERO_RAD))


def held_outward(half_m: ArrayLike) -> Array:
    """How far out of the grasp point the centre of a held cube lies: it rests on the fixed jaw."""
    return np.asarray(np.asarray(half_m, float) + _FIXED_FACE_M - GRASP_POINT_M[0])


def is_held(joints: Array, offset: Array, half_m: Array) -> NDArray[np.bool_]:
    """Whether a cube, `offset` [..., 3] from the grasp point, is between closed jaws."""
    outward, sideways = in_gripper(joints, offset)
    closed = joints[..., 5] < jaw_angle(2 * half_m) + HELD_SLACK_RAD
    near = (np.abs(outward - held_outward(half_m)) < _PAD_DEPTH_M / 2) & (np.abs(sideways) < _PAD_DEPTH_M)
    return np.asarray(near & (np.abs(offset[..., 2]) < 2 * _PAD_DEPTH_M) & closed)


def _plane_points(model: mujoco.MjModel, data: mujoco.MjData, joints: Array) -> Array:
    """(radius, height) of shoulder, elbow, wrist and gripper, and the gripper's x axis [5, 2]; for a pan of 0."""
    data.qpos[:6] = joints
    mujoco.mj_kinematics(model, data)
    points = [data.body(name).xpos - [*PAN_AXIS_XY, 0.0] for name in ("upper_arm", "lower_arm", "wrist", "gripper")]
    axis = data.body("gripper").xmat.reshape(3, 3)[:, 0]
    return np.array([[p[0], p[2]] for p in (*points, axis)])


def _sign(model: mujoco.MjModel, data: mujoco.MjData, joint: int, at_zero: Array) -> float:
    """Whether a positive turn of this joint raises the angles of the links behind it."""
    joints = np.zeros(6)
    joints[joint] = 0.3
    moved = _plane_points(model, data, joints)
    before, after = at_zero[joint] - at_zero[joint - 1], moved[joint] - moved[joint - 1]
    return float(np.sign(before[0] * after[1] - before[1] * after[0]))


def _level_roll(model: mujoco.MjModel, data: mujoco.MjData) -> float:
    """The wrist roll at which the plane of the jaws is upright: the gripper's frame is a little askew."""

    def lean(roll: float) -> float:
        data.qpos[:6] = [0.0, 0.0, 0.0, 1.3, roll, 0.2]
        mujoco.mj_kinematics(model, data)
        return float(data.body("gripper").xmat.reshape(3, 3)[1, 0])

    low, high = -0.2, 0.2
    rising = lean(high) > lean(low)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if (lean(middle) < 0) == rising else (low, middle)
    return (low + high) / 2


def _wrapped(angle: Array) -> Array:
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi)
