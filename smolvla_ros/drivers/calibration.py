"""LeRobot's calibration of an SO-100 or SO-101 follower: from servo ticks to rad, and to the units of a checkpoint.

LeRobot stores for each motor the range of ticks that its joint moved through (`range_min`, `range_max`), the middle of
the motion at half a turn (`homing_offset` is written into the servo). It then speaks of a joint in degrees around
the middle of the range, or from -100 to 100 over it, and of the gripper from 0 to 100. Here a joint's 0 rad is the
middle of its range, too, which is the zero of the arm's URDF; the gripper begins at `GRIPPER_CLOSED_RAD`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

TICKS = 4096
# LeRobot divides a turn by one tick less than there are; its degrees, and so ours, follow from that.
RAD_PER_TICK = 2 * math.pi / (TICKS - 1)
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
GRIPPER = "gripper"
GRIPPER_CLOSED_RAD = -0.175
_LARGEST_FILE = 65536
# The servo's register holds a sign and eleven bits.
_LARGEST_OFFSET = 2047


class CalibrationError(ValueError):
    """A calibration cannot be used; the text says what was found, what was expected, and what to do."""


class Unit(StrEnum):
    """What a checkpoint counts an arm's joints in; its gripper always goes from 0 to 100."""

    DEGREES = "degrees"
    RANGE = "-100..100"


@dataclass(frozen=True)
class MotorCalibration:
    """One servo. Ticks are those of the servo after its homing offset; the drive mode turns the direction round."""

    joint: str
    id: int
    drive_mode: int
    homing_offset: int
    range_min: int
    range_max: int

    @property
    def _direction(self) -> float:
        # LeRobot's degrees ignore the drive mode, so a joint's rad do too; only the gripper's 0..100 follows it.
        return -1.0 if self.joint == GRIPPER and self.drive_mode else 1.0

    @property
    def _origin(self) -> float:
        """Ticks at `_origin_rad`."""
        if self.joint != GRIPPER:
            return (self.range_min + self.range_max) / 2
        return float(self.range_max if self.drive_mode else self.range_min)

    @property
    def _origin_rad(self) -> float:
        return GRIPPER_CLOSED_RAD if self.joint == GRIPPER else 0.0

    def to_rad(self, ticks: float) -> float:
        return self._origin_rad + self._direction * (ticks - self._origin) * RAD_PER_TICK

    def ticks_at(self, rad: float) -> float:
        """The reverse of `to_rad`."""
        return self._origin + self._direction * (rad - self._origin_rad) / RAD_PER_TICK

    def to_ticks(self, rad: float) -> int:
        """The nearest tick inside the calibrated range."""
        return min(self.range_max, max(self.range_min, round(self.ticks_at(rad))))

    @property
    def limits_rad(self) -> tuple[float, float]:
        """The calibrated range."""
        ends = self.to_rad(self.range_min), self.to_rad(self.range_max)
        return min(ends), max(ends)

    def scale_and_offset(self, unit: Unit) -> tuple[float, float]:
        """Checkpoint value = scale * rad + offset, exactly as LeRobot would have called the same ticks."""
        span = self.range_max - self.range_min
        if self.joint == GRIPPER:
            scale = 100.0 / (span * RAD_PER_TICK)
            return scale, -scale * GRIPPER_CLOSED_RAD
        if unit == Unit.DEGREES:
            return math.degrees(1.0), 0.0
        scale = 200.0 / (span * RAD_PER_TICK)
        return (-scale if self.drive_mode else scale), 0.0


def read_calibration(file: Path) -> dict[str, MotorCalibration]:
    """The motors by joint, in the order of `JOINTS`.

    Raises:
        CalibrationError: naming the file, the joint and the field.
    """
    try:
        with file.open(encoding="utf-8") as text:
            content = text.read(_LARGEST_FILE + 1)
        data = json.loads(content) if len(content) <= _LARGEST_FILE else None
    except (OSError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{file} cannot be read as a calibration: {error}") from error
    if not isinstance(data, dict):
        raise CalibrationError(f"{file} is no calibration of LeRobot, which holds one entry for each motor")
    missing = [joint for joint in JOINTS if joint not in data]
    if missing:
        raise CalibrationError(f"{file} lacks {', '.join(missing)}: is it that of an SO-100 or SO-101 follower?")
    motors = {joint: _motor(file, joint, data[joint]) for joint in JOINTS}
    ids = [motor.id for motor in motors.values()]
    if len(set(ids)) != len(ids):
        raise CalibrationError(f"{file} gives two joints the same servo id: {ids}; calibrate again")
    return motors


def _motor(file: Path, joint: str, entry: Any) -> MotorCalibration:
    if not isinstance(entry, Mapping):
        raise CalibrationError(
            f"{file}: {joint} is {entry!r:.60}, expected id, drive_mode, homing_offset, range_min, ..."
        )

    def number(name: str, low: int, high: int) -> int:
        value = entry.get(name)
        if type(value) is not int or not low <= value <= high:
            raise CalibrationError(
                f"{file}: {name} of {joint} is {value!r:.60}, expected an integer, {low} to {high}, as servos hold it: "
                "give LeRobot's file of this arm, or calibrate again"
            )
        return value

    motor = MotorCalibration(
        joint,
        id=number("id", 0, 252),
        drive_mode=number("drive_mode", 0, 1),
        homing_offset=number("homing_offset", -_LARGEST_OFFSET, _LARGEST_OFFSET),
        range_min=number("range_min", 0, TICKS - 1),
        range_max=number("range_max", 0, TICKS - 1),
    )
    if motor.range_max - motor.range_min < 200:
        raise CalibrationError(
            f"{file}: {joint} moves from {motor.range_min} to {motor.range_max} ticks, expected 200 or more "
            "upwards: it was not moved through its range, or backwards; calibrate again"
        )
    return motor
