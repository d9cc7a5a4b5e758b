"""The servos of the simulated arm: a bus that a driver opens, whose joints are those of the world."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.drivers.calibration import JOINTS, RAD_PER_TICK, MotorCalibration
from smolvla_ros.drivers.servo_emulator import EmulatedBus

_LOW_VOLTAGE = 1
_DARK_EXCHANGES = 60


class SimulatedServos:
    """An emulated bus of which the world decides where the servos stand. A context manager.

    Args:
        link: is made to lead to the serial port, which has another name each time.
        motors: the calibration, by joint.
        positions: where the arm stands [6], rad.
    """

    def __init__(self, link: Path, motors: Mapping[str, MotorCalibration], positions: NDArray[np.float64]):
        self._link, self._motors = link, [motors[joint] for joint in JOINTS]
        self._targets = positions.copy()
        self._dark = 0
        ticks = {one.id: one.to_ticks(rad) for one, rad in zip(self._motors, positions, strict=True)}
        self.bus = EmulatedBus(ticks, speed=None)
        self.bus.calibrate(self._motors)

    def __enter__(self) -> SimulatedServos:
        self.bus.__enter__()
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(self.bus.port)
        return self

    def __exit__(self, *_: object) -> None:
        self._link.unlink(missing_ok=True)
        self.bus.__exit__()

    def exchange(self, positions: NDArray[np.float64], velocities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Tells the bus where the joints are [6], rad and rad/s; where they are told to go [6], rad.

        A servo without torque keeps the last target: the simulated arm does not fall.
        """
        found = {}
        for motor, position, velocity in zip(self._motors, positions, velocities, strict=True):
            direction = 1.0 if motor.to_rad(1.0) > motor.to_rad(0.0) else -1.0
            found[motor.id] = (motor.ticks_at(position), direction * velocity / RAD_PER_TICK)
        goals = self.bus.place(found)
        if self._dark:
            self._dark -= 1
            self._alarm(_LOW_VOLTAGE if self._dark else 0)
        for place, motor in enumerate(self._motors):
            if motor.id in goals:
                self._targets[place] = motor.to_rad(goals[motor.id])
        return self._targets.copy()

    def cut_power(self, positions: NDArray[np.float64]) -> None:
        """For some exchanges, while the arm is put to `positions` [6], rad: torque goes off, every servo is in alarm.

        A driver must not go on as if the arm were where it left it.
        """
        self._targets = positions.copy()
        self.bus.release()
        self._dark = _DARK_EXCHANGES
        self._alarm(_LOW_VOLTAGE)

    def _alarm(self, alarm: int) -> None:
        self.bus.misbehave(lambda faults: faults.alarms.update({motor.id: alarm for motor in self._motors}))
