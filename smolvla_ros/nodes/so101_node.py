"""The driver of an SO-100 or SO-101: joint states out, joint commands in, over the arm's serial port.

Threads: the executor's thread runs callbacks, the driver's thread reads and writes the bus in every period. `_lock`
guards the arm. What happens when, torque above all, is decided in `smolvla_ros.drivers.so101`.
"""

from __future__ import annotations

import array
import threading
import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool

from smolvla_ros.drivers.calibration import JOINTS, CalibrationError, read_calibration
from smolvla_ros.drivers.servo_bus import BusError, ServoBus
from smolvla_ros.drivers.servo_check import ArmError, write_calibration
from smolvla_ros.drivers.servo_line import ServoLine
from smolvla_ros.drivers.so101 import SO101, Reading
from smolvla_ros.parameters.controller import COMMAND_TOPICS
from smolvla_ros.parameters.so101 import SO101Parameters
from smolvla_ros.qos import LATCHED

from .control_thread import ControlThread
from .device_diagnostics import device_diagnostics
from .lifecycle import ManagedNode
from .patience import TroubleLog
from .running import run_node

_STOP_TIMEOUT_S = 1.0
_LOOK_S = 0.1


class SO101Node(ManagedNode[SO101Parameters]):
    """An arm on a serial port. Its torque goes on with the first command that lies where the arm is."""

    PARAMETERS = SO101Parameters
    USER_ERRORS = (*ManagedNode.USER_ERRORS, CalibrationError, BusError, ArmError)

    def __init__(self) -> None:
        super().__init__("so101_node")
        self._lock = threading.Lock()
        self._thread: ControlThread | None = None

    # Lifecycle, in the executor's thread.

    def configure(self) -> None:
        self._motors = read_calibration(Path(self.parameters.calibration).expanduser())
        self._readings: dict[str, Reading] = {}
        self._troubles = TroubleLog(self.get_logger(), "the arm takes commands again")
        self._await_port()
        port, baud_rate = self.parameters.port, self.parameters.baud_rate
        self._line = ServoLine(port, baud_rate, self._motors.values(), self._drive, self._prepare)
        self.defer(self._line.close)
        self._line.open()
        self._told_trouble: str | None = None
        self._trouble = self.create_publisher(String, "arm_trouble", LATCHED)
        self._joint_states = self.create_publisher(JointState, "joint_states", QoSProfile(depth=10))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        qos = QoSProfile(depth=1)
        self.create_subscription(JointState, COMMAND_TOPICS["joint_state"], self._on_joint_state, qos)
        self.create_subscription(Float64MultiArray, COMMAND_TOPICS["position_array"], self._on_position_array, qos)
        self.create_service(SetBool, "~/release", self._on_release)

    def activate(self) -> None:
        period_s = 1.0 / self.parameters.driver_rate_hz
        self._thread = ControlThread(period_s, self.boundary.guarded(self._cycle), warn=self.get_logger().warning)
        self._thread.start()
        self.create_timer(1.0, self._publish_diagnostics)

    def deactivate(self) -> None:
        """The servos keep their last goal: the arm stays where it is."""
        if self._thread is not None:
            self._thread.stop(_STOP_TIMEOUT_S)
            self._thread = None

    def _await_port(self) -> None:
        give_up_s = time.monotonic() + self.parameters.port_timeout_s
        while not Path(self.parameters.port).exists() and time.monotonic() < give_up_s:
            time.sleep(_LOOK_S)

    def _drive(self, bus: ServoBus) -> SO101:
        self._arm = SO101(bus, self._motors)
        return self._arm

    def _prepare(self, bus: ServoBus) -> None:
        if self.parameters.write_calibration:
            write_calibration(bus, self._motors.values())

    # The driver's thread.

    def _cycle(self, deadline_ns: int) -> None:
        """Reads and commands. The stamp is that of the instant before the servos were asked."""
        stamp = self.get_clock().now()
        with self._lock:
            readings = self._line.cycle(time.monotonic())
            trouble = self._line.trouble
            self._readings |= readings
        self._troubles.tell(trouble)
        if trouble != self._told_trouble:  # before the joint states that motion could start from
            self._told_trouble = trouble
            self._trouble.publish(String(data=trouble))
        if readings:
            self._publish(readings, stamp)

    def _publish(self, readings: dict[str, Reading], stamp: Time) -> None:
        """Joints that did not answer are left out, so that whoever listens can name them."""
        message = JointState(name=list(readings))
        message.header.stamp = stamp.to_msg()
        message.position = array.array("d", [one.position_rad for one in readings.values()])
        message.velocity = array.array("d", [one.velocity_rad_s for one in readings.values()])
        torque_nm = self.parameters.stall_torque_nm
        message.effort = array.array("d", [one.load * torque_nm for one in readings.values()])
        self._joint_states.publish(message)

    # Callbacks in the executor's thread.

    def _on_joint_state(self, message: JointState) -> None:
        self._command(message.name, message.position)

    def _on_position_array(self, message: Float64MultiArray) -> None:
        self._command(JOINTS, message.data)

    def _command(self, joints: list[str] | tuple[str, ...], positions: array.array[float]) -> None:
        try:
            with self._lock:
                self._arm.command(joints, positions, time.monotonic())
        except ArmError as error:
            self.get_logger().warning(f"command refused: {error}", throttle_duration_sec=5.0)

    def _on_release(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        try:
            with self._lock:
                self._arm.release(request.data)
        except BusError as error:
            response.success, response.message = False, str(error)
            return response
        response.success, response.message = True, "the torque is off" if request.data else "commands are taken again"
        return response

    def _publish_diagnostics(self) -> None:
        with self._lock:
            trouble, engaged, readings = self._line.trouble, self._arm.engaged, dict(self._readings)
            counts = self._line.counts
        values = self.health() | {"engaged": str(engaged)}
        values |= counts.texts()
        if self._thread is not None:
            rate = self._thread.periodicity()
            values |= {"rate_hz": f"{rate.mean_hz:.1f}", "missed_cycles": str(rate.missed)}
        for joint, one in readings.items():
            values[f"{joint}_temperature_c"] = str(one.present.temperature_c)
            values[f"{joint}_voltage_v"] = f"{one.present.voltage_v:.1f}"
            values[f"{joint}_load"] = f"{one.load:.2f}"
        otherwise = "engaged" if engaged else "free: no command at the arm's position yet"
        self._diagnostics.publish(
            device_diagnostics(self, "arm", self.parameters.port, trouble, otherwise, values)
        )


def main() -> int:
    # The default executor builds a new wait set for every command: at 100 Hz that alone takes a tenth of a core.
    return run_node(SO101Node, executor_class=EventsExecutor)
