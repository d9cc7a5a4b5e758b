"""A leader arm that a person moves: its serial port in, goals for the follower out.

The goals go to whoever puts them under the follower's limits, which is the controller: nothing here reaches an arm. The
controller is told when a person has taken over, and when the person lets go.

Threads: the executor's thread hears the follower, the leader's thread reads the bus in every period. `_lock` guards
the leader. What is led where, and when, is decided in `smolvla_ros.drivers.leader`.
"""

from __future__ import annotations

import array
import threading
import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from smolvla_ros.drivers.calibration import JOINTS, CalibrationError, read_calibration
from smolvla_ros.drivers.leader import Leader
from smolvla_ros.drivers.servo_bus import BusError, ServoBus
from smolvla_ros.drivers.servo_check import ArmError
from smolvla_ros.drivers.servo_line import ServoLine
from smolvla_ros.msg import ExecutionStatus
from smolvla_ros.parameters.teleop import TeleopParameters
from smolvla_ros.robot.joint_states import JointOrder
from smolvla_ros.robot.refusals import RefusedMessage

from .control_thread import ControlThread
from .device_diagnostics import device_diagnostics
from .lifecycle import ManagedNode
from .patience import RefusalLog, TroubleLog
from .running import run_node

_STOP_TIMEOUT_S = 1.0
_TAKEOVER_PERIOD_S = 0.2
_UNHEARD = "nobody listens on person_commands: does a controller run here that takes a person's commands?"


class TeleopNode(ManagedNode[TeleopParameters]):
    """A leader arm on a serial port. It commands while it is active; to deactivate it is to let go."""

    PARAMETERS = TeleopParameters
    USER_ERRORS = (*ManagedNode.USER_ERRORS, CalibrationError, BusError, ArmError)

    def __init__(self) -> None:
        super().__init__("teleop_node")
        self._lock = threading.Lock()
        self._thread: ControlThread | None = None
        self._taken = self._asking = False
        self._controller_ticks = 0

    # Lifecycle, in the executor's thread.

    def configure(self) -> None:
        values = self.parameters
        self._motors = read_calibration(Path(values.leader_calibration).expanduser())
        self._order = JointOrder(JOINTS)
        self._refusals = RefusalLog(self.get_logger())
        self._trouble, self._troubles = "", TroubleLog(self.get_logger(), "the leader leads")
        self._line = ServoLine(values.leader_port, values.baud_rate, self._motors.values(), self._lead)
        self.defer(self._line.close)
        self._line.open()
        self._goals = self.create_publisher(JointState, "person_commands", QoSProfile(depth=1))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_subscription(JointState, "joint_states", self._on_follower, qos_profile_sensor_data)
        self.create_subscription(ExecutionStatus, "execution_status", self._on_status, QoSProfile(depth=1))
        self._takeover = self.create_client(SetBool, "controller_node/takeover")
        self.defer(lambda: self.destroy_client(self._takeover))

    def activate(self) -> None:
        self._taken = self._asking = False
        self.create_timer(_TAKEOVER_PERIOD_S, self._take_over)
        period_s = 1.0 / self.parameters.leader_rate_hz
        self._thread = ControlThread(period_s, self.boundary.guarded(self._cycle), warn=self.get_logger().warning)
        self._thread.start()
        self.create_timer(1.0, self._publish_diagnostics)

    def deactivate(self) -> None:
        if self._thread is not None:
            self._thread.stop(_STOP_TIMEOUT_S)
            self._thread = None
        if self._taken and self._takeover.service_is_ready():
            self._takeover.call_async(SetBool.Request(data=False))
        self._leader.leads = False  # the follower is moved by others now: begin anew from where it is then

    def _lead(self, bus: ServoBus) -> Leader:
        """Raises BusError."""
        self._leader = Leader(bus, self._motors, self.parameters.gripper_open_rad)
        return self._leader

    # The leader's thread.

    def _cycle(self, deadline_ns: int) -> None:
        stamp = self.get_clock().now().to_msg()
        with self._lock:
            led = self._leader.leads
            goals = self._read()
            self._troubles.tell(self._trouble)
            glide_s = self._leader.glide_left_s
        if not goals:
            return
        if not led:
            self.get_logger().info(f"leading; the follower is where the leader is within {glide_s:.1f} s")
        message = JointState(name=list(goals), position=array.array("d", goals.values()))
        message.header.stamp = stamp
        self._goals.publish(message)

    def _read(self) -> dict[str, float]:
        """The follower's goals; none while one of the two is silent, or nobody listens."""
        goals, self._trouble = self._line.cycle(time.monotonic()), self._line.trouble
        if goals and not self._goals.get_subscription_count():
            self._leader.leads, self._trouble = False, _UNHEARD  # whoever comes is led from where the follower is then
            return {}
        return goals

    # Callbacks in the executor's thread.

    def _take_over(self) -> None:
        """Tells the controller, once."""
        if self._takeover.service_is_ready() and not (self._taken or self._asking):
            self._asking = True
            self._takeover.call_async(SetBool.Request(data=True)).add_done_callback(self._on_taken)

    def _on_status(self, message: ExecutionStatus) -> None:
        if message.ticks < self._controller_ticks:  # started again, so nobody has told it
            self._taken = self._asking = False
        self._controller_ticks = message.ticks

    def _on_taken(self, future: Future) -> None:
        response, self._asking = future.result(), False
        if response is None:
            return  # the controller went before it answered
        self._taken = response.success
        if not self._taken:
            text = f"the controller does not let a person take over: {response.message}"
            self.get_logger().warning(text, throttle_duration_sec=10.0)

    def _on_follower(self, message: JointState) -> None:
        try:
            joints, positions = self._order.take(message.name, message.position)
        except RefusedMessage as error:
            self._refusals.tell("joint state", error.reason, str(error))
            return
        told = {JOINTS[joint]: position for joint, position in zip(joints, positions, strict=True)}
        with self._lock:
            self._leader.hear_follower(told, time.monotonic())

    def _publish_diagnostics(self) -> None:
        with self._lock:
            trouble, leads, counts = self._trouble, self._leader.leads, self._line.counts
        values = self.health() | {"leads": str(leads)} | counts.texts()
        self._diagnostics.publish(
            device_diagnostics(self, "leader", self.parameters.leader_port, trouble, "leads", values)
        )


def main() -> int:
    # The default executor builds a new wait set for every joint state: at 100 Hz that alone takes a tenth of a core.
    return run_node(TeleopNode, executor_class=EventsExecutor)
