"""The option `--robot` of the commands that read a robot config themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from smolvla_ros.bringup.options import ArmOptions, BringUpError

if TYPE_CHECKING:
    from smolvla_ros.parameters import ParameterSet, Value
    from smolvla_ros.robot import RobotConfig

_Set = TypeVar("_Set", bound="ParameterSet")


def read_robot(robot: str) -> RobotConfig:
    """The robot of a shipped config's name or of a YAML file of ROS parameters.

    Raises:
        BringUpError: there is no such file, or it cannot be used.
    """
    from smolvla_ros.parameters.robot import RobotParameters
    from smolvla_ros.robot import RobotConfig, RobotConfigError

    try:
        # A name that no section is written for: what all nodes share describes the robot.
        return RobotConfig.from_parameters(read_node_parameters(robot, "/robot", RobotParameters))
    except RobotConfigError as error:
        raise BringUpError(f"robot config '{robot}': {error}") from error


def node_name(namespace: str, name: str) -> str:
    """The full name of a node in a namespace."""
    return "/".join(("", *(part for part in namespace.split("/") if part), name))


def read_node_parameters(
    robot: str, node: str, kind: type[_Set], overrides: Mapping[str, Value] | None = None
) -> _Set:
    """The parameters that `node` would get from this robot config, or from `overrides` where they are there.

    Raises:
        BringUpError: there is no such file, or a value cannot be used.
    """
    from smolvla_ros.parameters import ParameterError
    from smolvla_ros.parameters.files import read_parameters

    try:
        return read_parameters(ArmOptions(robot=robot).robot_file, node, kind, overrides)
    except ParameterError as error:
        raise BringUpError(str(error)) from error
