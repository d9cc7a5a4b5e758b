"""Off-screen pictures of a MuJoCo scene.

Rendering runs on the processor where there is no GPU, so shadows and multisampling are off in the pictures the policy
sees: with them a picture takes ten times as long. Only the `viewer` quality has them, for people to look at.
"""

from __future__ import annotations

import os

# MuJoCo chooses its OpenGL library at import; without a display that must be EGL.
os.environ.setdefault("MUJOCO_GL", "egl")

import mujoco
import numpy as np
from numpy.typing import NDArray

__all__ = ["VIEWER", "Renderer", "mujoco"]  # MuJoCo for all who need it after that

# The camera for people.
VIEWER = "viewer"
_SHADE_GROUP = 3


class Renderer:
    """Draws the cameras of `model` at one size. To be made, used and closed in one thread."""

    def __init__(self, model: mujoco.MjModel, height: int, width: int, shadows: bool = False):
        quality, screen = model.vis.quality, model.vis.global_
        # Read once, when the OpenGL context is made.
        quality.offsamples, quality.shadowsize = (4, 2048) if shadows else (0, 0)
        quality.numslices, quality.numstacks = (28, 16) if shadows else (10, 4)
        screen.offheight, screen.offwidth = height, width
        self._renderer = mujoco.Renderer(model, height, width)
        self._shaded = mujoco.MjvOption()
        self._shaded.geomgroup[_SHADE_GROUP] = not shadows

    def capture(self, data: mujoco.MjData, camera: str) -> None:
        """Takes down what the camera sees now; quick, and the only part that reads `data` and the model."""
        self._renderer.update_scene(data, camera, self._shaded if camera == VIEWER else None)

    def draw(self) -> NDArray[np.uint8]:
        """The picture captured last: uint8 RGB [height, width, 3]."""
        return np.ascontiguousarray(self._renderer.render())

    def close(self) -> None:
        self._renderer.close()
