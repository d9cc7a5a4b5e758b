"""The policy node: cameras, joint states and an instruction in, action chunks out; for one arm or several.

Threads: the executor's thread runs every callback (`PolicyArm`), validates and caches; the inference thread runs the
network and publishes (`smolvla_ros.policy.loop`); a thread of its own hashes the checkpoint's files, which takes
seconds for large ones, while the node already works. Publishing is thread-safe in rclpy. Torch is imported at
configure, so that a signal during the seconds it takes ends the process cleanly.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType

from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.policy.envelope import envelope_s
from smolvla_ros.policy.loop import InferenceLoop
from smolvla_ros.policy.loop_types import LoopClocks, LoopState
from smolvla_ros.robot import RobotConfig

from .lifecycle import ManagedNode
from .policy_arm import STATUS_TIMEOUT_S, PolicyArm
from .policy_diagnostics import diagnostics
from .running import run_node

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
        self._arms: list[PolicyArm] = []

    # Lifecycle, in the executor's thread.

    def configure(self) -> None:
        parameters = self.parameters
        self._robot = RobotConfig.from_parameters(parameters)
        self._policy = policy_setup.load_policy(parameters, self._robot, self.get_logger().warning)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._arms = [
            PolicyArm(self, name, self._robot, self._policy, self._refusal)
            for name in policy_setup.arm_names(parameters)
        ]
        self._report_checkpoint()
        hashing = ThreadPoolExecutor(1, "hashing")
        self._hashes = hashing.submit(policy_setup.file_hashes, self._policy.folder, self.get_logger().warning)
        hashing.shutdown(wait=False)
        self._hash_timer = self.create_timer(_HASH_PERIOD_S, self._on_hashes, clock=_STEADY)

    def activate(self) -> None:
        source = policy_setup.predictor(self.parameters, self._policy, self._robot)
        clocks = LoopClocks(lambda: self.get_clock().now().nanoseconds, time.monotonic)
        askers = [arm.activate(source, clocks) for arm in self._arms]
        self._loop = InferenceLoop(source, askers, clocks, self.parameters.max_batch)
        self.create_timer(_CLOCK_WATCH_PERIOD_S, self._loop.watch_clock, clock=_STEADY)
        self.create_timer(1.0, self._publish_diagnostics, clock=_STEADY)
        self.create_timer(STATUS_TIMEOUT_S / 4, self._watch_controllers, clock=_STEADY)
        self._loop.start()

    def deactivate(self) -> None:
        if self._loop is not None and not self._loop.stop(_STOP_TIMEOUT_S):
            self.get_logger().warning("an inference is still running; its chunks will be dropped")
        self._loop = None
        for arm in self._arms:
            arm.deactivate()

    def cleanup(self) -> None:
        self._policy, self._arms = None, []

    def parameters_changed(self, names: set[str]) -> None:
        for arm in self._arms:
            if arm.asker is not None:
                arm.asker.set_requests(policy_setup.request_policy(self.parameters))

    def description(self) -> dict[str, Any]:
        told = {arm.name: arm.description() for arm in self._arms}
        return {"checkpoint": self._checkpoint(), **told.get("", {"arms": told})}

    def describe(self) -> None:
        """Also in the namespaces of the arms, there as if the node were the arm's own."""
        super().describe()
        for arm in self._arms:
            arm.describe({**self.facts(), "checkpoint": self._checkpoint(), **arm.description()})

    def _checkpoint(self) -> dict[str, Any]:
        hashes = self._hashes.result() if self._hashes.done() else {}
        return {"folder": str(self._policy.folder), "sha256": hashes}

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

    def _refusal(self, arm: PolicyArm) -> str:
        """Why an arm may not begin to move."""
        if self._loop is None or arm.asker is None or self.parameters.admission == "everybody":
            return ""
        return self._loop.refusal(arm.asker)

    # Timers.

    def _watch_controllers(self) -> None:
        for arm in self._arms:
            arm.watch_controller()

    def _on_hashes(self) -> None:
        if self._hashes.done():
            self._hash_timer.cancel()
            self.describe()

    def _publish_diagnostics(self) -> None:
        if self._loop is None:
            return
        chunk_s, arithmetic = self._rows * self.parameters.step_s, self._policy.engine.reason
        message = diagnostics(
            self.get_fully_qualified_name(), self._arms, self._loop.batch_sizes, chunk_s, arithmetic, self.health()
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)
        for arm in self._arms:
            arm.waits.look()
        if all(arm.asker is None or arm.asker.state[0] is LoopState.GIVEN_UP for arm in self._arms):
            self.get_logger().error("too many failures: deactivating")
            self.trigger_deactivate()


def main() -> int:
    return run_node(PolicyNode)
