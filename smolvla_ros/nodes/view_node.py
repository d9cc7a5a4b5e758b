"""The node behind the live view: listens to everything, publishes instructions, calls stop, resume and reset.

Threads: the thread of `watch` takes the newest of each topic five times a second and brings the page up to date; while
nobody looks it only keeps the history of the status. The client's executor wakes for answers of services only. Viser
calls `say`, `stop`, `resume` and `reset` from threads of its own, where publishing and calling a service asynchronously
are safe.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NoReturn

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point, Pose, PoseArray, Quaternion
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from smolvla_ros.client import ARM_NODES, ArmClient
from smolvla_ros.episode.watch import EpisodeOutcome, Termination
from smolvla_ros.execution.chunk import Chunk, ChunkError
from smolvla_ros.execution.status import ControllerState, Reason
from smolvla_ros.installation import share_folder
from smolvla_ros.msg import ActionChunk, Episode, ExecutionStatus
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.qos import LATCHED
from smolvla_ros.robot import RobotConfig, RobotConfigError
from smolvla_ros.robot.images import ImageError, decode_image
from smolvla_ros.view.page import Page
from smolvla_ros.view.robot_model import RobotModel, RobotModelError
from smolvla_ros.view.watched import ChunkAhead, ExecutionFacts, RunFacts, Watched
from smolvla_ros.view.words import remark_on_instruction

from .polling import PolledSubscription

_PERIOD_S = 0.2  # what a person follows; the policy needs the processor more
# Larger pictures are drawn smaller: the panel has no more room, and sending them takes the cores from the policy.
_PICTURE_COLUMNS = 320
# Of topics with several publishers as much as all of them may say: arm and gripper at once, every node once a second.
_JOINT_STATES_DEPTH, _DIAGNOSTICS_DEPTH = 4, 20


class ViewNode:
    """Watches one arm through a client."""

    def __init__(self, client: ArmClient, watched: Watched):
        self._node = node = client.node
        self._watched = watched
        # The arm that ships, until somebody publishes a robot_description.
        watched.set_robot((share_folder() / "urdf" / "so101.urdf").read_text(encoding="utf-8"))
        self.page: Page | None = None
        self._model: tuple[str, RobotModel | None] | None = None
        self._path = node.create_publisher(PoseArray, "chunk_path", QoSProfile(depth=1))
        self._instruction = node.create_publisher(String, "instruction", LATCHED)
        self._triggers = {
            name: node.create_client(Trigger, name)
            for name in ("controller_node/stop", "controller_node/resume", "sim_node/reset")
        }
        poll = functools.partial(PolledSubscription, node)
        self._status = poll(ExecutionStatus, "execution_status", self._on_status)
        self._streams = [
            poll(ActionChunk, "action_chunk", self._on_chunk),
            poll(DiagnosticArray, "/diagnostics", self._on_diagnostics, depth=_DIAGNOSTICS_DEPTH),
            poll(Episode, "episode", self._on_episode, latched=True),
            poll(String, "robot_description", self._on_robot_description, latched=True),
            poll(String, "policy_node/instruction_status", self._on_instruction_status, latched=True),
            *(
                poll(String, f"{name}/description", functools.partial(self._on_description, name), latched=True)
                for name in ARM_NODES
            ),
        ]
        self._described_streams: dict[str, PolledSubscription] = {}

    def take(self, all_streams: bool) -> None:
        """Fetches what has come: the status, and with `all_streams` everything else that is shown."""
        self._status.take()
        if not all_streams:
            return
        for stream in (*self._streams, *self._described_streams.values()):
            stream.take()

    # What a person does, in viser's threads.

    def say(self, text: str) -> None:
        self._watched.add_instruction(text)
        self._instruction.publish(String(data=text))

    def stop(self) -> None:
        self._call("controller_node/stop")

    def resume(self) -> None:
        self._call("controller_node/resume")

    def reset(self) -> None:
        self._call("sim_node/reset")

    def _call(self, name: str) -> None:
        client = self._triggers[name]
        if not client.service_is_ready():
            self._tell(name, "there is no such service: the node does not run", good=False)
            return
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda done: self._answered(name, done.result()))

    def _answered(self, name: str, response: Trigger.Response) -> None:
        self._tell(name, response.message or ("done" if response.success else "refused"), response.success)

    def _tell(self, title: str, text: str, good: bool) -> None:
        if self.page is not None:
            self.page.tell(title, text, good)

    # What is heard, in the thread of `take`.

    def _on_status(self, message: ExecutionStatus) -> None:
        facts = ExecutionFacts(
            state=_name(ControllerState, message.state),
            reason=_name(Reason, message.reason),
            detail=message.detail,
            dry_run=message.dry_run,
            sequence=message.sequence,
            remaining_rows=message.remaining_rows,
            remaining_s=message.remaining_s,
            action_age_s=message.action_age_s,
            idle_fraction=message.idle_fraction,
            chunks_merged=message.chunks_merged,
            chunks_rejected=message.chunks_rejected,
            clamps=message.position_clamps + message.velocity_clamps + message.acceleration_clamps,
        )
        self._watched.set_status(facts, time.monotonic())

    def _on_chunk(self, message: ActionChunk) -> None:
        joints = tuple(message.joint_names)
        try:
            chunk = Chunk.from_message(message, joints)
        except ChunkError:
            return  # the controller refuses it and tells why
        ahead = ChunkAhead(joints, chunk.positions, chunk.session, chunk.sequence)
        self._watched.set_chunk(ahead, time.monotonic())
        if self.has_followers:
            self._publish_path(ahead, message.header.stamp)

    @property
    def has_followers(self) -> bool:
        """Whether somebody draws the chunk's way, as RViz and Foxglove do."""
        return bool(self._path.get_subscription_count())

    def _publish_path(self, chunk: ChunkAhead, stamp: Any) -> None:
        """Where the chunk takes the tool, for those who draw it; orientations are not told."""
        model = self._path_model()
        if model is None:
            return
        message = PoseArray()
        message.header.stamp, message.header.frame_id = stamp, model.base
        for x, y, z in model.tool_path(chunk.joints, chunk.positions).tolist():
            message.poses.append(Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(w=1.0)))
        self._path.publish(message)

    def _path_model(self) -> RobotModel | None:
        """The arm that is described now; None if it cannot be understood, which the page tells."""
        urdf = self._watched.snapshot().robot
        if self._model is None or self._model[0] != urdf:
            try:
                self._model = (urdf, RobotModel(urdf))
            except RobotModelError:
                self._model = (urdf, None)
        return self._model[1]

    def _on_joint_state(self, message: JointState) -> None:
        if len(message.name) == len(message.position) <= 1000:
            positions = dict(zip(message.name, message.position, strict=True))
            if np.isfinite(list(positions.values())).all():
                self._watched.set_joints(positions, time.monotonic())

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        mine = f"{self._node.get_namespace().strip('/')}/policy_node: inference".lstrip("/")
        for status in message.status:
            if status.name == mine:
                self._watched.set_latencies({pair.key: pair.value for pair in status.values}, time.monotonic())

    def _on_description(self, name: str, message: String) -> None:
        try:
            facts = json.loads(message.data)
        except ValueError:
            return
        if isinstance(facts, dict):
            self._watched.set_description(name, facts, time.monotonic())
            self._follow(name, facts.get("parameters", {}))

    def _on_instruction_status(self, message: String) -> None:
        if remark := remark_on_instruction(message.data):
            self._tell("instruction", remark.text, remark.good)

    def _on_image(self, camera: str, kind: type, data: bytes) -> None:
        try:
            image = decode_image(deserialize_message(data, kind))
        except (ImageError, RuntimeError):  # from the middleware
            return  # the policy node refuses it and tells why
        every = -(-image.shape[1] // _PICTURE_COLUMNS)
        self._watched.set_image(camera, image[::every, ::every], time.monotonic())

    def _on_episode(self, message: Episode) -> None:
        if not message.number:
            return
        ending = _name(Termination, message.termination_reason).replace("_", " ") if message.termination_reason else ""
        outcome = _name(EpisodeOutcome, message.outcome) if message.outcome else ""
        run = RunFacts(message.number, message.instruction, ending, message.detail, outcome)
        self._watched.set_run(run, time.monotonic())

    def _on_robot_description(self, message: String) -> None:
        self._watched.set_robot(message.data)

    # What follows from it.

    def _follow(self, node: str, parameters: dict[str, Any]) -> None:
        """Hears the cameras that the policy looks through and the joint states that the controller goes by."""
        try:
            if node == "policy_node":
                self._follow_cameras(PolicyParameters.from_values(parameters))
            elif node == "controller_node":
                self._follow_joint_states(ControllerParameters.from_values(parameters))
        except (ParameterError, RobotConfigError) as error:
            self._node.get_logger().warning(f"{node} describes a robot that this version does not know: {error}")

    def _follow_cameras(self, parameters: PolicyParameters) -> None:
        for camera in RobotConfig.from_parameters(parameters).cameras:
            kind = CompressedImage if camera.transport == "compressed" else Image
            callback = functools.partial(self._on_image, camera.name, kind)
            self._hear(f"camera {camera.name}", kind, camera.topic, callback, raw=True)

    def _follow_joint_states(self, parameters: ControllerParameters) -> None:
        for number, topic in enumerate(parameters.joint_states_topics):
            self._hear(f"joint states {number}", JointState, topic, self._on_joint_state, depth=_JOINT_STATES_DEPTH)

    def _hear(self, name: str, kind: type, topic: str, callback: Callable[[Any], None], **options: Any) -> None:
        """Subscribes to a stream of the robot's description; one that has changed is subscribed anew."""
        known = self._described_streams.get(name)
        if known is not None:
            if known.identity == (kind, self._node.resolve_topic_name(topic)):
                return
            known.destroy()
        self._described_streams[name] = PolledSubscription(self._node, kind, topic, callback, **options)


def _name(kind: type[IntEnum], number: int) -> str:
    return kind(number).name.lower() if number in list(kind) else f"{kind.__name__} {number}"


def watch(node: ViewNode, watched: Watched, page: Page, check: Callable[[], None]) -> NoReturn:
    """Keeps the page up to date until `check` raises."""
    while True:
        check()
        time.sleep(_PERIOD_S)
        is_watched = page.is_watched
        node.take(all_streams=is_watched or node.has_followers)
        if is_watched:
            page.update(watched.snapshot(), time.monotonic())
