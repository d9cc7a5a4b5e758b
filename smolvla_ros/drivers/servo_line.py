"""A serial port with the servos of a calibration behind it: proven when it is opened, found again when it was gone.

One thread owns an object. Time is an argument [s].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from .calibration import MotorCalibration
from .servo_bus import BusCounts, BusError, ServoBus
from .servo_check import ArmError, check_servos

# Between two attempts to open a port again [s].
_REOPEN_S = 1.0

Told = TypeVar("Told")


class Driven(Protocol[Told]):
    """What runs on a bus in every period: an arm, a leader."""

    @property
    def trouble(self) -> str:
        """What is wrong with it; empty: nothing."""

    def cycle(self, now_s: float) -> dict[str, Told]:
        """One exchange with the servos, told by joint. Raises PortLostError."""


class ServoLine(Generic[Told]):
    """The bus of an arm, through unplugging and plugging.

    Args:
        port, baud_rate: of `ServoBus`.
        motors: what the servos are held against.
        drive: makes what runs on a bus that was opened and proven; may raise BusError.
        prepare: is called with the bus before the servos are held against the calibration.

    Attributes:
        trouble: what is wrong with the port or with what runs on it; empty: nothing.
    """

    def __init__(
        self,
        port: str,
        baud_rate: int,
        motors: Iterable[MotorCalibration],
        drive: Callable[[ServoBus], Driven[Told]],
        prepare: Callable[[ServoBus], None] = lambda bus: None,
    ):
        self._port, self._baud_rate, self._motors = port, baud_rate, tuple(motors)
        self._drive, self._prepare = drive, prepare
        self._driven: Driven[Told] | None = None
        self._next_s = 0.0
        self._past = BusCounts()
        self._bus: ServoBus | None = None
        self.trouble = ""

    @property
    def counts(self) -> BusCounts:
        """Since the first opening."""
        return self._past if self._bus is None else self._past.plus(self._bus.counts)

    def open(self) -> None:
        """Opens the port and holds the servos against the calibration: an arm that was not proven is not driven.

        Raises:
            BusError, ArmError: nothing is open.
        """
        self.close()
        self._bus = ServoBus(self._port, self._baud_rate)
        try:
            self._prepare(self._bus)
            check_servos(self._bus, self._motors)
            self._driven = self._drive(self._bus)
        except (BusError, ArmError):
            self.close()
            raise

    def cycle(self, now_s: float) -> dict[str, Told]:
        """One cycle of what runs on the bus; while the port is gone, nothing but an attempt now and then to open it."""
        try:
            if self._driven is None:
                if now_s < self._next_s:
                    return {}
                self._next_s = now_s + _REOPEN_S
                self.open()
            assert self._driven is not None, "open makes it or raises"
            told = self._driven.cycle(now_s)
        except (BusError, ArmError) as error:
            self.close()
            self.trouble = str(error)
            return {}
        self.trouble = self._driven.trouble
        return told

    def close(self) -> None:
        """Leaves the servos as they are."""
        self._driven = None
        if self._bus is not None:
            self._past = self.counts
            self._bus.close()
            self._bus = None
