"""The units of the demo checkpoint: degrees, and 0 to 100 for the gripper, as LeRobot records the SO-101.

The same figures stand as `joint.<joint>.scale` and `.offset` in `config/so101_sim.yaml`, for the nodes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GRIPPER_RANGE_RAD = (-0.175, 1.745)
_GRIPPER_SCALE = 100.0 / (_GRIPPER_RANGE_RAD[1] - _GRIPPER_RANGE_RAD[0])

# checkpoint value = SCALE * radians + OFFSET, joints [6] in the order of `world.JOINTS`
SCALE = np.array([np.degrees(1.0)] * 5 + [_GRIPPER_SCALE])
OFFSET = np.array([0.0] * 5 + [-_GRIPPER_SCALE * _GRIPPER_RANGE_RAD[0]])


def to_checkpoint(radians: ArrayLike) -> NDArray[np.float32]:
    """Joint positions [..., 6] from rad into the checkpoint's units."""
    values: NDArray[np.float64] = np.asarray(radians) * SCALE + OFFSET
    return values.astype(np.float32)


def to_radians(values: ArrayLike) -> NDArray[np.float64]:
    """Joint positions [..., 6] from the checkpoint's units into rad."""
    radians: NDArray[np.float64] = (np.asarray(values, float) - OFFSET) / SCALE
    return radians
