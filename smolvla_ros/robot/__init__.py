"""The robot's description: cameras, joints by name, units; decoding of images. Knows neither ROS nor torch."""

from .config import Camera, Joint, RobotConfig, RobotConfigError

__all__ = ["Camera", "Joint", "RobotConfig", "RobotConfigError"]
