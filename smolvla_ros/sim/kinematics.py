"""Forward and inverse kinematics of the arm's tool point, from the frames of the MuJoCo model.

Inverse kinematics is damped least squares (Wampler 1986) on the first four joints, position only: the degree of freedom
that remains is left where the start posture has it, gripper pointing down.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .cameras import mujoco
from .layout import PAN_AXIS_XY
from .scene import load_model
from .world import JOINTS

# Targets on the table that `inverse` reaches: distance from the pan axis.
REACH_M = (0.17, 0.33)
TOLERANCE_M = 1e-3

_START = np.array([0.0, 0.1, 0.1, 1.3])
_DAMPING = 0.02
_ITERATIONS = 100


class UnreachableError(ValueError):
    """The arm cannot bring its tool point to the position asked for; the text says how near it came."""


class Kinematics:
    """Positions in the frame of the table, m; joints [6] in the order of `world.JOINTS`, rad. Not thread-safe."""

    def __init__(self) -> None:
        self._model = load_model()
        self._data = mujoco.MjData(self._model)
        self._site = self._model.site("tool").id
        self._range = self._model.jnt_range[:4]
        # Frames from the base to the gripper, each in its parent; every joint turns about its frame's z.
        bodies = [self._model.body(self._model.joint(name).bodyid[0]) for name in JOINTS[:5]]
        self._offsets = [body.pos.copy() for body in bodies]
        self._turns = [_matrix(body.quat) for body in bodies]
        self._tool_offset = self._model.site_pos[self._site].copy()

    def tool(self, joints: ArrayLike) -> NDArray[np.float64]:
        """Position of the tool point, between the finger tips: joints [..., 6] to positions [..., 3]."""
        joints = np.asarray(joints, float)
        point = np.broadcast_to(self._tool_offset[:, None], (3, joints[..., 0].size))
        for i in reversed(range(len(self._offsets))):  # from the gripper's frame to the base's
            angle = joints[..., i].ravel()
            cos, sin = np.cos(angle), np.sin(angle)
            turned = np.array([cos * point[0] - sin * point[1], sin * point[0] + cos * point[1], point[2]])
            point = self._turns[i] @ turned + self._offsets[i][:, None]
        return point.T.reshape(*joints.shape[:-1], 3)

    def inverse(self, position: ArrayLike, roll: float = 0.0, gripper: float = 0.1) -> NDArray[np.float64]:
        """Joints that bring the tool point to `position` [3] to within 1 mm.

        Raises:
            UnreachableError: there are none, or they lie beyond the joints' ranges.
        """
        position = np.asarray(position, float)
        pan = -np.arctan2(position[1] - PAN_AXIS_XY[1], position[0] - PAN_AXIS_XY[0])
        joints = np.array([pan, *_START[1:], roll, gripper])
        jacobian = np.zeros((3, self._model.nv))
        for _ in range(_ITERATIONS):
            self._data.qpos[: len(JOINTS)] = joints
            mujoco.mj_kinematics(self._model, self._data)
            error = position - self._data.site_xpos[self._site]
            if np.linalg.norm(error) < TOLERANCE_M / 20:
                return joints
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_jacSite(self._model, self._data, jacobian, None, self._site)
            j = jacobian[:, :4]
            joints[:4] += j.T @ np.linalg.solve(j @ j.T + _DAMPING**2 * np.eye(3), error)
            joints[:4] = np.clip(joints[:4], self._range[:, 0], self._range[:, 1])
        if np.linalg.norm(error) < TOLERANCE_M:
            return joints
        raise UnreachableError(
            f"tool position {np.round(position, 3).tolist()} m is {1e3 * np.linalg.norm(error):.1f} mm out of reach; "
            f"choose one {REACH_M[0]} to {REACH_M[1]} m from the pan axis"
        )


def _matrix(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)
