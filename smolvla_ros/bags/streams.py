"""Which topic of a bag is what: cameras, joint states, commands and what this package publishes itself."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.parameters import Value
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.robot import Camera, RobotConfig
from smolvla_ros.robot.images import BYTES_PER_PIXEL
from smolvla_ros.robot.joint_states import MAX_NAMES
from smolvla_ros.wording import listed, shortened

from .errors import BagError
from .messages import Recorded, time_text
from .names import StreamNames, why_missing
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
EPISODE_TYPE = "smolvla_ros/msg/Episode"
DESCRIBED_NODES = ("policy_node", "controller_node", "sim_node")

_OWN_NAMES = ("instruction", "action_chunk", "execution_status", "episode")
# Words in the format of a CompressedImage that is no picture on its own, or no colour picture.
_NO_PICTURES = {"h264", "h265", "hevc", "av1", "vp8", "vp9", "theora", "compresseddepth"}
# Several publishers may share the topic, each with some of the joints.
_JOINT_STATES_LOOKED_AT = 200


@dataclass(frozen=True)
class CommandStream:
    """A command topic: its type, and the joints in the order of a message without names.

    What a message says = scale * position + offset.
    """

    topic: str
    type: str
    joints: tuple[str, ...]
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Streams:
    """Full topic names by meaning; None: the bag has no such topic. `cameras` by camera, `descriptions` by node.

    `joint_states`: the topics that together tell of all joints, those that the bag has.
    `commands`: one for each group of joints whose topic the bag has.
    `on_no_topic`: joints that are commanded by an action, whose goals no topic tells.

    `policy_tells_instruction`: its descriptions say which instruction the policy acts on.
    """

    cameras: dict[str, str]
    joint_states: tuple[str, ...]
    instruction: str | None
    commands: tuple[CommandStream, ...]
    chunks: str | None
    status: str | None
    descriptions: dict[str, str]
    policy_tells_instruction: bool = False
    on_no_topic: tuple[str, ...] = ()
    runs: str | None = None

    @property
    def instructions(self) -> tuple[str, ...]:
        """Where instructions are told: on their topic, and by the policy node in its description.

        Whoever says one may be gone before a recorder has discovered it; the policy's word no recorder misses.
        """
        return tuple(topic for topic in (self.instruction, self.descriptions.get("policy_node")) if topic)


def find_streams(
    bag: Bag,
    robot: RobotConfig,
    parameters: ControllerParameters,
    namespace: str = "",
    remaps: Mapping[str, str] | None = None,
) -> Streams:
    """Finds the topics of a robot in a bag.

    A camera may be recorded raw where the config says compressed, and the other way round.

    Args:
        robot: its cameras and joints.
        parameters: of the controller, for the command.
        namespace: under which the names of the config are looked for.
        remaps: topic of the config -> topic of the bag.

    Raises:
        BagError: a camera or the joint states are not in the bag, or are such that the policy node could use none of
            them; all of it in one text.
    """
    names = StreamNames(namespace, remaps or {})
    problems = _unused_remaps(robot, parameters, names)
    cameras = {camera.name: _camera_topic(bag, camera, names, problems) for camera in robot.cameras}
    joint_states = _joint_states_topics(bag, robot, parameters, names, problems)
    if problems:
        raise BagError(f"{bag.path}: " + "; ".join(problems))
    descriptions = _descriptions(bag, names)
    return Streams(
        cameras=cameras,
        joint_states=joint_states,
        instruction=_typed(bag, names.resolve("instruction"), STRING_TYPE),
        commands=_commands(bag, parameters, names),
        chunks=_typed(bag, names.resolve("action_chunk"), CHUNK_TYPE),
        status=_typed(bag, names.resolve("execution_status"), STATUS_TYPE),
        descriptions=descriptions,
        runs=_typed(bag, names.resolve("episode"), EPISODE_TYPE),
        policy_tells_instruction=_tells_instruction(bag, descriptions.get("policy_node")),
        on_no_topic=tuple(joint for group in parameters.groups if group.is_action for joint in group.joints),
    )


def recorded_parameters(bag: Bag, namespace: str = "") -> dict[str, dict[str, Value]]:
    """The parameters that the nodes told on their description topics, by node ('policy_node'); the last ones count.

    What is no description, or was damaged, tells nothing.
    """
    parameters: dict[str, dict[str, Value]] = {}
    topics = {topic: node for node, topic in _descriptions(bag, StreamNames(namespace)).items()}
    for recorded in bag.read(topics):
        told = described(recorded).get("parameters")
        if isinstance(told, dict):
            parameters[topics[recorded.topic]] = told
    return parameters


def described(recorded: Recorded) -> dict[str, Any]:
    """What a node tells of itself in a message of its description topic; empty if that cannot be understood."""
    try:
        told = json.loads(recorded.message.data)
    except (ValueError, RecursionError):  # also a BagError: the message cannot be read
        return {}
    return told if isinstance(told, dict) else {}


def described_namespaces(bag: Bag) -> list[str]:
    """The namespaces in which a policy node told its parameters; '' for none."""
    ending = "/policy_node/description"
    topics = [topic for topic in bag.topics if topic.endswith(ending) and _typed(bag, topic, STRING_TYPE)]
    return [topic.removesuffix(ending).strip("/") for topic in topics]


def command_topics(parameters: ControllerParameters) -> dict[str, str]:
    """Names and types of the topics on which the arm is commanded; a gripper's action has none."""
    return {group.topic: COMMAND_TYPES[group.type] for group in parameters.groups if not group.is_action}


def command_positions(
    recorded: Recorded, robot: RobotConfig, commands: Iterable[CommandStream]
) -> tuple[int, NDArray[np.float64]]:
    """When a command is due [ns] and the positions that it asks for [joints] in rad or m; NaN: not commanded.

    Raises:
        BagError: its lengths contradict each other.
    """
    message = recorded.message
    command = next(command for command in commands if command.topic == recorded.topic)
    if command.type == COMMAND_TYPES["position_array"]:
        return recorded.log_ns, _by_name(recorded, robot, command, command.joints, message.data)
    stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec or recorded.log_ns
    if command.type == COMMAND_TYPES["joint_state"]:
        return stamp_ns, _by_name(recorded, robot, command, message.name, message.position)
    if not message.points:
        return stamp_ns, np.full(len(robot.joints), np.nan)
    first = message.points[0]
    return stamp_ns + since_start_ns(first), _by_name(recorded, robot, command, message.joint_names, first.positions)


def since_start_ns(point: Any) -> int:
    """When a point of a trajectory is due after the trajectory's beginning."""
    return int(point.time_from_start.sec * 10**9 + point.time_from_start.nanosec)


def _by_name(
    recorded: Recorded, robot: RobotConfig, command: CommandStream, names: Sequence[str], positions: Sequence[float]
) -> NDArray[np.float64]:
    if len(names) != len(positions):
        when = time_text(recorded.log_ns)
        raise BagError(f"{recorded.topic} at {when}: {len(names)} joints but {len(positions)} positions")
    places = dict(zip(names, (np.asarray(positions, np.float64) - command.offset) / command.scale, strict=True))
    values = np.array([places.get(name, np.nan) for name in robot.joint_names], dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _typed(bag: Bag, topic: str, *types: str) -> str | None:
    """The topic, if it has messages of one of these types."""
    found = bag.topics.get(topic)
    return topic if found is not None and found.type in types and found.messages else None


def _unused_remaps(robot: RobotConfig, parameters: ControllerParameters, names: StreamNames) -> list[str]:
    known = [*(camera.topic for camera in robot.cameras), *parameters.joint_states_topics, *_OWN_NAMES]
    known += command_topics(parameters)
    unused = names.unused_remaps(known)
    return [f"--remap {name}: the robot config has no such topic, only {', '.join(known)}" for name in unused]


def _camera_topic(bag: Bag, camera: Camera, names: StreamNames, problems: list[str]) -> str:
    """The topic as configured, or the raw or compressed one beside it; '' and a problem if it cannot be used."""
    full = names.resolve(camera.topic)
    base = full.removesuffix("/compressed")
    types = tuple(IMAGE_TYPES.values())
    topic = next((name for name in (full, base, f"{base}/compressed") if _typed(bag, name, *types)), None)
    if topic is None:
        beside = camera.topic.removesuffix("/compressed")
        problems.append(why_missing(bag.topics, f"camera '{camera.name}'", beside, types, names))
        return ""
    first = _first_message(bag, topic)
    if first is not None and (unusable := _unusable_pictures(first)):
        problems.append(f"camera '{camera.name}': the images on {topic} are {unusable}")
    return topic


def _first_message(bag: Bag, topic: str) -> Any:
    """The first message that can be read, or None."""
    for recorded in bag.read([topic]):
        with contextlib.suppress(BagError):
            return recorded.message
    return None


def _unusable_pictures(image: Any) -> str:
    """What is wrong with all images of a topic that begins with this one; '': nothing."""
    if not hasattr(image, "format"):
        if image.encoding in BYTES_PER_PIXEL:
            return ""
        return f"encoded as '{shortened(image.encoding)}', expected one of {', '.join(BYTES_PER_PIXEL)}"
    words = set(re.findall(r"[a-z0-9]+", image.format.lower()))
    return f"of the format '{shortened(image.format)}', expected JPEG or PNG" if words & _NO_PICTURES else ""


def _joint_states_topics(
    bag: Bag, robot: RobotConfig, parameters: ControllerParameters, names: StreamNames, problems: list[str]
) -> tuple[str, ...]:
    """The topics of the joint states; a problem if they cannot be used."""
    configured = parameters.joint_states_topics
    topics = [topic for name in configured if (topic := _typed(bag, names.resolve(name), JOINT_STATE_TYPE))]
    absent = [name for name in configured if names.resolve(name) not in topics]
    missing, heard = _joints_missing(bag, topics, robot)
    if missing and absent:
        problems += [why_missing(bag.topics, "joint states", name, (JOINT_STATE_TYPE,), names) for name in absent]
    if missing and topics:
        lists = " and ".join(f"[{listed(joints)}]" for joints in heard) or "nothing"
        have = f"{topics[0]} has" if len(topics) == 1 else f"{' and '.join(topics)} have"
        problems.append(f"joint states: {have} {lists}, but not {listed(sorted(missing))} of the robot config")
    return tuple(topics)


def _joints_missing(bag: Bag, topics: Sequence[str], robot: RobotConfig) -> tuple[set[str], list[tuple[str, ...]]]:
    """The joints that the first messages of none of the topics tell of, and what they tell of instead."""
    missing = set(robot.joint_names)
    found: dict[tuple[str, ...], None] = {}
    for topic in topics:
        for recorded in itertools.islice(bag.read([topic]), _JOINT_STATES_LOOKED_AT):
            with contextlib.suppress(BagError):
                joints = recorded.message.name[:MAX_NAMES]
                missing.difference_update(joints)
                if not missing:
                    return missing, []
                found[tuple(joints)] = None
    return missing, list(itertools.islice(found, 5))


def _commands(bag: Bag, parameters: ControllerParameters, names: StreamNames) -> tuple[CommandStream, ...]:
    found = []
    for group in parameters.groups:
        kind = COMMAND_TYPES.get(group.type, "")
        topic = _typed(bag, names.resolve(group.topic), kind)
        if topic and group.scale == 0.0:
            raise BagError(f"the positions commanded on {topic} cannot be told: their 'scale' is 0")
        if topic:
            found.append(CommandStream(topic, kind, group.joints, group.scale, group.offset))
    return tuple(found)


def _descriptions(bag: Bag, names: StreamNames) -> dict[str, str]:
    found = {node: _typed(bag, names.resolve(f"{node}/description"), STRING_TYPE) for node in DESCRIBED_NODES}
    return {node: topic for node, topic in found.items() if topic}


def _tells_instruction(bag: Bag, topic: str | None) -> bool:
    messages = bag.read([topic]) if topic else ()
    return any("instruction" in described(recorded) for recorded in messages)
