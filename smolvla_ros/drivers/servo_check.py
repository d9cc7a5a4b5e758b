"""Whether the servos on a bus are those of a calibration, before any of them is torqued.

What cannot be told from the servos: a drive mode. LeRobot writes it into its file only.
"""

from __future__ import annotations

from collections.abc import Iterable

from .calibration import MotorCalibration
from .servo_bus import BrokenAnswerError, BusError, ServoBus
from .servo_registers import (
    HOMING_OFFSET,
    LOCK,
    MAX_POSITION,
    MIN_POSITION,
    MODEL_STS3215,
    OPERATING_MODE,
    TORQUE_ENABLE,
    sign_magnitude,
    signed,
)


class ArmError(ValueError):
    """The arm cannot be driven, or a command is refused; one sentence with the remedy."""


def check_servos(bus: ServoBus, motors: Iterable[MotorCalibration]) -> None:
    """Holds all servos against the calibration; writes nothing.

    Raises:
        ArmError: none answers; or one is missing, is there twice, is of another model, or holds another calibration.
        BusError: the port failed.
    """
    problems = []
    motors = tuple(motors)
    silent = 0
    for motor in motors:
        try:
            check_servo(bus, motor)
        except SilentServoError as error:
            silent += 1
            problems.append(str(error))
        except ArmError as error:
            problems.append(str(error))
    if silent == len(motors):
        raise ArmError(
            f"none of the {len(motors)} servos answers at {bus.baud_rate} baud: look at the power supply and the cable "
            f"to the first servo, whether this is the arm's port, and whether the servos have this baud rate"
        )
    if problems:
        raise ArmError("; ".join(problems))


class SilentServoError(ArmError):
    """A servo does not answer at all."""


def check_servo(bus: ServoBus, motor: MotorCalibration) -> None:
    """The same for one servo; the same errors."""
    name = f"servo {motor.id} ({motor.joint})"
    try:
        model = bus.ping(motor.id)
        found = (
            signed(bus.read(motor.id, HOMING_OFFSET), 11),
            bus.read(motor.id, MIN_POSITION),
            bus.read(motor.id, MAX_POSITION),
        )
    except BrokenAnswerError as error:
        raise ArmError(
            f"{name} gives broken answers: do two servos have this id? Connect one at a time and give each its own "
            "(`lerobot-setup-motors`); else look at its cable"
        ) from error
    except BusError as error:
        if error.servo == 0:
            raise
        raise SilentServoError(
            f"{name} does not answer: look at its cable, at the power supply, and whether it has this id"
        ) from error
    if model != MODEL_STS3215:
        raise ArmError(f"{name} is model {model}, expected {MODEL_STS3215} (STS3215): it cannot be driven by this node")
    if found != (motor.homing_offset, motor.range_min, motor.range_max):
        raise ArmError(
            f"{name} holds homing offset, minimum and maximum {found}, the calibration file "
            f"{(motor.homing_offset, motor.range_min, motor.range_max)}: it is the file of another arm, or the servo "
            "was replaced; give the file of this arm, calibrate again, or set write_calibration to write the file into "
            "the servos"
        )


def write_calibration(bus: ServoBus, motors: Iterable[MotorCalibration]) -> None:
    """Writes the calibration into the servos, whose torque it takes off. Raises BusError."""
    for motor in motors:
        bus.write(motor.id, TORQUE_ENABLE, 0)
        bus.write(motor.id, LOCK, 0)
        bus.write(motor.id, OPERATING_MODE, 0)
        bus.write(motor.id, HOMING_OFFSET, sign_magnitude(motor.homing_offset, 11))
        bus.write(motor.id, MIN_POSITION, motor.range_min)
        bus.write(motor.id, MAX_POSITION, motor.range_max)
        bus.write(motor.id, LOCK, 1)
