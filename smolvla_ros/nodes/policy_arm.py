"""The policy node's side of one arm: its topics, what was said to it, and the `Asker` that asks for it.

Callbacks run in the executor's thread, validate and cache; the inference thread publishes chunks and reports.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Any

from rclpy.duration import Duration
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from smolvla_ros.msg import ActionChunk, ExecutionStatus
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.policy.asker import Asker
from smolvla_ros.policy.loop_types import LoopClocks, LoopState, SentChunk
from smolvla_ros.policy.questions import ChunkSource
from smolvla_ros.policy.requests import ExecutionView
from smolvla_ros.qos import LATCHED
from smolvla_ros.robot import Camera, RobotConfig
from smolvla_ros.robot.images import greyed
from smolvla_ros.robot.observation import ObservationBuffer
from smolvla_ros.robot.refusals import Refusal, RefusedMessage
from smolvla_ros.stamps import stamp_ns

from .instructions import InstructionTopic
from .joint_state_reader import JointStateReader
from .lifecycle import ManagedNode
from .patience import RefusalLog, WaitLog

STATUS_TIMEOUT_S = 1.0


class PolicyArm:
    """One arm of a policy node that is being configured; what it creates is the node's.

    Args:
        node: whose parameters hold for all of its arms.
        name: the namespace of the arm's relative topics, below the node's own; empty: they are the node's own. A topic
            that begins with a slash, such as that of a camera that sees all arms, is the same for all.
        robot: as all of the node's arms are built.
        policy: the loaded checkpoint.
        refusal: why an arm may not begin to move now; '' if it may.

    `session` and `asker` are those of the last activation; `asker` is None while there is none.
    """

    def __init__(
        self,
        node: ManagedNode[PolicyParameters],
        name: str,
        robot: RobotConfig,
        policy: Any,
        refusal: Callable[[PolicyArm], str] = lambda arm: "",
    ):
        self.name, self.session = name, 0
        self.asker: Asker | None = None
        self.instruction = node.parameters.instruction
        self.waits = WaitLog(node.get_logger())
        self.refused = ""  # why the instruction that was said last is not followed
        self._node, self._robot, self._policy, self._refusal = node, robot, policy, refusal
        self._said = f"arm '{name}': " if name else ""
        self._refusals = RefusalLog(node.get_logger())
        self.buffer = ObservationBuffer(
            [camera.name for camera in robot.cameras],
            robot.joint_names,
            policy_setup.freshness(node.parameters),
            JointStateReader().read,
        )
        self._unseen = {camera.name for camera in robot.cameras}
        self._status_heard_s = 0.0
        self._create_topics()
        if self.instruction:
            self._check_instruction(self.instruction)

    def activate(self, source: ChunkSource, clocks: LoopClocks) -> Asker:
        """A new session begins; its `Asker`, for the node's loop."""
        self.session, self._status_heard_s = policy_setup.new_session(), 0.0
        parameters = self._node.parameters
        self.asker = Asker(
            self.name, source, self.buffer,
            policy_setup.request_policy(parameters),
            policy_setup.loop_settings(parameters, self.session),
            clocks, publish=self._publish_chunk, report=self._log_state,
        )  # fmt: skip
        self.asker.set_instruction(self.instruction)
        return self.asker

    def deactivate(self) -> None:
        """There is no session any more."""
        self.asker = None

    def watch_controller(self) -> None:
        """To be called a few times a second: a controller that fell silent executes nothing."""
        if self.asker is not None and time.monotonic() - self._status_heard_s > STATUS_TIMEOUT_S:
            self.asker.set_status(None)

    def description(self) -> dict[str, Any]:
        """What is the arm's own in a description."""
        return {"session": self.session, "instruction": self.instruction}

    def describe(self, facts: dict[str, Any]) -> None:
        """Tells in the arm's namespace what moves it; without one the node's own description does."""
        if self._description is not None:
            self._description.publish(String(data=json.dumps(facts)))

    def topic(self, name: str) -> str:
        """A topic's name as the node has it."""
        return f"{self.name}/{name}" if self.name and not name.startswith("/") else name

    # What it is made of.

    def _create_topics(self) -> None:
        node, topic = self._node, self.topic
        self._chunks = node.create_publisher(ActionChunk, topic("action_chunk"), QoSProfile(depth=1))
        own = node.get_name() if self.name else "~"  # as that of a node in the arm's namespace
        self._instruction_word = node.create_publisher(String, topic(f"{own}/instruction_status"), LATCHED)
        self._description = node.create_publisher(String, topic(f"{own}/description"), LATCHED) if self.name else None
        for joint_states in node.parameters.joint_states_topics:
            node.create_subscription(
                JointState, topic(joint_states), self._on_joint_state, qos_profile_sensor_data, raw=True
            )
        InstructionTopic(node, self._on_instruction, topic("instruction"))
        node.create_subscription(ExecutionStatus, topic("execution_status"), self._on_status, QoSProfile(depth=1))
        for camera in self._robot.cameras:
            self._subscribe_camera(camera)

    def _subscribe_camera(self, camera: Camera) -> None:
        message_type = CompressedImage if camera.transport == "compressed" else Image
        callback = functools.partial(self._on_image, camera.name)
        self._node.create_subscription(message_type, self.topic(camera.topic), callback, qos_profile_sensor_data)

    # Callbacks: validate, cache, wake the inference thread.

    def _on_image(self, camera: str, message: Image | CompressedImage) -> None:
        try:
            self.buffer.put_image(camera, message, self._node.get_clock().now().nanoseconds)
        except RefusedMessage as error:
            self._tell_refusal(f"{self._said}image of camera '{camera}'", error)
            return
        if camera in self._unseen:
            self._unseen.remove(camera)
            if greyed(message):
                text = f"{self._said}camera '{camera}' sends colour pictures made grey ({message.format!r})"
                self._node.get_logger().warning(f"{text}: was the policy trained with such?")
        if self.asker is not None:
            self.asker.notify()

    def _on_joint_state(self, data: bytes) -> None:
        try:
            self.buffer.put_joint_state(data, self._node.get_clock().now().nanoseconds)
        except RefusedMessage as error:
            self._tell_refusal(f"{self._said}joint state", error)

    def _tell_refusal(self, stream: str, error: RefusedMessage) -> None:
        """A busy machine delays messages while the network loads; what stays old shows as waiting."""
        starting = error.reason == Refusal.OLD_STAMP and not self.waits.has_worked
        self._refusals.tell(stream, error.reason, str(error), ordinary=starting)

    def _on_instruction(self, text: str) -> None:
        text = text.strip()
        if text:
            try:
                self._check_instruction(text)
                if refusal := self._refusal(self):
                    raise ParameterError([f"instruction refused: {refusal}"])
            except ParameterError as error:
                self._node.get_logger().error(f"{self._said}{error}; the instruction before stays")
                self._tell_instruction(text, str(error))
                return
        remark = self._policy.remark(text)
        self._tell_instruction(text, remark=remark)
        if text == self.instruction:
            return
        if remark:
            self._node.get_logger().warning(f"{self._said}instruction '{text}': {remark}")
        self.instruction = text
        if self.asker is not None:
            self.asker.set_instruction(text)
        self._node.describe()  # who said it may be gone before a recorder has heard of it

    def _tell_instruction(self, text: str, refusal: str = "", remark: str = "") -> None:
        """The word on what was said last, for whoever said it."""
        self.refused = refusal
        word = {"instruction": text, "accepted": not refusal, "reason": refusal, "remark": remark}
        word["node"] = self._node.get_fully_qualified_name()
        self._instruction_word.publish(String(data=json.dumps(word)))

    def _check_instruction(self, text: str) -> None:
        from smolvla_ros.model import InstructionError

        try:
            self._policy.check_instruction(text)
        except InstructionError as error:
            raise ParameterError([f"instruction refused: {error}"]) from error

    def _on_status(self, message: ExecutionStatus) -> None:
        self._status_heard_s = time.monotonic()
        if self.asker is None:
            return
        last_chunk = (message.last_session, message.last_sequence, bool(message.last_rejection))
        self.asker.set_status(ExecutionView.of(message, self.session, stamp_ns(message.header.stamp), last_chunk))

    # Called by the inference thread.

    def _publish_chunk(self, chunk: SentChunk) -> None:
        message = ActionChunk(
            session=self.session,
            sequence=chunk.sequence,
            joint_names=list(self._robot.joint_names),
            step=Duration(seconds=self._node.parameters.step_s).to_msg(),
            rows=len(chunk.positions),
            positions=chunk.positions.ravel().tolist(),
            frozen_rows=chunk.frozen_rows,
            instruction=chunk.instruction.text,
            instruction_id=chunk.instruction.id,
            inference_s=chunk.inference_s,
            latency_s=chunk.latency_s,
        )
        message.header.stamp = Time(nanoseconds=chunk.stamp_ns).to_msg()
        message.image_stamp = Time(nanoseconds=chunk.image_stamp_ns).to_msg()
        self._chunks.publish(message)

    def _log_state(self, state: LoopState, text: str) -> None:
        log, text = self._node.get_logger(), self._said + text
        if state in (LoopState.IDLE, LoopState.WAITING):
            self.waits.begin(f"waiting: {text}", ordinary=state is LoopState.IDLE)
            return
        self.waits.end()
        if state is LoopState.RUNNING:
            log.info(text)
        elif state is LoopState.TOO_SLOW:
            log.warning(text)
        else:
            log.error(text)
