"""What runs and what flows on a live arm: nodes and their states, topics with publishers, rates and ages.

For `status` and `doctor`. Messages are counted as they come, serialized; only what is looked at is taken apart. Threads
are those of `ArmClient`: the executor's stores, the caller's reads.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible, qos_profile_sensor_data
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from smolvla_ros.client import ArmClient
from smolvla_ros.controller_examination import ASKED_PARAMETERS, ArmController
from smolvla_ros.execution.urdf import UrdfError, UrdfLimits, read_limits
from smolvla_ros.msg import ActionChunk, ExecutionStatus
from smolvla_ros.nodes.serialized import stamp_ns
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.qos import LATCHED
from smolvla_ros.robot import RobotConfig, RobotConfigError

_WINDOW = 200
_STATE_TIMEOUT_S = 1.0


@dataclass
class Stream:
    """A topic that is listened to: what for, and when its messages came [steady s] with which stamps [ns]."""

    what: str
    topic: str
    kind: Any
    camera: str = ""
    requested: QoSProfile = field(default_factory=lambda: qos_profile_sensor_data)
    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    ages_s: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    unstamped: int = 0
    last: bytes = b""

    @property
    def type_name(self) -> str:
        package, _, _ = self.kind.__module__.partition(".")
        return f"{package}/msg/{self.kind.__name__}"

    def rate_hz(self) -> float:
        """Messages per second over what was heard; 0: too few."""
        times = list(self.times_s)
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 2 and times[-1] > times[0] else 0.0

    def silent_s(self, now_s: float) -> float | None:
        """Since the last message; None: there was none."""
        return now_s - self.times_s[-1] if self.times_s else None

    def message(self) -> Any:
        """The last message."""
        return deserialize_message(self.last, self.kind)


class ArmProbe:
    """Listens to one arm through a client.

    Attributes:
        states: lifecycle state by node name, '' for one that does not answer; only of nodes that run.
        status, policy: what controller and policy told last, None before.
        streams: what is listened to, once the nodes have described themselves.
        urdf_limits: by joint, out of robot_description; empty: nobody publishes one that can be read.
        arm_controllers: who listens to the commands and tells parameters, by topic.
    """

    def __init__(self, client: ArmClient, images: bool = True):
        self._client, self._images, self._looked = client, images, False
        self.states: dict[str, str] = {}
        self.status: ExecutionStatus | None = None
        self.status_at_s = 0.0
        self.policy: dict[str, str] = {}
        self.described: dict[str, dict[str, Any]] = {}
        self.streams: list[Stream] = []
        self.arm_controllers: dict[str, list[ArmController]] = {}
        self.urdf_limits: dict[str, UrdfLimits] = {}
        node = client.node
        for name in ("policy_node", "controller_node", "sim_node"):
            node.create_subscription(String, f"{name}/description", partial(self._on_description, name), LATCHED)
        node.create_subscription(String, "robot_description", self._on_robot_description, LATCHED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos_profile_sensor_data)
        node.create_subscription(ExecutionStatus, "execution_status", self._on_status, qos_profile_sensor_data)

    def look(self, duration_s: float) -> None:
        """Finds the nodes, asks for their states, subscribes to their streams and listens for a while."""
        found = self._client.nodes_there(wait_s=0.0) if self._looked else self._client.nodes_there()
        there = [name.rpartition("/")[2] for name in found]
        self._looked = True
        self.states = {name: self._state(name) for name in there}
        self._subscribe()
        self._client.pause(duration_s)
        policy = str(self.described.get("policy_node", {}).get("node", ""))
        if policy and policy != self.resolve("policy_node"):  # one of several arms: the node is elsewhere
            self.states["policy_node"] = self._state(policy)
        self.arm_controllers = self._find_arm_controllers()

    def fifo_priority(self) -> int:
        """The real-time priority that the controller asks for; 0 is none."""
        return int(self.described.get("controller_node", {}).get("parameters", {}).get("fifo_priority", 0))

    def robot(self) -> tuple[RobotConfig, PolicyParameters, ControllerParameters] | None:
        """The robot as both nodes describe it; None before they do, or if they cannot be understood."""
        policy, controller = (
            self.described.get(name, {}).get("parameters") for name in ("policy_node", "controller_node")
        )
        if not policy or not controller:
            return None
        try:
            parameters = PolicyParameters.from_values(policy)
            return RobotConfig.from_parameters(parameters), parameters, ControllerParameters.from_values(controller)
        except (ParameterError, RobotConfigError):
            return None

    def mismatches(self, stream: Stream) -> list[str]:
        """Why a publisher of a stream cannot be heard: another type, or an incompatible quality of service."""
        found = []
        for info in self._client.node.get_publishers_info_by_topic(stream.topic):
            name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
            if info.topic_type != stream.type_name:
                found.append(f"{name} publishes {info.topic_type}, expected {stream.type_name}")
                continue
            compatibility, reason = qos_check_compatible(info.qos_profile, stream.requested)
            if compatibility == QoSCompatibility.ERROR:
                found.append(f"{name}: {reason}")
        return found

    def publishers(self, topic: str) -> list[str]:
        """Full names of the nodes that publish a topic."""
        infos = self._client.node.get_publishers_info_by_topic(topic)
        return sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos)

    def listeners(self, topic: str) -> int:
        return int(self._client.node.count_subscribers(topic))

    def resolve(self, topic: str) -> str:
        return str(self._client.node.resolve_topic_name(topic))

    # The caller's thread.

    def _state(self, name: str) -> str:
        from smolvla_ros.client import ClientError

        try:
            return self._client.lifecycle_state(name, _STATE_TIMEOUT_S)
        except ClientError:
            return ""

    def _subscribe(self) -> None:
        robot = self.robot()
        topics = robot[1].joint_states_topics if robot else ()
        wanted: list[tuple[str, str, Any, str]] = [("joint states", topic, JointState, "") for topic in topics]
        wanted.append(("chunks", "action_chunk", ActionChunk, ""))
        for camera in robot[0].cameras if robot else ():
            kind = CompressedImage if camera.transport == "compressed" else Image
            wanted.append((f"camera {camera.name}", camera.topic, kind, camera.name))
        known = {stream.topic for stream in self.streams}
        for what, topic, kind, camera_name in wanted:
            full = self.resolve(topic)
            if full in known or (camera_name and not self._images):
                continue
            stream = Stream(what, full, kind, camera_name)
            self.streams.append(stream)
            self._client.node.create_subscription(
                kind, full, partial(self._on_message, stream), stream.requested, raw=True
            )

    def _find_arm_controllers(self) -> dict[str, list[ArmController]]:
        """Listeners of the command topics that have the parameters of a controller; the simulated arm has none."""
        robot = self.robot()
        found: dict[str, list[ArmController]] = {}
        for group in robot[2].groups if robot else ():
            topic = self.resolve(group.topic)
            names = [f"constraints.{joint}.trajectory" for joint in group.joints]
            for info in [] if group.is_action else self._client.node.get_subscriptions_info_by_topic(topic):
                space = info.node_namespace.rstrip("/")
                parameters = self._parameters(f"{space}/{info.node_name}", (*ASKED_PARAMETERS, *names))
                if parameters.keys() - {"use_sim_time"}:
                    rate = self._parameters(f"{space}/controller_manager", ("update_rate",)).get("update_rate", 0)
                    found.setdefault(topic, []).append(ArmController(f"{space}/{info.node_name}", parameters, rate))
        return found

    def _parameters(self, node: str, names: Sequence[str]) -> dict[str, Any]:
        from smolvla_ros.client import ClientError

        try:
            return self._client.parameters(node, names, _STATE_TIMEOUT_S)
        except ClientError:
            return {}

    # The executor's thread.

    def _on_message(self, stream: Stream, data: bytes) -> None:
        stamp, now_ns = stamp_ns(data), self._client.node.get_clock().now().nanoseconds
        stream.times_s.append(time.monotonic())
        stream.last = data
        if stamp:
            stream.ages_s.append((now_ns - stamp) * 1e-9)
        else:
            stream.unstamped += 1

    def _on_description(self, name: str, message: String) -> None:
        self.described[name] = json.loads(message.data)

    def _on_status(self, message: ExecutionStatus) -> None:
        self.status, self.status_at_s = message, time.monotonic()

    def _on_robot_description(self, message: String) -> None:
        try:
            self.urdf_limits = read_limits(message.data)
        except UrdfError:  # a controller that takes its limits from it says why it cannot
            self.urdf_limits = {}

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        mine = f"{self._client.node.get_namespace().strip('/')}/policy_node: inference".lstrip("/")
        for status in message.status:
            if status.name == mine:
                self.policy = {"message": status.message, **{pair.key: pair.value for pair in status.values}}


def median(values: Sequence[float]) -> float:
    """The middle one; NaN of nothing."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else float("nan")
