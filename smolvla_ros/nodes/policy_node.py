"""The policy node: cameras, joint states and an instruction in, action chunks out.

Threads: the executor's thread runs every callback here, validates and caches; the inference thread (`inference.py`)
runs the network and publishes. Publishing is thread-safe in rclpy. Torch is imported at configure, so that a signal
during the seconds it takes ends the process cleanly.
"""

from __future__ import annotations

import functools
import os
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import ClockChange, JumpHandle, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from smolvla_ros.execution.requests import RequestPolicy, envelope_s
from smolvla_ros.msg import ActionChunk, ExecutionStatus
from smolvla_ros.parameters import ParameterError, policy, robot
from smolvla_ros.parameters.table import Value
from smolvla_ros.robot import Camera, RobotConfig
from smolvla_ros.robot.fit import fit_problems
from smolvla_ros.robot.observation import Freshness, ObservationBuffer

from .inference import ExecutionView, InferenceLoop, PredictedChunk, Settings, State
from .lifecycle import ManagedNode
from .lifecycle import main as run_node
from .policy_diagnostics import diagnostics

_STATUS_TIMEOUT_S = 1.0
_STOP_TIMEOUT_S = 1.5
_LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class PolicyNode(ManagedNode):
    """Runs a SmolVLA checkpoint; see `parameters.policy` and `parameters.robot` for its parameters."""

    TABLE = (*robot.PARAMETERS, *policy.PARAMETERS)

    def __init__(self) -> None:
        super().__init__("policy_node")
        self._inputs: list[Any] = []
        self._active_timers: list[Any] = []
        self._loop: InferenceLoop | None = None
        self._jump_handle: JumpHandle | None = None

    # Lifecycle, in the executor's thread.

    def configure(self, values: dict[str, Value]) -> None:
        self._values = values
        self._robot = RobotConfig.from_parameters(values)
        self._policy = self._load_policy()
        self._buffer = ObservationBuffer(
            [camera.name for camera in self._robot.cameras], self._robot.joint_names, _freshness(values)
        )
        self._chunks = self.create_publisher(ActionChunk, "action_chunk", QoSProfile(depth=1))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        subscribe = self.create_subscription
        self._inputs = [
            subscribe(JointState, "joint_states", self._on_joint_state, qos_profile_sensor_data),
            subscribe(String, "instruction", self._on_instruction, _LATCHED),
            subscribe(ExecutionStatus, "execution_status", self._on_status, QoSProfile(depth=1)),
            *(self._subscribe_camera(camera) for camera in self._robot.cameras),
        ]
        self._instruction_text = str(values["instruction"])
        if self._instruction_text:
            self._check_instruction(self._instruction_text)
        self._report_checkpoint()

    def activate(self) -> None:
        self._session = time.time_ns()
        self._status_heard_s = 0.0
        self._loop = InferenceLoop(
            self._policy, self._robot, self._buffer, self._request_policy(), self._settings(),
            clock_ns=lambda: self.get_clock().now().nanoseconds,
            steady_s=time.monotonic,
            publish=self._publish_chunk, report=self._log_state,
        )  # fmt: skip
        self._loop.set_instruction(self._instruction_text)
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jump_handle = self.get_clock().create_jump_callback(threshold, post_callback=self._on_clock_jump)
        self._active_timers = [
            self.create_timer(1.0, self._publish_diagnostics),
            self.create_timer(_STATUS_TIMEOUT_S / 4, self._watch_controller),
        ]
        self._loop.start()

    def deactivate(self) -> None:
        for timer in self._active_timers:
            self.destroy_timer(timer)
        self._active_timers = []
        if self._jump_handle is not None:
            self._jump_handle.unregister()
            self._jump_handle = None
        if self._loop is not None and not self._loop.stop(_STOP_TIMEOUT_S):
            self.get_logger().warning("an inference is still running; its chunk will be dropped")
        self._loop = None

    def cleanup(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        for name in ("_chunks", "_diagnostics"):
            if hasattr(self, name):
                self.destroy_publisher(getattr(self, name))
                delattr(self, name)
        self._policy = None

    def parameters_changed(self, names: set[str]) -> None:
        self._values.update({name: self.get_parameter(name).value for name in names})
        if self._loop is not None:
            self._loop.set_requests(self._request_policy())

    # What configure is made of.

    def _load_policy(self) -> Any:
        import torch

        from smolvla_ros.model import CheckpointError, SmolVLAPolicy

        values = self._values
        torch.set_num_threads(int(values["torch_threads"]) or max(1, (os.cpu_count() or 2) - 1))
        try:
            loaded = SmolVLAPolicy.from_checkpoint(
                values["checkpoint"],
                device=self._device(),
                dtype=values["dtype"],
                overlong_instruction=values["overlong_instruction"],
                statistics=_statistics(values),
            )
        except CheckpointError as error:
            raise ParameterError([f"parameter 'checkpoint' is {values['checkpoint']!r}: {error}"]) from error
        problems = fit_problems(
            self._robot,
            cameras=loaded.cameras,
            state_dim=loaded.state_dim,
            action_dim=loaded.action_dim,
            state_names=loaded.state_names,
            action_names=loaded.action_names,
            allow_missing_cameras=bool(values["allow_missing_cameras"]),
        )
        if problems:
            raise ParameterError(problems)
        loaded.warm_up()
        return loaded

    def _device(self) -> str:
        """The device asked for; the CPU instead only if that was asked for too, and never silently."""
        import torch

        device = str(self._values["device"])
        if device.startswith("cuda") and not torch.cuda.is_available() and self._values["device_fallback"] == "cpu":
            self.get_logger().warning(f"device {device!r} is absent: running on the CPU (device_fallback)")
            return "cpu"
        return device

    def _subscribe_camera(self, camera: Camera) -> Any:
        message_type = CompressedImage if camera.transport == "compressed" else Image
        callback = functools.partial(self._on_image, camera.name)
        return self.create_subscription(message_type, camera.topic, callback, qos_profile_sensor_data)

    def _report_checkpoint(self) -> None:
        config = self._policy.config
        envelope_ms = 1e3 * envelope_s(self._rows, float(self._values["step_s"]))
        self.get_logger().info(
            f"loaded {self._values['checkpoint']}: {len(self._policy.cameras)} cameras, {config.chunk_size} actions of "
            f"{self._policy.action_dim} joints; stays ahead of the arm up to a latency of {envelope_ms:.0f} ms"
        )

    @property
    def _rows(self) -> int:
        chunk_size = int(self._policy.config.chunk_size)
        return min(int(self._values["actions_per_chunk"]) or chunk_size, chunk_size)

    def _settings(self) -> Settings:
        values, config = self._values, self._policy.config
        return Settings(
            session=self._session,
            rows=self._rows,
            noise_shape=(config.chunk_size, config.max_action_dim),
            seed=None if values["seed"] == -1 else int(values["seed"]),
            needs_status=values["request_rule"] != "continuous",
            retry_backoff_s=float(values["retry_backoff_s"]),
            max_failures=int(values["max_failures"]),
        )

    def _request_policy(self) -> RequestPolicy:
        values = self._values
        return RequestPolicy(
            str(values["request_rule"]), float(values["request_threshold"]), int(values["request_every_n"])
        )

    # Callbacks: validate, cache, wake the inference thread.

    def _on_image(self, camera: str, message: Image | CompressedImage) -> None:
        stamp_ns = Time.from_msg(message.header.stamp).nanoseconds
        try:
            self._buffer.put_image(camera, message, stamp_ns, self.get_clock().now().nanoseconds)
        except ValueError as error:
            self.get_logger().warning(f"image of camera '{camera}' refused: {error}", throttle_duration_sec=5.0)
            return
        self._notify()

    def _on_joint_state(self, message: JointState) -> None:
        stamp_ns = Time.from_msg(message.header.stamp).nanoseconds
        now_ns = self.get_clock().now().nanoseconds
        try:
            self._buffer.put_joint_state(message.name, message.position, stamp_ns, now_ns)
        except ValueError as error:
            self.get_logger().warning(f"joint state refused: {error}", throttle_duration_sec=5.0)

    def _on_instruction(self, message: String) -> None:
        text = message.data.strip()
        if text:
            try:
                self._check_instruction(text)
            except ParameterError as error:
                self.get_logger().error(f"{error}; the instruction before stays")
                return
        self._instruction_text = text
        if self._loop is not None:
            self._loop.set_instruction(text)

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
        mine = message.session == self._session
        self._loop.set_status(
            ExecutionView(
                accepts_chunks=message.state in (ExecutionStatus.HOLDING, ExecutionStatus.FOLLOWING),
                session=message.session,
                sequence=message.sequence,
                remaining_rows=message.remaining_rows if mine else 0,
                rows_executed=message.rows_executed,
            )
        )

    def _watch_controller(self) -> None:
        if self._loop is not None and time.monotonic() - self._status_heard_s > _STATUS_TIMEOUT_S:
            self._loop.set_status(None)

    def _on_clock_jump(self, jump: TimeJump) -> None:
        if self._loop is None:
            return
        change = "changed its source" if jump.clock_change != ClockChange.ROS_TIME_NO_CHANGE else "went backwards"
        self.get_logger().warning(f"the clock {change}: everything measured before is dropped")
        self._loop.forget()

    def _notify(self) -> None:
        if self._loop is not None:
            self._loop.notify()

    # Called by the inference thread.

    def _publish_chunk(self, chunk: PredictedChunk) -> None:
        message = ActionChunk(
            session=self._session,
            sequence=chunk.sequence,
            joint_names=list(self._robot.joint_names),
            step=Duration(seconds=float(self._values["step_s"])).to_msg(),
            rows=len(chunk.positions),
            positions=chunk.positions.ravel().tolist(),
            frozen_rows=0,
            instruction=chunk.instruction.text,
            instruction_id=chunk.instruction.id,
            inference_s=chunk.inference_s,
            latency_s=chunk.latency_s,
        )
        message.header.stamp = Time(nanoseconds=chunk.stamp_ns).to_msg()
        self._chunks.publish(message)

    def _log_state(self, state: State, text: str) -> None:
        log = self.get_logger()
        if state is State.RUNNING:
            log.info(text)
        elif state is State.WAITING:
            log.warning(f"waiting: {text}")
        else:
            log.error(text)

    def _publish_diagnostics(self) -> None:
        if self._loop is None:
            return
        limit_s = envelope_s(self._rows, float(self._values["step_s"]))
        message = diagnostics(self.get_fully_qualified_name(), self._loop, self._buffer.refused_images(), limit_s)
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
        if self._loop.state[0] is State.GIVEN_UP:
            self.get_logger().error("too many failures: deactivating")
            self.trigger_deactivate()


def _statistics(values: dict[str, Value]) -> dict[str, str]:
    chosen = {"observation.state": str(values["state_statistics"]), "action": str(values["action_statistics"])}
    return {feature: choice for feature, choice in chosen.items() if choice}


def _freshness(values: dict[str, Value]) -> Freshness:
    return Freshness(
        max_image_age_ns=int(float(values["max_image_age_s"]) * 1e9),
        max_joint_state_age_ns=int(float(values["max_joint_state_age_s"]) * 1e9),
        future_tolerance_ns=int(float(values["future_tolerance_s"]) * 1e9),
        frozen_frames=int(values["frozen_camera_frames"]),
        accept_zero_stamps=bool(values["accept_zero_stamps"]),
    )


def main() -> int:
    return run_node(PolicyNode)
