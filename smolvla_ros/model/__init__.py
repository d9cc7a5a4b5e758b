"""SmolVLA in plain torch: the network, LeRobot's checkpoints and their processing. Knows no ROS."""

from smolvla_ros.model.config import SmolVLAConfig, TextConfig, VisionConfig
from smolvla_ros.model.errors import CheckpointError, InstructionError, ModelError, ObservationError
from smolvla_ros.model.network import Prefix, SmolVLANetwork
from smolvla_ros.model.policy import Prediction, SmolVLAPolicy
from smolvla_ros.model.rtc import Guidance

__all__ = [
    "CheckpointError",
    "Guidance",
    "InstructionError",
    "ModelError",
    "ObservationError",
    "Prediction",
    "Prefix",
    "SmolVLAConfig",
    "SmolVLANetwork",
    "SmolVLAPolicy",
    "TextConfig",
    "VisionConfig",
]
