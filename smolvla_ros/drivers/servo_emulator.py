"""A bus of STS3215 servos without an arm, behind a pseudo-terminal: for tests and for people who have none yet.

It speaks the protocol itself (ping, read, write, sync read, sync write; checksums; the sender's own bytes do not come
back, as on LeRobot's board), takes as long for an answer as its bytes take at the bus's rate, and can be told to
misbehave. Its joints go where they are told at a limited speed, or stand where a simulation puts them.

Threads: one serves the terminal; everything else may be called from any thread, under one lock.
"""

from __future__ import annotations

import os
import pty
import select
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .calibration import MotorCalibration
from .servo_registers import (
    BAUD_RATE,
    GOAL_POSITION,
    HOMING_OFFSET,
    MAX_POSITION,
    MIN_POSITION,
    MODEL_STS3215,
    PRESENT,
    TORQUE_ENABLE,
    sign_magnitude,
)

_PING, _READ, _WRITE, _SYNC_READ, _SYNC_WRITE = 1, 2, 3, 0x82, 0x83
_BROADCAST = 0xFE
_SECONDS_PER_BYTE = 10 / BAUD_RATE
_FACTORY_POSITION = 2048


@dataclass
class Faults:
    """What goes wrong from now on; ids of servos where a set is asked for."""

    silent: set[int] = field(default_factory=set)
    wrong_checksum: set[int] = field(default_factory=set)
    cut_short: set[int] = field(default_factory=set)
    alarms: dict[int, int] = field(default_factory=dict)
    voltage_v: float = 7.4


class _Servo:
    def __init__(self, servo: int, position: int):
        self.registers = bytearray(256)
        self.registers[3:5] = MODEL_STS3215.to_bytes(2, "little")
        self.registers[5] = servo
        self.registers[11:13] = (4095).to_bytes(2, "little")
        self.position = float(position)
        self.velocity = 0.0

    @property
    def goal(self) -> int:
        return int.from_bytes(self.registers[GOAL_POSITION[0] : GOAL_POSITION[0] + 2], "little")

    @property
    def torque(self) -> bool:
        return bool(self.registers[TORQUE_ENABLE[0]])

    def advance(self, elapsed_s: float, speed: float) -> None:
        before = self.position
        if self.torque:
            reach = speed * elapsed_s
            self.position += min(max(self.goal - self.position, -reach), reach)
        self.velocity = (self.position - before) / elapsed_s if elapsed_s > 0 else 0.0

    def refresh(self, voltage_v: float) -> None:
        at = PRESENT[0]
        self.registers[at : at + 2] = sign_magnitude(round(self.position), 15).to_bytes(2, "little")
        velocity = max(-32767, min(32767, round(self.velocity)))
        self.registers[at + 2 : at + 4] = sign_magnitude(velocity, 15).to_bytes(2, "little")
        self.registers[at + 6], self.registers[at + 7] = round(10 * voltage_v), 31


class EmulatedBus:
    """Servos with the given positions [ticks] by id. A context manager; `port` is what a driver opens.

    Args:
        positions: where each servo stands.
        speed: ticks per second of a servo that goes to its goal; None: servos stand where `place` puts them.
        timed: answers take the time that their bytes take on the wire.
    """

    def __init__(self, positions: Mapping[int, int], speed: float | None = 3000.0, timed: bool = True):
        self._servos = {servo: _Servo(servo, position) for servo, position in positions.items()}
        self._speed, self._timed = speed, timed
        self._lock = threading.Lock()
        self._twins: dict[int, _Servo] = {}
        self.faults = Faults()
        self.packets = 0
        self.bytes_on_wire = 0
        self._advanced_s = time.monotonic()
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._end_reader, self._end_writer = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="servo emulator", daemon=True)

    def __enter__(self) -> EmulatedBus:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._end_writer, b"x")
        self._thread.join()
        for descriptor in (self._master, self._slave, self._end_reader, self._end_writer):
            os.close(descriptor)

    def position(self, servo: int) -> float:
        """Where a servo stands [ticks]."""
        with self._lock:
            self._advance()
            return self._servos[servo].position

    def goal(self, servo: int) -> int:
        with self._lock:
            return self._servos[servo].goal

    def torque(self, servo: int) -> bool:
        with self._lock:
            return self._servos[servo].torque

    def place(self, servos: Mapping[int, tuple[float, float]]) -> dict[int, int]:
        """Puts servos at positions [ticks] with velocities [ticks/s]; the goals [ticks] of those that are torqued."""
        with self._lock:
            for servo, (position, velocity) in servos.items():
                self._servos[servo].position, self._servos[servo].velocity = position, velocity
            return {servo: one.goal for servo, one in self._servos.items() if one.torque}

    def release(self) -> None:
        """Takes the torque off all servos, as a loss of power does."""
        with self._lock:
            for one in self._servos.values():
                one.registers[TORQUE_ENABLE[0]] = 0

    def calibrate(self, motors: Iterable[MotorCalibration]) -> None:
        """Writes a calibration into the servos."""
        for motor in motors:
            words = {HOMING_OFFSET: sign_magnitude(motor.homing_offset, 11), MIN_POSITION: motor.range_min,
                     MAX_POSITION: motor.range_max}  # fmt: skip
            for (address, size), value in words.items():
                self.set_register(motor.id, address, list(value.to_bytes(size, "little")))

    def set_register(self, servo: int, address: int, values: Sequence[int]) -> None:
        with self._lock:
            self._servos[servo].registers[address : address + len(values)] = bytes(values)

    def double(self, servo: int) -> None:
        """Puts a second servo with this id on the bus, as it comes from the factory: both answer at once."""
        with self._lock:
            self._twins[servo] = _Servo(servo, _FACTORY_POSITION)

    @property
    def busy_s(self) -> float:
        """How long bytes were on the wire so far, at the bus's baud rate."""
        with self._lock:
            return self.bytes_on_wire * _SECONDS_PER_BYTE

    def misbehave(self, change: Callable[[Faults], None]) -> None:
        """Changes the faults between two packets."""
        with self._lock:
            change(self.faults)

    def _serve(self) -> None:
        buffer = bytearray()
        while True:
            ready, _, _ = select.select([self._master, self._end_reader], [], [])
            if self._end_reader in ready:
                return
            heard = os.read(self._master, 4096)
            if termios.tcgetattr(self._slave)[5] != termios.B1000000:
                continue  # to the servos it is noise
            buffer += heard
            while (packet := _take_packet(buffer)) is not None:
                answer = self._answer(packet)
                if answer:
                    if self._timed:
                        time.sleep(_SECONDS_PER_BYTE * (len(packet) + len(answer)))
                    os.write(self._master, answer)

    def _advance(self) -> None:
        now_s = time.monotonic()
        for servo in self._servos.values():
            if self._speed is not None:
                servo.advance(now_s - self._advanced_s, self._speed)
            servo.refresh(self.faults.voltage_v)
        self._advanced_s = now_s

    def _answer(self, packet: bytes) -> bytes:
        servo, instruction, parameters = packet[2], packet[4], packet[5:-1]
        with self._lock:
            self.packets += 1
            self._advance()
            answer = b""
            if instruction == _SYNC_READ and len(parameters) > 2:
                at, size = parameters[0], parameters[1]
                answer = b"".join(self._status(one, slice(at, at + size)) for one in parameters[2:])
            elif instruction == _SYNC_WRITE and len(parameters) > 2:
                self._sync_write(parameters)
            elif servo in self._servos and instruction == _PING:
                answer = self._status(servo)
            elif servo in self._servos and instruction == _READ and len(parameters) == 2:
                answer = self._status(servo, slice(parameters[0], parameters[0] + parameters[1]))
            elif servo in self._servos and instruction == _WRITE and parameters:
                self._write(servo, parameters)
                answer = self._status(servo)
            self.bytes_on_wire += len(packet) + len(answer)
            return answer

    def _write(self, servo: int, parameters: bytes) -> None:
        at, values = parameters[0], parameters[1:]
        self._servos[servo].registers[at : at + len(values)] = values

    def _sync_write(self, parameters: bytes) -> None:
        at, size = parameters[0], parameters[1]
        for start in range(2, len(parameters) - size, size + 1):
            servo, values = parameters[start], parameters[start + 1 : start + 1 + size]
            if servo in self._servos:
                self._servos[servo].registers[at : at + size] = values

    def _status(self, servo: int, registers: slice = slice(0)) -> bytes:
        """What comes back from a servo that is asked for registers."""
        if servo not in self._servos or servo in self.faults.silent:
            return b""
        answer = self._packet(self._servos[servo], registers)
        if servo in self._twins:  # the wire is low when either of the two pulls it low
            twin = self._packet(self._twins[servo], registers)
            answer = bytes(one & other for one, other in zip(answer, twin, strict=True))
        if servo in self.faults.wrong_checksum:
            answer = answer[:-1] + bytes([answer[-1] ^ 0x5A])
        return answer[: len(answer) // 2] if servo in self.faults.cut_short else answer

    def _packet(self, servo: _Servo, registers: slice) -> bytes:
        number, data = servo.registers[5], bytes(servo.registers[registers])
        body = bytes([number, len(data) + 2, self.faults.alarms.get(number, 0)]) + data
        return b"\xff\xff" + body + bytes([~sum(body) & 0xFF])


def _take_packet(buffer: bytearray) -> bytes | None:
    """The next whole packet with a right checksum, taken out of the buffer; what cannot be one is dropped."""
    while True:
        start = buffer.find(b"\xff\xff")
        if start < 0:
            del buffer[: max(0, len(buffer) - 1)]
            return None
        del buffer[:start]
        if len(buffer) < 4 or len(buffer) < buffer[3] + 4:
            return None
        packet = bytes(buffer[: buffer[3] + 4])
        if buffer[3] >= 2 and ~sum(packet[2:-1]) & 0xFF == packet[-1]:
            del buffer[: len(packet)]
            return packet
        del buffer[:1]
