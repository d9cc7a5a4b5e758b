"""Whether the servos on a bus are those of a calibration, before any of them is torqued.

What cannot be told from the servos: a drive mode. LeRobot writes it into its file only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

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

_Result = TypeVar("_Result")
_ATTEMPTS = 3


class ArmError(ValueError):
    """The arm cannot be driven, or a command is refused; one sentence with the remedy."""


def check_servos(bus: ServoBus, motors: Iterable[MotorCalibration]) -> None:
    """Holds all servos against the calibration; writes nothing.

    Raises:
        ArmError: none answers; or one is missing, is there twice, is of another model, or holds another calibration.
        BusError: the port failed.
    """
    motors = tuple(motors)
    problems: dict[str, ArmError] = {}
    for motor in motors:
        try:
            check_servo(bus, motor)
        except ArmError as error:
            problems[f"{motor.id} ({motor.joint})"] = error
    if len(problems) == len(motors) and all(isinstance(one, SilentServoError) for one in problems.values()):
        raise ArmError(
            f"none of the {len(motors)} servos answers at {bus.baud_rate} baud: look at the power supply and the cable "
            f"to the first servo, whether this is the arm's port, and whether the servos have this baud rate"
        )
    if problems:
        first, *others = problems
        raise ArmError(
            f"{problems[first]}" + (f"; the same or the like for servo {', '.join(others)}" if others else "")
        )


class SilentServoError(ArmError):
    """A servo does not answer at all."""


def check_servo(bus: ServoBus, motor: MotorCalibration) -> None:
    """The same for one servo; the same errors."""
    name = f"servo {motor.id} ({motor.joint})"
    try:
        model, found = _patiently(lambda: _read(bus, motor.id))
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
    if found != _registers(motor):
        raise ArmError(
            f"{name} holds homing offset, minimum and maximum {found}, the calibration file {_registers(motor)}: it is "
            "the file of another arm, or the servo was replaced; give the file of this arm, calibrate again, or set "
            "write_calibration to write the file into the servos"
        )


def _read(bus: ServoBus, servo: int) -> tuple[int, tuple[int, int, int]]:
    """Model; homing offset, minimum and maximum. Raises BusError."""
    model = bus.ping(servo)
    offset = signed(bus.read(servo, HOMING_OFFSET), 11)
    return model, (offset, bus.read(servo, MIN_POSITION), bus.read(servo, MAX_POSITION))


def _registers(motor: MotorCalibration) -> tuple[int, int, int]:
    return motor.homing_offset, motor.range_min, motor.range_max


def _patiently(exchange: Callable[[], _Result]) -> _Result:
    """One lost answer is no missing servo. Raises BusError."""
    attempts = _ATTEMPTS
    while True:
        try:
            return exchange()
        except BusError as error:
            attempts -= 1
            if error.servo == 0 or not attempts:
                raise


def write_calibration(bus: ServoBus, motors: Iterable[MotorCalibration]) -> None:
    """Writes the calibration into servos that hold another one, whose torque it takes off. Raises BusError."""
    for motor in motors:
        if _patiently(partial(_read, bus, motor.id))[1] == _registers(motor):
            continue  # an arm that is held in the air stays held
        bus.write(motor.id, TORQUE_ENABLE, 0)
        bus.write(motor.id, LOCK, 0)
        bus.write(motor.id, OPERATING_MODE, 0)
        bus.write(motor.id, HOMING_OFFSET, sign_magnitude(motor.homing_offset, 11))
        bus.write(motor.id, MIN_POSITION, motor.range_min)
        bus.write(motor.id, MAX_POSITION, motor.range_max)
        bus.write(motor.id, LOCK, 1)
