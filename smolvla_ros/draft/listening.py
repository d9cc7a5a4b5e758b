"""Looks at a running robot: joint states, pictures, who takes commands for which joints, and the robot description.

Threads are those of `ArmClient`: its executor stores what comes, the caller's thread waits and reads.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from smolvla_ros.client import ArmClient, ClientError
from smolvla_ros.parameters.controller import CommandType
from smolvla_ros.qos import LATCHED

from .found import CommandTopic, FoundRobot, ImageTopic

# Drivers on a busy machine are discovered late; who tells of no joints is known to after so long.
_PATIENCE_S = 8.0
_DISCOVERY_S, _LISTEN_S, _PARAMETER_TIMEOUT_S = 1.5, 2.0, 1.0
_KINDS = {kind.__name__: kind for kind in (JointState, Image, CompressedImage)}
_COMMANDS: dict[str, CommandType] = {
    "trajectory_msgs/msg/JointTrajectory": "joint_trajectory",
    "std_msgs/msg/Float64MultiArray": "position_array",
}
_SEND_GOAL = "/_action/send_goal"
_ACTIONS: dict[str, CommandType] = {
    "control_msgs/action/GripperCommand_SendGoal": "gripper_command",
    "control_msgs/action/ParallelGripperCommand_SendGoal": "parallel_gripper_command",
}
# Nodes of ours that command or only listen.
_COMMANDER = "controller_node"
_OURS = (_COMMANDER, "recorder_node", "view_node")


class _Heard:
    """What came on a topic: how often, and the last of it."""

    def __init__(self, kind: Any):
        self.kind, self.count, self.last = kind, 0, b""

    def take(self, data: bytes) -> None:
        self.count, self.last = self.count + 1, data

    def message(self) -> Any:
        return deserialize_message(self.last, self.kind) if self.last else None


def find_robot(client: ArmClient) -> FoundRobot:
    """Looks around for some seconds."""
    node = client.node

    def tells_joints() -> bool:
        return any("sensor_msgs/msg/JointState" in types for _, types in node.get_topic_names_and_types())

    client.wait_for(tells_joints, _PATIENCE_S)
    client.pause(_DISCOVERY_S)
    topics = {name: types[0] for name, types in node.get_topic_names_and_types() if len(types) == 1}
    heard = {
        topic: _Heard(_KINDS[type_.rpartition("/")[2]])
        for topic, type_ in topics.items()
        if type_.startswith("sensor_msgs/") and type_.rpartition("/")[2] in _KINDS and _drivers(client, topic)
    }
    for topic, one in heard.items():
        node.create_subscription(one.kind, topic, one.take, qos_profile_sensor_data, raw=True)
    descriptions: list[str] = []
    on_description = partial(_keep, descriptions)
    node.create_subscription(String, "robot_description", on_description, LATCHED)
    began_s = time.monotonic()
    client.pause(_LISTEN_S)
    lasted_s = time.monotonic() - began_s
    states = {topic: one for topic, one in heard.items() if one.kind is JointState and one.count}
    return FoundRobot(
        joint_states={_named(client, topic): tuple(one.message().name) for topic, one in states.items()},
        rates_hz={_named(client, topic): one.count / lasted_s for topic, one in states.items()},
        images=tuple(
            _image(_named(client, topic), one, lasted_s) for topic, one in sorted(heard.items())
            if one.kind is not JointState
        ),
        commands=(*_command_topics(client, topics, set(states)), *_command_actions(client)),
        urdf=descriptions[-1] if descriptions else "",
    )  # fmt: skip


def _keep(texts: list[str], message: String) -> None:
    texts.append(message.data)


def _named(client: ArmClient, topic: str) -> str:
    """Relative to the namespace, so that the file serves in another one as well."""
    return topic.removeprefix(client.node.get_namespace().rstrip("/") + "/")


def _drivers(client: ArmClient, topic: str) -> list[str]:
    """Who publishes a topic and is no commander of ours."""
    infos = client.node.get_publishers_info_by_topic(topic)
    return [info.node_name for info in infos if info.node_name != _COMMANDER]


def _image(topic: str, heard: _Heard, lasted_s: float) -> ImageTopic:
    if heard.kind is CompressedImage:
        return ImageTopic(topic, "compressed", heard.count / lasted_s)
    message = heard.message()
    size = f"{message.width} x {message.height}" if message else ""
    return ImageTopic(topic, "raw", heard.count / lasted_s, size)


def _command_topics(client: ArmClient, topics: dict[str, str], states: set[str]) -> list[CommandTopic]:
    found = []
    for topic, type_ in sorted(topics.items()):
        kind = _COMMANDS.get(type_)
        if type_ == "sensor_msgs/msg/JointState" and topic not in states and not _drivers(client, topic):
            kind = "joint_state"
        listeners = [i for i in client.node.get_subscriptions_info_by_topic(topic) if i.node_name not in _OURS]
        listeners = [i for i in listeners if i.node_name != client.node.get_name()]
        if kind and listeners:
            joints = _joints_of(client, _full_name(listeners[0]), "joints")
            found.append(CommandTopic(kind, _named(client, topic), joints, _full_name(listeners[0])))
    return found


def _command_actions(client: ArmClient) -> list[CommandTopic]:
    """Gripper actions; their servers are controllers whose parameter 'joint' says what they move."""
    found = []
    for service, types in client.node.get_service_names_and_types():
        kind = _ACTIONS.get(types[0])
        if kind and service.endswith(_SEND_GOAL):
            action = service.removesuffix(_SEND_GOAL)
            server = action.rpartition("/")[0]
            found.append(CommandTopic(kind, _named(client, action), _joints_of(client, server, "joint"), server))
    return found


def _full_name(info: TopicEndpointInfo) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def _joints_of(client: ArmClient, node: str, parameter: str) -> tuple[str, ...]:
    """What a controller of ros2_control says that it moves; () of a node that does not say."""
    try:
        value = client.parameter(node, parameter, _PARAMETER_TIMEOUT_S)
    except ClientError:
        return ()
    if isinstance(value, str) and value:
        return (value,)
    return tuple(value) if isinstance(value, list) and all(isinstance(name, str) for name in value) else ()
