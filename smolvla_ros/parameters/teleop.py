"""The node that reads a leader arm: its port, its calibration, its rate."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import parameter
from .node import NodeParameterSet


@dataclass(frozen=True)
class TeleopParameters(NodeParameterSet):
    """Settings of the teleoperation by a leader arm."""

    leader_port: str = parameter("", "Serial port of the leader arm, such as /dev/ttyACM1 or a stable name below "
        "/dev/serial/by-id.", required=True)
    leader_calibration: str = parameter("", "LeRobot's calibration file of the leader arm (JSON).", required=True)
    baud_rate: int = parameter(1_000_000, "Baud rate of the leader's servos.", minimum=4800, maximum=1_000_000)
    leader_rate_hz: float = parameter(60.0, "Readings of the leader and goals for the follower per second.", "Hz", 1.0,
        250.0)
    gripper_open_rad: float = parameter(1.745, "Where the follower's gripper is fully open, which the leader's fully "
        "open trigger means.", "rad", 0.0, 3.14)
