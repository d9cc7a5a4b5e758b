"""The joint and gripper conventions of ALOHA arms, for checkpoints with `adapt_to_pi_aloha`.

The constants are those of the Interbotix and ALOHA code: gripper travel, crank geometry and joint ranges.
"""

from __future__ import annotations

import torch
from torch import Tensor

_FLIPPED = (1, 2, 8, 9)
_GRIPPERS = (6, 13)
ALOHA_DIM = 14

_TRAVEL_CLOSED_M, _TRAVEL_OPEN_M = 0.01844, 0.05800
_ROD_M, _HORN_M = 0.036, 0.022
_ANGLE_CLOSED_RAD, _ANGLE_OPEN_RAD = 0.4, 1.5
_JOINT_CLOSED_RAD, _JOINT_OPEN_RAD = -0.6213, 1.4910


def decode_state(state: Tensor) -> Tensor:
    """State [..., 14 or more] as the arm reports it -> as the policy was trained."""
    state = _flipped(state)
    for index in _GRIPPERS:
        travel = state[..., index] * (_TRAVEL_OPEN_M - _TRAVEL_CLOSED_M) + _TRAVEL_CLOSED_M
        cosine = (_HORN_M**2 + travel**2 - _ROD_M**2) / (2 * _HORN_M * travel)
        angle = torch.arcsin(cosine.clamp(-1.0, 1.0))
        state[..., index] = (angle - _ANGLE_CLOSED_RAD) / (_ANGLE_OPEN_RAD - _ANGLE_CLOSED_RAD)
    return state


def encode_actions(actions: Tensor) -> Tensor:
    """Actions [..., 14 or more] as the policy was trained -> as the arm wants them."""
    actions = _flipped(actions)
    for index in _GRIPPERS:
        angle = actions[..., index] * (_ANGLE_OPEN_RAD - _ANGLE_CLOSED_RAD) + _ANGLE_CLOSED_RAD
        actions[..., index] = (angle - _JOINT_CLOSED_RAD) / (_JOINT_OPEN_RAD - _JOINT_CLOSED_RAD)
    return actions


def _flipped(values: Tensor) -> Tensor:
    values = values.clone()
    values[..., list(_FLIPPED)] *= -1
    return values
