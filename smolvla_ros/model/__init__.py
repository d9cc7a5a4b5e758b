"""SmolVLA in plain torch: the network, LeRobot's checkpoints and their processing. Knows no ROS."""

from smolvla_ros.model.checkpoint.saving import Training, save_checkpoint
from smolvla_ros.model.config import SmolVLAConfig, TextConfig, VisionConfig
from smolvla_ros.model.errors import CheckpointError, InstructionError, ModelError, ObservationError
from smolvla_ros.model.network import Prefix, SmolVLANetwork
from smolvla_ros.model.policy import Prediction, SmolVLAPolicy
from smolvla_ros.model.rtc import Guidance
from smolvla_ros.model.text import InstructionReader, TextSettings
from smolvla_ros.model.together import PreparedQuestion
from smolvla_ros.model.tokenizer_training import train_tokenizer

__all__ = [
    "CheckpointError",
    "Guidance",
    "InstructionError",
    "InstructionReader",
    "ModelError",
    "ObservationError",
    "Prediction",
    "Prefix",
    "PreparedQuestion",
    "SmolVLAConfig",
    "SmolVLANetwork",
    "SmolVLAPolicy",
    "TextConfig",
    "TextSettings",
    "Training",
    "VisionConfig",
    "save_checkpoint",
    "train_tokenizer",
]
