"""The policy node: cameras, joint states and an instruction in, action chunks out.

Threads: the executor's thread runs every callback here, validates and caches; the inference thread runs the network and
publishes (`smolvla_ros.policy.loop`); a thread of its own hashes the checkpoint's files, which takes seconds for
large ones, while the node already works. Publishing is thread-safe in rclpy. Torch is imported at configure, so that a
signal during the seconds it takes ends the process cleanly.
"""

from __future__ import annotations

import functools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from smolvla_ros.msg import ActionChunk, ExecutionStatus
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.policy.envelope import envelope_s
from smolvla_ros.policy.loop import InferenceLoop
from smolvla_ros.policy.loop_types import LoopState, SentChunk
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
from .policy_diagnostics import diagnostics
from .running import run_node

_STATUS_TIMEOUT_S = 1.0
_CLOCK_WATCH_PERIOD_S = 0.05
_STOP_TIMEOUT_S = 1.5
_HASH_PERIOD_S = 0.2
_STEADY = Clock(clock_type=ClockType.STEADY_TIME)  # a paused simulation must not silence the node


class PolicyNode(ManagedNode[PolicyParameters]):
    """Runs a SmolVLA checkpoint."""

    PARAMETERS: ClassVar[type[PolicyParameters]] = PolicyParameters

    def __init__(self) -> None:
        super().__init__("policy_node")
        self._loop: InferenceLoop | None = None
        self._waits, self._refusals = WaitLog(self.get_logger()), RefusalLog(self.get_logger())
        self._session = 0

    # Lifecycle, in the executor's thread.

    def configure(self) -> None:
        parameters = self.parameters
        self._robot = RobotConfig.from_parameters(parameters)
        self._policy = policy_setup.load_policy(parameters, self._robot, self.get_logger().warning)
        self._buffer = ObservationBuffer(
            [camera.name for camera in self._robot.cameras],
            self._robot.joint_names,
            policy_setup.freshness(parameters),
            JointStateReader().read,
        )
        self._unseen = {camera.name for camera in self._robot.cameras}
        self._chunks = self.create_publisher(ActionChunk, "action_chunk", QoSProfile(depth=1))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._instruction_word = self.create_publisher(String, "~/instruction_status", LATCHED)
        subscribe = self.create_subscription
        for topic in parameters.joint_states_topics:
            subscribe(JointState, topic, self._on_joint_state, qos_profile_sensor_data, raw=True)
        InstructionTopic(self, self._on_instruction)
        subscribe(ExecutionStatus, "execution_status", self._on_status, QoSProfile(depth=1))
        for camera in self._robot.cameras:
            self._subscribe_camera(camera)
        self._instruction_text = parameters.instruction
        if self._instruction_text:
            self._check_instruction(self._instruction_text)
        self._report_checkpoint()
        hashing = ThreadPoolExecutor(1, "hashing")
        self._hashes = hashing.submit(policy_setup.file_hashes, self._policy.folder, self.get_logger().warning)
        hashing.shutdown(wait=False)
        self._hash_timer = self.create_timer(_HASH_PERIOD_S, self._on_hashes, clock=_STEADY)

    def activate(self) -> None:
        self._session = policy_setup.new_session()
        self._status_heard_s = 0.0
        self._loop = InferenceLoop(
            policy_setup.predictor(self.parameters, self._policy, self._robot),
            self._buffer,
            policy_setup.request_policy(self.parameters),
            policy_setup.loop_settings(self.parameters, self._session),
            clock_ns=lambda: self.get_clock().now().nanoseconds,
            steady_s=time.monotonic,
            publish=self._publish_chunk, report=self._log_state,
        )  # fmt: skip
        self._loop.set_instruction(self._instruction_text)
        self.create_timer(_CLOCK_WATCH_PERIOD_S, self._loop.watch_clock, clock=_STEADY)
        self.create_timer(1.0, self._publish_diagnostics, clock=_STEADY)
        self.create_timer(_STATUS_TIMEOUT_S / 4, self._watch_controller, clock=_STEADY)
        self._loop.start()

    def deactivate(self) -> None:
        if self._loop is not None and not self._loop.stop(_STOP_TIMEOUT_S):
            self.get_logger().warning("an inference is still running; its chunk will be dropped")
        self._loop = None

    def cleanup(self) -> None:
        self._policy = None

    def parameters_changed(self, names: set[str]) -> None:
        if self._loop is not None:
            self._loop.set_requests(policy_setup.request_policy(self.parameters))

    def description(self) -> dict[str, Any]:
        hashes = self._hashes.result() if self._hashes.done() else {}
        checkpoint = {"folder": str(self._policy.folder), "sha256": hashes}
        return {"checkpoint": checkpoint, "session": self._session, "instruction": self._instruction_text}

    # What configure is made of.

    def _subscribe_camera(self, camera: Camera) -> None:
        message_type = CompressedImage if camera.transport == "compressed" else Image
        callback = functools.partial(self._on_image, camera.name)
        self.create_subscription(message_type, camera.topic, callback, qos_profile_sensor_data)

    def _report_checkpoint(self) -> None:
        config = self._policy.config
        envelope_ms = 1e3 * envelope_s(self._rows, self.parameters.step_s)
        self.get_logger().info(
            f"loaded {self.parameters.checkpoint}: {len(self._policy.cameras)} cameras, {config.chunk_size} actions of "
            f"{self._policy.action_dim} joints; stays ahead of the arm up to a latency of {envelope_ms:.0f} ms"
        )
        self.get_logger().info(f"arithmetic {self._policy.engine.reason}")

    @property
    def _rows(self) -> int:
        return policy_setup.chunk_rows(self.parameters, self._policy)

    # Callbacks: validate, cache, wake the inference thread.

    def _on_image(self, camera: str, message: Image | CompressedImage) -> None:
        try:
            self._buffer.put_image(camera, message, self.get_clock().now().nanoseconds)
        except RefusedMessage as error:
            self._tell_refusal(f"image of camera '{camera}'", error)
            return
        if camera in self._unseen:
            self._unseen.remove(camera)
            if greyed(message):
                text = f"camera '{camera}' sends colour pictures made grey ({message.format!r})"
                self.get_logger().warning(f"{text}: was the policy trained with such?")
        self._notify()

    def _on_joint_state(self, data: bytes) -> None:
        try:
            self._buffer.put_joint_state(data, self.get_clock().now().nanoseconds)
        except RefusedMessage as error:
            self._tell_refusal("joint state", error)

    def _tell_refusal(self, stream: str, error: RefusedMessage) -> None:
        """A busy machine delays messages while the network loads; what stays old shows as waiting."""
        starting = error.reason == Refusal.OLD_STAMP and not self._waits.has_worked
        self._refusals.tell(stream, error.reason, str(error), ordinary=starting)

    def _on_instruction(self, text: str) -> None:
        text = text.strip()
        if text:
            try:
                self._check_instruction(text)
            except ParameterError as error:
                self.get_logger().error(f"{error}; the instruction before stays")
                self._tell_instruction(text, str(error))
                return
        remark = self._policy.remark(text)
        self._tell_instruction(text, remark=remark)
        if text == self._instruction_text:
            return
        if remark:
            self.get_logger().warning(f"instruction '{text}': {remark}")
        self._instruction_text = text
        if self._loop is not None:
            self._loop.set_instruction(text)
        self.describe()  # who said it may be gone before a recorder has heard of it

    def _tell_instruction(self, text: str, refusal: str = "", remark: str = "") -> None:
        """The word on what was said last, for whoever said it."""
        word = {"instruction": text, "accepted": not refusal, "reason": refusal, "remark": remark}
        self._instruction_word.publish(String(data=json.dumps(word)))

    def _check_instruction(self, text: str) -> None:
        from smolvla_ros.model import InstructionError

        try:
            self._policy.check_instruction(text)
        except InstructionError as error:
            raise ParameterError([f"instruction refused: {error}"]) from error

    def _on_status(self, message: ExecutionStatus) -> None:
        self._status_heard_s = time.monotonic()
        if self._loop is None:
            return
        last_chunk = (message.last_session, message.last_sequence, bool(message.last_rejection))
        self._loop.set_status(
            ExecutionView.of(message, self._session, stamp_ns(message.header.stamp), last_chunk)
        )

    def _watch_controller(self) -> None:
        if self._loop is not None and time.monotonic() - self._status_heard_s > _STATUS_TIMEOUT_S:
            self._loop.set_status(None)

    def _on_hashes(self) -> None:
        if self._hashes.done():
            self._hash_timer.cancel()
            self.describe()

    def _notify(self) -> None:
        if self._loop is not None:
            self._loop.notify()

    # Called by the inference thread.

    def _publish_chunk(self, chunk: SentChunk) -> None:
        message = ActionChunk(
            session=self._session,
            sequence=chunk.sequence,
            joint_names=list(self._robot.joint_names),
            step=Duration(seconds=self.parameters.step_s).to_msg(),
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
        log = self.get_logger()
        if state in (LoopState.IDLE, LoopState.WAITING):
            self._waits.begin(f"waiting: {text}", ordinary=state is LoopState.IDLE)
            return
        self._waits.end()
        if state is LoopState.RUNNING:
            log.info(text)
        elif state is LoopState.TOO_SLOW:
            log.warning(text)
        else:
            log.error(text)

    def _publish_diagnostics(self) -> None:
        if self._loop is None:
            return
        self._waits.look()
        chunk_s = self._rows * self.parameters.step_s
        name, arithmetic = self.get_fully_qualified_name(), self._policy.engine.reason
        message = diagnostics(name, self._loop, self._buffer.refused(), chunk_s, arithmetic, self.health())
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
        if self._loop.state[0] is LoopState.GIVEN_UP:
            self.get_logger().error("too many failures: deactivating")
            self.trigger_deactivate()


def main() -> int:
    return run_node(PolicyNode)
