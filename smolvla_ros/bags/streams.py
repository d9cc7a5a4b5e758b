"""Which topic of a bag is what: cameras, joint states, commands and what this package publishes itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.parameters.controller import COMMAND_TOPICS
from smolvla_ros.parameters.table import Value
from smolvla_ros.robot import Camera, RobotConfig

from .errors import BagError
from .messages import Recorded
from .reader import Bag

IMAGE_TYPES = {"raw": "sensor_msgs/msg/Image", "compressed": "sensor_msgs/msg/CompressedImage"}
JOINT_STATE_TYPE = "sensor_msgs/msg/JointState"
COMMAND_TYPES = {
    "joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    "position_array": "std_msgs/msg/Float64MultiArray",
    "joint_state": JOINT_STATE_TYPE,
}
STRING_TYPE = "std_msgs/msg/String"
CHUNK_TYPE = "smolvla_ros/msg/ActionChunk"
STATUS_TYPE = "smolvla_ros/msg/ExecutionStatus"
DESCRIBED_NODES = ("policy_node", "controller_node", "sim_node")


@dataclass(frozen=True)
class Gripper:
    """A joint that is commanded on a topic of its own: message value = scale * position + offset."""

    topic: str
    joint: str
    scale: float
    offset: float


@dataclass(frozen=True)
class Command:
    """The command topic: its type, and the joints in the order of a message without names."""

    topic: str
    type: str
    joints: tuple[str, ...]
    gripper: Gripper | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        return (self.topic, self.gripper.topic) if self.gripper else (self.topic,)


@dataclass(frozen=True)
class Streams:
    """Full topic names by meaning; None: the bag has no such topic. `cameras` by camera, `descriptions` by node."""

    cameras: dict[str, str]
    joint_states: str
    instruction: str | None
    commands: Command | None
    chunks: str | None
    status: str | None
    descriptions: dict[str, str]


@dataclass(frozen=True)
class Names:
    """Resolves the names of a config as ROS does: relative ones under the namespace, then the remappings.

    `remaps` has names of the config as keys and topics of the bag as values; both may be relative.
    """

    namespace: str = ""
    remaps: Mapping[str, str] | None = None

    def resolve(self, name: str) -> str:
        full = self._absolute(name)
        remaps = {self._absolute(before): self._absolute(after) for before, after in (self.remaps or {}).items()}
        return remaps.get(full, full)

    def _absolute(self, name: str) -> str:
        if name.startswith("/"):
            return name
        namespace = self.namespace.strip("/")
        return f"/{namespace}/{name}" if namespace else f"/{name}"


def find_streams(
    bag: Bag,
    robot: RobotConfig,
    values: Mapping[str, Value],
    namespace: str = "",
    remaps: Mapping[str, str] | None = None,
) -> Streams:
    """Finds the topics of a robot in a bag.

    Args:
        robot: its cameras and joints.
        values: of the controller's parameters, for the command.
        namespace: under which the names of the config are looked for.
        remaps: topic of the config -> topic of the bag.

    Raises:
        BagError: a camera or the joint states are not in the bag; all that is missing in one text.
    """
    names = Names(namespace, remaps)
    problems: list[str] = []
    cameras: dict[str, str] = {}
    for camera in robot.cameras:
        topic = _camera_topic(bag, camera, names.resolve(camera.topic))
        if topic is None:
            problems.append(_missing_camera(bag, camera, names.resolve(camera.topic)))
        else:
            cameras[camera.name] = topic
    joint_states = _typed(bag, names.resolve("joint_states"), JOINT_STATE_TYPE)
    if joint_states is None:
        problems.append(_missing(bag, "joint states", names.resolve("joint_states"), (JOINT_STATE_TYPE,)))
    if problems or joint_states is None:
        raise BagError(f"{bag.path}: " + "; ".join(problems))
    return Streams(
        cameras=cameras,
        joint_states=joint_states,
        instruction=_typed(bag, names.resolve("instruction"), STRING_TYPE),
        commands=_command(bag, robot, values, names),
        chunks=_typed(bag, names.resolve("action_chunk"), CHUNK_TYPE),
        status=_typed(bag, names.resolve("execution_status"), STATUS_TYPE),
        descriptions=_descriptions(bag, names),
    )


def recorded_parameters(bag: Bag, namespace: str = "") -> dict[str, dict[str, Value]]:
    """The parameters that the nodes told on their description topics, by node ('policy_node'); the last ones count."""
    parameters: dict[str, dict[str, Value]] = {}
    topics = {topic: node for node, topic in _descriptions(bag, Names(namespace)).items()}
    for recorded in bag.read(topics):
        try:
            parameters[topics[recorded.topic]] = dict(json.loads(recorded.message.data)["parameters"])
        except (ValueError, KeyError, TypeError) as error:
            raise BagError(f"{bag.path}: {recorded.topic} is no description of a node ({error!r})") from error
    return parameters


def command_positions(recorded: Recorded, robot: RobotConfig, command: Command) -> tuple[int, NDArray[np.float64]]:
    """When a command is due [ns] and the positions that it asks for [joints] in rad or m; NaN: not commanded.

    Raises:
        BagError: its lengths contradict each other.
    """
    message = recorded.message
    if command.gripper and recorded.topic == command.gripper.topic:
        values = (np.asarray(message.data, dtype=np.float64) - command.gripper.offset) / command.gripper.scale
        return recorded.log_ns, _by_name(recorded, robot, (command.gripper.joint,), values)
    if recorded.type == COMMAND_TYPES["position_array"]:
        return recorded.log_ns, _by_name(recorded, robot, command.joints, message.data)
    stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec or recorded.log_ns
    if recorded.type == COMMAND_TYPES["joint_state"]:
        return stamp_ns, _by_name(recorded, robot, message.name, message.position)
    if not message.points:
        return stamp_ns, np.full(len(robot.joints), np.nan)
    first = message.points[0]
    due_ns = stamp_ns + first.time_from_start.sec * 10**9 + first.time_from_start.nanosec
    return due_ns, _by_name(recorded, robot, message.joint_names, first.positions)


def _by_name(recorded: Recorded, robot: RobotConfig, names: object, positions: object) -> NDArray[np.float64]:
    names, values = list(names), np.asarray(positions, dtype=np.float64)  # type: ignore[call-overload]
    if len(names) != len(values):
        raise BagError(f"{recorded.topic}: {len(names)} joints but {len(values)} positions")
    places = dict(zip(names, values, strict=True))
    return np.array([places.get(name, np.nan) for name in robot.joint_names])


def _typed(bag: Bag, topic: str, type_name: str) -> str | None:
    found = bag.topics.get(topic)
    return topic if found is not None and found.type == type_name and found.messages else None


def _camera_topic(bag: Bag, camera: Camera, topic: str) -> str | None:
    """The topic as configured, or the raw or compressed one beside it."""
    base = topic.removesuffix("/compressed")
    candidates = [topic, base, f"{base}/compressed"]
    usable = [name for name in candidates if any(_typed(bag, name, kind) for kind in IMAGE_TYPES.values())]
    return usable[0] if usable else None


def _command(bag: Bag, robot: RobotConfig, values: Mapping[str, Value], names: Names) -> Command | None:
    kind = str(values["command_type"])
    topic = _typed(bag, names.resolve(str(values["command_topic"]) or COMMAND_TOPICS[kind]), COMMAND_TYPES[kind])
    if topic is None:
        return None
    gripper_joint = str(values["gripper_joint"])
    joints = tuple(str(name) for name in values["command_joints"]) or tuple(  # type: ignore[union-attr]
        name for name in robot.joint_names if name != gripper_joint
    )
    gripper = None
    gripper_topic = _typed(bag, names.resolve(str(values["gripper_topic"])), COMMAND_TYPES["position_array"])
    if gripper_joint and gripper_topic:
        scale, offset = float(values["gripper_scale"]), float(values["gripper_offset"])  # type: ignore[arg-type]
        gripper = Gripper(gripper_topic, gripper_joint, scale, offset)
    return Command(topic, COMMAND_TYPES[kind], joints, gripper)


def _descriptions(bag: Bag, names: Names) -> dict[str, str]:
    found = {node: _typed(bag, names.resolve(f"{node}/description"), STRING_TYPE) for node in DESCRIBED_NODES}
    return {node: topic for node, topic in found.items() if topic}


def _missing_camera(bag: Bag, camera: Camera, topic: str) -> str:
    return _missing(bag, f"camera '{camera.name}'", topic, tuple(IMAGE_TYPES.values()))


def _missing(bag: Bag, what: str, topic: str, types: tuple[str, ...]) -> str:
    others = [f"{t.name} ({t.messages} messages)" for t in bag.topics.values() if t.type in types]
    return (
        f"{what}: the robot config says {topic}, the bag has {', '.join(others) or 'no topic'} of type "
        f"{' or '.join(types)}; change the config or give --namespace or --remap {topic}:=TOPIC"
    )
