"""What a bring-up starts, written once, and how it is run where ros2 launch is not installed."""

from .options import ArmOptions, BringUpError
from .processes import NodeProcess, arm_processes

__all__ = ["ArmOptions", "BringUpError", "NodeProcess", "arm_processes"]
