"""What a bring-up starts, written once, and how it is run where ros2 launch is not installed."""

from .options import ArmOptions, BringUpError, ReplayOptions
from .processes import CommandProcess, NodeProcess, arm_processes

__all__ = ["ArmOptions", "BringUpError", "CommandProcess", "NodeProcess", "ReplayOptions", "arm_processes"]
