"""The controller node: action chunks in, commands for the arm out. Nothing reaches the arm but through here.

Threads: the executor's thread runs every callback (chunks, joint states, services, timers), the control thread runs
`_tick` once per period. What both touch is inside `Controller`, under its lock. Outputs belong to the control thread
while it runs. No torch in this process.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from smolvla_ros.execution.chunk import Chunk, ChunkError
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.status import ControllerState, Reason
from smolvla_ros.execution.urdf import UrdfError
from smolvla_ros.msg import ActionChunk, ExecutionStatus
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.qos import BEST_EFFORT, LATCHED
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.joint_limits import limits_from
from smolvla_ros.robot.joint_states import JointStates
from smolvla_ros.robot.refusals import Refusal, RefusedMessage, StampRule

from .command_output import outputs_from
from .control_step import ControlStep
from .control_thread import ControlThread, set_fifo, set_ordinary
from .controller_messages import diagnostics, fill_status
from .controller_settings import robot_description, settings_from
from .instructions import hear_all_instructions
from .joint_state_reader import JointStateReader
from .joint_state_sources import rival_sources
from .lifecycle import ManagedNode
from .node_time import NodeTime
from .patience import RefusalLog, StateLog, WaitLog
from .rivals import Rivals
from .running import run_node

_SUPERVISION_PERIOD_S = 0.2
# The control thread counts as dead when it has missed all ticks of this time, at so many looks in a row.
_SILENCE_S = 1.0
_SILENT_LOOKS = 3
_HALT_TIMEOUT_S = 1.0
_LONGEST_TROUBLE = 500  # characters, which every status repeats
_REMINDER_S = 10.0
# What every start goes through; the policy node says what keeps a chunk from coming.
_WAITS = (Reason.WAITING_FOR_JOINT_STATES, Reason.WAITING_FOR_CHUNK)
_LAST_WORD_TIMEOUT = Duration(seconds=0.2)
# A callback that computes must not keep the control thread waiting for the interpreter [s]; Python's default is 5 ms.
_SWITCH_INTERVAL_S = 0.0001


class ControllerNode(ManagedNode[ControllerParameters]):
    """Executes action chunks."""

    PARAMETERS = ControllerParameters
    USER_ERRORS = (*ManagedNode.USER_ERRORS, UrdfError)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("controller_node", **kwargs)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self._thread: ControlThread | None = None
        self._states = StateLog(self.get_logger())
        self._waits = WaitLog(self._states)

    # Lifecycle, in the executor's thread.

    def configure(self) -> None:
        parameters = self.parameters
        self._joints = RobotConfig.from_parameters(parameters).joint_names
        self._joint_states = JointStates(self._joints, self._stamp_rule(), JointStateReader().read)
        self._limits = limits_from(parameters, robot_description(self, parameters))
        self._controller = Controller(settings_from(parameters, self._limits))
        self._outputs = outputs_from(self, parameters, self._controller, self._limits)
        self._step = ControlStep(self._controller, self._outputs, parameters)
        self._time = NodeTime(self.get_clock(), round(1e9 / parameters.control_rate_hz))
        self._status = self.create_publisher(ExecutionStatus, "execution_status", QoSProfile(depth=1))
        self._status_message = ExecutionStatus()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        commands = [publisher for output in self._outputs for publisher in output.publishers]
        self._rivals = Rivals(self, commands, self._conflict)
        self._refusals = RefusalLog(self.get_logger())
        subscribe = self.create_subscription
        subscribe(ActionChunk, "action_chunk", self._on_chunk, QoSProfile(depth=1))
        for topic in parameters.joint_states_topics:
            subscribe(JointState, topic, self._on_joint_state, qos_profile_sensor_data, raw=True)
        hear_all_instructions(self, self._on_instruction)
        self._arm_trouble = ""
        subscribe(String, "arm_trouble", self._on_arm_trouble, LATCHED)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/resume", self._on_resume)
        self.create_service(Trigger, "~/park", self._on_park)
        self.create_service(SetBool, "~/takeover", self._on_takeover)
        self._person = JointStates(self._joints, self._stamp_rule(), JointStateReader().read)
        subscribe(JointState, "person_commands", self._on_person_command, BEST_EFFORT, raw=True)

    def activate(self) -> None:
        parameters = self.parameters
        self._joint_states.clear()
        self._time.restart()
        self._controller.activate(self._time.now_ns(), time.monotonic_ns())
        self._controller.arm_trouble(self._arm_trouble)
        priority = parameters.fifo_priority
        if priority:
            # A thread that waits for the interpreter waits for its holder: that one must not be kept from running.
            set_fifo(threading.get_native_id(), max(1, priority - 1), self.get_logger().warning)
        self._thread = ControlThread(
            1.0 / parameters.control_rate_hz,
            self.boundary.guarded(self._tick),
            fifo_priority=priority,
            cores=[core for core in parameters.cpu_affinity if core >= 0],
            warn=self.get_logger().warning,
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # a paused simulation must not silence the node
        self.create_timer(1.0 / parameters.status_rate_hz, self._publish_status, clock=steady)
        self.create_timer(_SUPERVISION_PERIOD_S, self._supervise, clock=steady)
        self.create_timer(1.0, self._publish_diagnostics, clock=steady)
        self._rivals.announce()
        self._thread.start()

    def deactivate(self) -> None:
        if self._thread is None:
            return
        self._controller.halt()
        give_up_s = time.monotonic() + _HALT_TIMEOUT_S
        while not self._controller.at_rest and not self._thread.failure and time.monotonic() < give_up_s:
            time.sleep(1.0 / self.parameters.control_rate_hz)
        self._thread.stop(_HALT_TIMEOUT_S)
        self._thread = None
        set_ordinary(threading.get_native_id())
        self._controller.deactivate()
        self._rivals.retire()
        self._log_transitions()
        self._send_status(0)
        self._status.wait_for_all_acked(_LAST_WORD_TIMEOUT)

    def internal_error(self, sentence: str) -> None:
        """A bug in any callback or in the control thread: the arm is braked and held until the next activation."""
        if hasattr(self, "_controller"):  # else nothing is commanded yet
            self._controller.fail(sentence)

    def parameters_changed(self, names: set[str]) -> None:
        self._joint_states.rule = self._person.rule = self._stamp_rule()
        self._controller.update(settings_from(self.parameters, self._limits))
        values = self.parameters.values()
        self.get_logger().info("changed " + ", ".join(f"{name} to {values[name]}" for name in sorted(names)))

    # The control thread.

    def _tick(self, deadline_ns: int) -> None:
        steady_ns = time.monotonic_ns()
        self._step(self._time.due(deadline_ns, steady_ns), steady_ns)

    # Callbacks in the executor's thread: validate, hand over.

    def _on_chunk(self, message: ActionChunk) -> None:
        now_ns, steady_ns = self._time.now_ns(), time.monotonic_ns()
        try:
            chunk = self._checked(message)
            self._controller.receive_chunk(chunk, now_ns, steady_ns)
        except ChunkError as error:
            self._refusals.tell("chunk", error.reason, f"{error} ({error.reason}, sequence {message.sequence})")

    def _checked(self, message: ActionChunk) -> Chunk:
        try:
            return Chunk.from_message(message, self._joints)
        except ChunkError as error:
            self._controller.reject_chunk(error.reason, message.session, message.sequence)
            raise

    def _on_instruction(self, message: String) -> None:
        """No instruction, no motion: rows that were planned for the last one are not executed either."""
        if not message.data.strip():
            self._controller.withdraw()

    def _on_joint_state(self, data: bytes) -> None:
        now_ns, states = self._time.now_ns(), self._joint_states
        try:
            used = states.put(data, now_ns)
        except RefusedMessage as error:
            self._controller.reject_joint_state(states.problem(now_ns))
            starting = error.reason == Refusal.OLD_STAMP and not self._waits.has_worked
            self._refusals.tell("joint state", error.reason, str(error), ordinary=starting)
            return
        if used and states.complete:
            self._controller.receive_joint_positions(
                states.positions, now_ns, time.monotonic_ns(), states.ages_ns(now_ns)
            )
        else:
            self._controller.lack_joint_states(states.problem(now_ns))

    def _on_person_command(self, data: bytes) -> None:
        now_ns, person = self._time.now_ns(), self._person
        try:
            used = person.put(data, now_ns)
        except RefusedMessage as error:
            self._refusals.tell("command of a person", error.reason, str(error))
            return
        if used and person.complete and person.ages_ns(now_ns).max() <= person.rule.max_age_ns:
            self._controller.receive_person_positions(person.positions, time.monotonic_ns())

    def _on_arm_trouble(self, message: String) -> None:
        self._arm_trouble = message.data[:_LONGEST_TROUBLE]
        self._controller.arm_trouble(self._arm_trouble)

    def _stamp_rule(self) -> StampRule:
        return StampRule(
            max_age_ns=round(self.parameters.state_timeout_s * 1e9),
            future_tolerance_ns=round(self.parameters.future_tolerance_s * 1e9),
            accept_zero=self.parameters.accept_zero_stamps,
        )

    def _on_stop(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._controller.stop()
        return self._answered(response, "stopped until ~/resume")

    def _on_resume(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._controller.resume()
        return self._answered(response, "waiting for a fresh chunk")

    def _answered(self, response: Trigger.Response, done: str) -> Trigger.Response:
        response.success = self._thread is not None
        response.message = done if response.success else "the controller is not active: nothing is commanded"
        return response

    def _on_park(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        problem = self._controller.park()
        response.success, response.message = not problem, problem or "going to the park pose, until ~/resume"
        return response

    def _on_takeover(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        problem = self._controller.take_over(request.data)
        response.success = not problem
        response.message = problem or ("a person commands the arm" if request.data else "waiting for a fresh chunk")
        return response

    # Timers.

    def _publish_status(self) -> None:
        self._send_status(self._thread.missed if self._thread else 0)
        self._log_transitions()
        self._waits.look()
        self._states.look()

    def _send_status(self, missed_ticks: int) -> None:
        fill_status(self._status_message, self._controller.status(), missed_ticks, self.parameters.dry_run)
        self._status.publish(self._status_message)

    def _supervise(self) -> None:
        self._rivals.announce()
        self._conflict(self._rivals.conflict())
        if self._arm_trouble and not self.count_publishers("arm_trouble"):
            self._on_arm_trouble(String())  # the driver is gone: of that its joint states tell
        topics = self.parameters.joint_states_topics
        self._warn_of_sources(rival_sources(self, topics, self._joint_states.groups))
        thread = self._thread
        if thread is None:
            return
        if thread.silent_looks(_SILENCE_S) >= _SILENT_LOOKS or thread.failure:
            detail = thread.failure or f"the control thread has been silent for {thread.silent_s():.1f} s"
            self.get_logger().error(f"control thread: {detail}", once=True)
            self._controller.fail(detail.strip().splitlines()[-1])

    def _conflict(self, detail: str) -> None:
        """Beside another commander the arm is held; in a dry run it is the other one's, and nobody is disturbed."""
        if not self.parameters.dry_run:
            self._controller.conflict(detail)
        elif detail:
            self.get_logger().warning(f"dry run: {detail}", throttle_duration_sec=_REMINDER_S)

    def _warn_of_sources(self, detail: str) -> None:
        if detail:
            self.get_logger().warning(detail, throttle_duration_sec=_REMINDER_S)

    def _publish_diagnostics(self) -> None:
        if self._thread is None:
            return
        message = diagnostics(
            self.get_fully_qualified_name(),
            self._controller.status(),
            self._limits,
            self._thread.periodicity(),
            self.parameters.control_rate_hz,
            self.count_publishers("action_chunk"),
            self._joint_states.refusals.counts,
            self.health(),
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _log_transitions(self) -> None:
        for transition in self._controller.take_transitions():
            text = f"holding ({transition.reason.name.lower()}): {transition.detail}"
            starting = transition.reason == Reason.JOINT_STATES_STALE and not self._waits.has_worked
            if transition.state == ControllerState.HOLDING and (transition.reason in _WAITS or starting):
                self._waits.begin(text, ordinary=transition.reason == Reason.WAITING_FOR_CHUNK)
            elif transition.state == ControllerState.HOLDING:
                self._states.warning(text)
            else:
                self._waits.end()
                self._states.info(f"{transition.state.name.lower()}: {transition.detail}".strip(": "))


def main() -> int:
    # The default executor builds a new wait set for every message: at 100 Hz that alone takes a tenth of a core.
    return run_node(ControllerNode, executor_class=EventsExecutor)
