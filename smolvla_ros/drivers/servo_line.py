"""A serial port with the servos of a calibration behind it: proven when it is opened, found again when it was gone.

One thread owns an object. Time is an argument [s].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .calibration import MotorCalibration
from .servo_bus import BusCounts, BusError, ServoBus
from .servo_check import ArmError, check_servos

# Between two attempts to open a port again [s].
_REOPEN_S = 1.0


class ServoLine:
    """The bus of an arm, through unplugging and plugging.

    Args:
        port, baud_rate: of `ServoBus`.
        motors: what the servos are held against.
        prepare: is called with the bus before the servos are held against the calibration.
    """

    def __init__(
        self,
        port: str,
        baud_rate: int,
        motors: Iterable[MotorCalibration],
        prepare: Callable[[ServoBus], None] = lambda bus: None,
    ):
        self._port, self._baud_rate, self._motors = port, baud_rate, tuple(motors)
        self._prepare = prepare
        self._next_s = 0.0
        self._past = BusCounts()
        self.bus: ServoBus | None = None

    @property
    def counts(self) -> BusCounts:
        """Since the first opening."""
        return self._past if self.bus is None else self._past.plus(self.bus.counts)

    def open(self) -> ServoBus:
        """Opens the port and holds the servos against the calibration: an arm that was not proven is not driven.

        Raises:
            BusError, ArmError: nothing is open.
        """
        self.close()
        self.bus = ServoBus(self._port, self._baud_rate)
        try:
            self._prepare(self.bus)
            check_servos(self.bus, self._motors)
        except (BusError, ArmError):
            self.close()
            raise
        return self.bus

    def reopen(self, now_s: float) -> ServoBus | None:
        """`open` now and then; None when it is not time yet. The same errors."""
        if now_s < self._next_s:
            return None
        self._next_s = now_s + _REOPEN_S
        return self.open()

    def close(self) -> None:
        """Leaves the servos as they are."""
        if self.bus is not None:
            self._past = self.counts
            self.bus.close()
            self.bus = None
