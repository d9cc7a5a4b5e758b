"""The driver of an SO-100 or SO-101: joint states out, joint commands in, over the arm's serial port.

Threads: the executor's thread runs callbacks, the driver's thread reads and writes the bus in every period. `_lock`
guards the arm. What happens when, torque above all, is decided in `smolvla_ros.drivers.so101`.
"""

from __future__ import annotations

import array
import threading
import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from smolvla_ros.drivers.calibration import JOINTS, CalibrationError, read_calibration
from smolvla_ros.drivers.servo_bus import BusError, PortLostError, ServoBus
from smolvla_ros.drivers.so101 import SO101, ArmError, Reading
from smolvla_ros.parameters.controller import COMMAND_TOPICS
from smolvla_ros.parameters.so101 import SO101Parameters

from .control_thread import ControlThread
from .lifecycle import ManagedNode
from .running import run_node

_RECONNECT_S = 1.0
_STOP_TIMEOUT_S = 1.0
_LOOK_S = 0.1
_TELL_PERIOD_S = 2.0


class SO101Node(ManagedNode[SO101Parameters]):
    """An arm on a serial port. Its torque goes on with the first command that lies where the arm is."""

    PARAMETERS = SO101Parameters
    USER_ERRORS = (*ManagedNode.USER_ERRORS, CalibrationError, BusError, ArmError)

    def __init__(self) -> None:
        super().__init__("so101_node")
        self._lock = threading.Lock()
        self._bus: ServoBus | None = None
        self._thread: ControlThread | None = None

    # Lifecycle, in the executor's thread.

    def configure(self) -> None:
        self._motors = read_calibration(Path(self.parameters.calibration).expanduser())
        self._readings: dict[str, Reading] = {}
        self._told, self._told_s = "", -_TELL_PERIOD_S
        self._reconnect_s = 0.0
        self._await_port()
        self._connect()
        self._joint_states = self.create_publisher(JointState, "joint_states", QoSProfile(depth=10))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        qos = QoSProfile(depth=1)
        self.create_subscription(JointState, COMMAND_TOPICS["joint_state"], self._on_joint_state, qos)
        self.create_subscription(Float64MultiArray, COMMAND_TOPICS["position_array"], self._on_position_array, qos)
        self.create_service(Trigger, "~/release", self._on_release)

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

    def cleanup(self) -> None:
        self._disconnect()

    def _await_port(self) -> None:
        give_up_s = time.monotonic() + self.parameters.port_timeout_s
        while not Path(self.parameters.port).exists() and time.monotonic() < give_up_s:
            time.sleep(_LOOK_S)

    def _disconnect(self) -> None:
        if self._bus is not None:
            self._bus.close()
            self._bus = None

    def _connect(self) -> None:
        """Opens the port and holds the servos against the calibration. Raises BusError, ArmError."""
        self._disconnect()
        self._bus = ServoBus(self.parameters.port, self.parameters.baud_rate)
        self._arm = SO101(self._bus, self._motors)
        try:
            if self.parameters.write_calibration:
                self._arm.write_calibration()
            self._arm.check()
        except (BusError, ArmError):
            self._disconnect()  # an arm that was not proven is not driven
            raise

    # The driver's thread.

    def _cycle(self, deadline_ns: int) -> None:
        with self._lock:
            try:
                if self._bus is None:
                    self._reconnect()
                    return
                readings = self._arm.cycle(time.monotonic())
            except PortLostError:
                self._disconnect()
                return
            finally:
                self._tell(self._arm.trouble)
            self._readings |= readings
        if readings:
            self._publish(readings)

    def _reconnect(self) -> None:
        """Tries again now and then; the arm must prove once more that it is the one of the calibration."""
        if time.monotonic() < self._reconnect_s:
            return
        self._reconnect_s = time.monotonic() + _RECONNECT_S
        try:
            self._connect()
        except (BusError, ArmError) as error:
            self._arm.trouble = str(error)

    def _publish(self, readings: dict[str, Reading]) -> None:
        """Joints that did not answer are left out, so that whoever listens can name them."""
        message = JointState(name=list(readings))
        message.header.stamp = self.get_clock().now().to_msg()
        message.position = array.array("d", [one.position_rad for one in readings.values()])
        message.velocity = array.array("d", [one.velocity_rad_s for one in readings.values()])
        torque_nm = self.parameters.stall_torque_nm
        message.effort = array.array("d", [one.load * torque_nm for one in readings.values()])
        self._joint_states.publish(message)

    def _tell(self, trouble: str) -> None:
        """One line when it begins, one now and then while it changes, one when it ends."""
        if trouble == self._told or (trouble and time.monotonic() - self._told_s < _TELL_PERIOD_S):
            return
        self._told, self._told_s = trouble, time.monotonic()
        if trouble:
            self.get_logger().error(trouble)
        else:
            self.get_logger().info("the arm answers again")

    # Callbacks in the executor's thread.

    def _on_joint_state(self, message: JointState) -> None:
        self._command(message.name, message.position)

    def _on_position_array(self, message: Float64MultiArray) -> None:
        self._command(JOINTS, message.data)

    def _command(self, joints: list[str] | tuple[str, ...], positions: array.array[float]) -> None:
        try:
            with self._lock:
                self._arm.command(joints, positions)
        except ArmError as error:
            self.get_logger().warning(f"command refused: {error}", throttle_duration_sec=5.0)

    def _on_release(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            with self._lock:
                self._arm.release()
        except BusError as error:
            response.success, response.message = False, str(error)
            return response
        response.success, response.message = True, "the torque is off"
        return response

    def _publish_diagnostics(self) -> None:
        with self._lock:
            trouble, engaged, readings = self._arm.trouble, self._arm.engaged, dict(self._readings)
            counts = (self._bus.exchanges, self._bus.failures) if self._bus is not None else (0, 0)
        values = self.health() | {"engaged": str(engaged)}
        values |= {"exchanges": str(counts[0]), "failed_exchanges": str(counts[1])}
        for joint, one in readings.items():
            values[f"{joint}_temperature_c"] = str(one.present.temperature_c)
            values[f"{joint}_voltage_v"] = f"{one.present.voltage_v:.1f}"
            values[f"{joint}_load"] = f"{one.load:.2f}"
        status = DiagnosticStatus(
            level=DiagnosticStatus.ERROR if trouble else DiagnosticStatus.OK,
            name=f"{self.get_fully_qualified_name().lstrip('/')}: arm",
            message=trouble or ("engaged" if engaged else "free: no command at the arm's position yet"),
            hardware_id=self.parameters.port,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def main() -> int:
    return run_node(SO101Node)
