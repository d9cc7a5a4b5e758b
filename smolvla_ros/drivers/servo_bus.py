"""A bus of Feetech STS3215 servos, by Feetech's own library (`feetech-servo-sdk`, which LeRobot uses, too).

One thread owns an object. A failed exchange raises `BusError`, which names the servo; what was read before stays with
the caller.
"""

from __future__ import annotations

import errno
import grp
import os
import select
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import scservo_sdk

from .servo_registers import BAUD_RATE, GOAL_POSITION, PRESENT, signed

# How long an answer may take beside its bytes' time on the wire: a servo's own delay, USB, a busy machine [ms]. In a
# control cycle a lost answer is better than a late one.
_CYCLE_LATENCY_MS = 4.0
_LATENCY_MS = 50.0
_READ_BYTES = 4096

# What pyserial lets through when a port vanishes; termios has an error of its own kind.
_PORT_ERRORS = (OSError, termios.error)

_STATUS = {1: "voltage out of range", 2: "position sensor", 4: "too hot", 8: "over-current", 32: "overload"}


class BusError(OSError):
    """An exchange failed; `servo` is the id that did not answer or answered wrongly, 0 for the port itself."""

    def __init__(self, text: str, servo: int = 0):
        self.servo = servo
        super().__init__(text)


class BrokenAnswerError(BusError):
    """Something came that is no packet: noise, a loose cable, or two servos that answer at once."""


class PortLostError(BusError):
    """The port itself is gone, as when a cable is pulled: a new `ServoBus` is needed."""


@dataclass(frozen=True)
class Present:
    """What a servo measures: ticks, ticks/s, load -1 to 1, V, deg C, and its alarms in words."""

    position: int
    velocity: int
    load: float
    voltage_v: float
    temperature_c: int
    alarms: tuple[str, ...]


class BusCounts(NamedTuple):
    """Exchanges, answers that did not come or were broken, and answers with an alarm of the servo."""

    exchanges: int = 0
    failures: int = 0
    alarms: int = 0

    def texts(self) -> dict[str, str]:
        """As values of diagnostics."""
        return {"exchanges": str(self.exchanges), "failed_exchanges": str(self.failures), "alarms": str(self.alarms)}

    def plus(self, other: BusCounts) -> BusCounts:
        return BusCounts(*(one + two for one, two in zip(self, other, strict=True)))


class _Port(scservo_sdk.PortHandler):  # type: ignore[misc]  # it has no types
    """The library's port with time-outs that fit a control loop, and no answers left over from an exchange before.

    It waits for bytes, and takes all that are there, where the library asks for each packet's head and rest again and
    again, which keeps a core busy.
    """

    latency_ms = _LATENCY_MS
    _read = b""

    def setupPort(self, cflag_baud: int) -> bool:
        opened = super().setupPort(cflag_baud)
        self.ser.exclusive = True  # two programs would take each other's answers
        return bool(opened)

    def getCurrentTime(self) -> float:
        return time.monotonic() * 1e3

    def readPort(self, length: int) -> bytes:
        if len(self._read) < length:
            left_s = max(0.0, self.packet_timeout - self.getTimeSinceStart()) * 1e-3
            if select.select([self.ser.fd], [], [], left_s)[0]:
                self._read += self._receive()
        taken, self._read = self._read[:length], self._read[length:]
        return taken

    def _receive(self) -> bytes:
        try:
            received = os.read(self.ser.fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        if not received:
            raise OSError(errno.EIO, "ready to be read, and nothing comes")
        return received

    def setPacketTimeout(self, packet_length: int) -> None:
        self.setPacketTimeoutMillis(self.tx_time_per_byte * packet_length + self.latency_ms)

    def clearPort(self) -> None:
        self._read = b""
        self.ser.reset_input_buffer()


class ServoBus:
    """The servos on one serial port.

    Args:
        port: the device, `/dev/ttyACM0` or better a stable name below `/dev/serial/by-id`.
        baud_rate: that of the servos.
        cycle_latency_ms: how long `read_present` waits for answers beside their time on the wire.

    Raises:
        BusError: there is no such port, or no right to use it; the text says what to do.
    """

    def __init__(self, port: str, baud_rate: int = BAUD_RATE, cycle_latency_ms: float = _CYCLE_LATENCY_MS):
        self.baud_rate, self._cycle_latency_ms = baud_rate, cycle_latency_ms
        self._port, self._packets = _Port(port), scservo_sdk.PacketHandler(0)
        self.exchanges = self.failures = self.alarms = 0
        try:
            opened = self._port.setBaudRate(baud_rate)
        except _PORT_ERRORS as error:
            self._close_quietly()
            raise BusError(_why_not_opened(port, error)) from error
        if not opened:
            raise BusError(f"baud rate {baud_rate} is not one of the servos'; expected {BAUD_RATE}")

    @property
    def counts(self) -> BusCounts:
        """Since it was opened."""
        return BusCounts(self.exchanges, self.failures, self.alarms)

    def close(self) -> None:
        self._port.closePort()

    def _close_quietly(self) -> None:
        """A port that was opened, and cannot be used."""
        if self._port.ser is not None:
            self._port.ser.close()

    def ping(self, servo: int) -> int:
        """The model number of a servo."""
        model, result, _ = self._exchange(self._packets.ping, servo)
        self._check(result, servo, "ping")
        return int(model)

    def read(self, servo: int, register: tuple[int, int]) -> int:
        """An unsigned register of one or two bytes."""
        address, size = register
        method = self._packets.read1ByteTxRx if size == 1 else self._packets.read2ByteTxRx
        value, result, _ = self._exchange(method, servo, address)
        self._check(result, servo, f"read of register {address}")
        return int(value)

    def write(self, servo: int, register: tuple[int, int], value: int) -> None:
        """A register of one or two bytes; the servo acknowledges."""
        address, size = register
        method = self._packets.write1ByteTxRx if size == 1 else self._packets.write2ByteTxRx
        result, _ = self._exchange(method, servo, address, value)
        self._check(result, servo, f"write of register {address}")

    def read_present(self, servos: Sequence[int]) -> tuple[dict[int, Present], list[BusError]]:
        """What all servos measure, in one exchange, and an error for each that did not answer.

        Answers are told apart by the id in them: the library's own sync read takes them in order, and one servo that is
        silent would cost those of all others.
        """
        address, size = PRESENT
        self._port.latency_ms = self._cycle_latency_ms
        try:
            result = self._exchange(self._packets.syncReadTx, address, size, list(servos), len(servos))
        finally:
            self._port.latency_ms = _LATENCY_MS
        self._check(result, 0, "sync read")
        found: dict[int, Present] = {}
        for _ in range(2 * len(servos)):  # each may be preceded by one that is broken
            packet, result = self._receive()
            if result == scservo_sdk.COMM_RX_TIMEOUT:
                break
            if result == scservo_sdk.COMM_SUCCESS and packet[2] in servos and len(packet) == size + 6:
                found[packet[2]] = _present(packet[5 : 5 + size], packet[4])
                self.alarms += bool(packet[4])
            if len(found) == len(servos):
                break
        return found, [self._failed(result, servo, "sync read") for servo in servos if servo not in found]

    def write_goals(self, goals: Mapping[int, int]) -> None:
        """Sends positions [ticks] to all servos in one exchange, which none of them acknowledges."""
        address, size = GOAL_POSITION
        parameters = [byte for servo, ticks in goals.items() for byte in (servo, ticks & 0xFF, ticks >> 8)]
        result = self._exchange(self._packets.syncWriteTxOnly, address, size, parameters, len(parameters))
        self._check(result, 0, "sync write")

    def _exchange(self, method: Any, *arguments: Any) -> Any:
        self.exchanges += 1
        try:
            return method(self._port, *arguments)
        except _PORT_ERRORS as error:
            raise self._lost(error) from error

    def _receive(self) -> tuple[list[int], int]:
        try:
            packet, result = self._packets.rxPacket(self._port)
        except _PORT_ERRORS as error:
            raise self._lost(error) from error
        if result == scservo_sdk.COMM_RX_CORRUPT and self._port.isPacketTimeout():
            result = scservo_sdk.COMM_RX_TIMEOUT
        return packet, result

    def _check(self, result: int, servo: int, what: str) -> None:
        if result != scservo_sdk.COMM_SUCCESS:
            raise self._failed(result, servo, what)

    def _failed(self, result: int, servo: int, what: str) -> BusError:
        self.failures += 1
        how = {scservo_sdk.COMM_RX_TIMEOUT: "no answer", scservo_sdk.COMM_RX_CORRUPT: "a broken answer"}
        kind = BrokenAnswerError if result == scservo_sdk.COMM_RX_CORRUPT else BusError
        return kind(f"servo {servo}: {how.get(result, f'result {result}')} to {what}", servo)

    def _lost(self, error: Exception) -> PortLostError:
        self.failures += 1
        self._port.is_using = False
        return PortLostError(f"the port is gone: {error}; was the cable pulled?")


def _why_not_opened(port: str, error: Exception) -> str:
    """One sentence with the remedy. pyserial has an error of its own, of which only the number tells what it is."""
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return (
            f"{port} does not exist: is the arm plugged in and powered, and is this its port? `ls /dev/serial/by-id` "
            "lists those that are there"
        )
    if number in (errno.EACCES, errno.EPERM):
        return (
            f"no right to use {port}: `sudo usermod -aG {_group(port)} $USER` and log in again, or the udev rule "
            'SUBSYSTEM=="tty", ATTRS{idVendor}=="1a86", TAG+="uaccess" in /etc/udev/rules.d/70-so101.rules'
        )
    if number in (errno.EAGAIN, errno.EBUSY):
        return f"{port} is used by another program, such as a driver of this arm that still runs: end it first"
    return f"{port} cannot be opened: {error}; is the arm plugged in and powered, and is this its port?"


def _group(port: str) -> str:
    """Whose members may use the port."""
    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"


def _present(data: Sequence[int], alarms: int) -> Present:
    def word(offset: int) -> int:
        return data[offset] | data[offset + 1] << 8

    return Present(
        position=signed(word(0), 15),
        velocity=signed(word(2), 15),
        load=signed(word(4), 10) / 1000,
        voltage_v=data[6] / 10,
        temperature_c=data[7],
        alarms=tuple(text for bit, text in _STATUS.items() if alarms & bit),
    )
