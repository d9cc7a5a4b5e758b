"""Options of the commands that look into bags: whose bag it is, and how its topics are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bringup.options import BringUpError

from .robot_option import read_node_parameters

if TYPE_CHECKING:
    from smolvla_ros.bags.reader import Bag
    from smolvla_ros.parameters import Value
    from smolvla_ros.parameters.controller import ControllerParameters
    from smolvla_ros.parameters.policy import PolicyParameters
    from smolvla_ros.parameters.robot import RobotParameters
    from smolvla_ros.robot import RobotConfig

_ROBOT_NAMES = ("cameras", "camera", "joints", "joint", "joint_states_topics")


def node_parameters(
    bag: Bag, robot: str, namespace: str, overrides: Mapping[str, Value]
) -> tuple[PolicyParameters, ControllerParameters]:
    """The parameters of the policy and of the controller node: of a robot config, or as the bag tells them.

    Args:
        robot: name or file of the config; '': what the bag tells.
        namespace: of the robot in the bag.
        overrides: parameters of the policy node that count instead; the checkpoint is else the one of the recording.

    Raises:
        BagError: the bag does not tell. BringUpError: the config cannot be used.
    """
    from smolvla_ros.bags.streams import described_namespaces, recorded_parameters
    from smolvla_ros.parameters import ParameterError
    from smolvla_ros.parameters.controller import ControllerParameters
    from smolvla_ros.parameters.policy import PolicyParameters

    recorded = recorded_parameters(bag, namespace)
    told = recorded.get("policy_node", {})
    if told.get("checkpoint"):
        overrides = {"checkpoint": told["checkpoint"], **overrides}
    if robot:
        folder = f"/{namespace.strip('/')}" if namespace else ""
        return (
            read_node_parameters(robot, f"{folder}/policy_node", PolicyParameters, overrides),
            read_node_parameters(robot, f"{folder}/controller_node", ControllerParameters),
        )
    if not told:
        others = "".join(f" or --namespace {other}" for other in described_namespaces(bag) if other)
        raise BagError(f"{bag.path} does not tell which robot it was recorded on: give --robot{others}")
    described = {name: value for name, value in told.items() if name.partition(".")[0] in _ROBOT_NAMES}
    try:
        return (
            PolicyParameters.from_values({**told, **overrides}),
            ControllerParameters.from_values(recorded.get("controller_node", described)),
        )
    except ParameterError as error:
        raise BagError(f"{bag.path}: the robot as it was recorded: {error}; give --robot") from error


def robot_of(parameters: RobotParameters, name: str) -> RobotConfig:
    """The robot that these parameters describe; `name` is what the user called it, if anything.

    Raises:
        BringUpError: they contradict themselves.
    """
    from smolvla_ros.robot import RobotConfig, RobotConfigError

    try:
        return RobotConfig.from_parameters(parameters)
    except RobotConfigError as error:
        raise BringUpError(f"robot config '{name or 'of the bag'}': {error}") from error


def parameter_values(texts: Sequence[str]) -> dict[str, Value]:
    """Parameters of a node as `--param NAME:=VALUE` gives them, values in YAML.

    Raises:
        BringUpError: a text is no pair, or its value no YAML.
    """
    from smolvla_ros.foreign_yaml import YamlError, load_yaml

    values = {}
    for name, text in name_pairs("--param", texts).items():
        try:
            values[name] = load_yaml(text)
        except YamlError as error:
            raise BringUpError(f"--param {name}: '{text}' is no value") from error
    return values


def name_pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """`NAME:=VALUE` of an option that may be given more than once.

    Raises:
        BringUpError: a text is no pair.
    """
    pairs = {}
    for text in texts:
        name, mark, value = text.partition(":=")
        if not (mark and name and value):
            raise BringUpError(f"{option} is '{text}', expected NAME:=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs
