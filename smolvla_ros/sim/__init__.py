"""The simulated SO-101: scene and physics, cameras, the task, scripted demonstrations and the training of the demo policy.

Knows MuJoCo and no ROS. Nothing here reads a clock: a `World` is stepped by whoever owns it.
"""

from .task import COLOURS
from .world import CAMERAS, JOINTS, World

__all__ = ["CAMERAS", "COLOURS", "JOINTS", "World"]
