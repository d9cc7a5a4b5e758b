"""The driver of an SO-100 or SO-101: its port, its calibration, its rate."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import parameter
from .node import NodeParameterSet


@dataclass(frozen=True)
class SO101Parameters(NodeParameterSet):
    """Settings of the driver of an SO-100 or SO-101."""

    port: str = parameter("", "Serial port of the arm, such as /dev/ttyACM0 or a stable name below /dev/serial/by-id.",
        required=True)
    calibration: str = parameter("", "LeRobot's calibration file of the follower arm (JSON).", required=True)
    baud_rate: int = parameter(1_000_000, "Baud rate of the servos.", minimum=4800, maximum=1_000_000)
    driver_rate_hz: float = parameter(100.0, "Readings of all servos and commands per second.", "Hz", 1.0, 250.0)
    port_timeout_s: float = parameter(0.0, "How long to wait at configure for a port that is not there yet.", "s", 0.0,
        600.0)
    write_calibration: bool = parameter(False, "Write the calibration file into the servos at configure, instead of "
        "refusing an arm that holds another one.")
    stall_torque_nm: float = parameter(1.9, "Torque of a servo at full load, the unit of effort: 1.9 at "
        "7.4 V, 2.9 at 12 V.", "Nm", 0.1, 20.0)
