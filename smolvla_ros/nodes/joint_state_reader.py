"""Joint states out of their serialized form, for a node that gets hundreds of them per second.

rclpy makes a Python object of every field of a message, names included, before a callback sees it: at 100 Hz that took
as long as the callback. Names stay the same from message to message, so they are read once, and then only compared.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from smolvla_ros.robot.config import RobotConfigError

from .serialized import HEADER_BYTES, LITTLE_ENDIAN, STAMP, stamp_ns

_LENGTH = struct.Struct("<I")
_NAMES_FROM = HEADER_BYTES + STAMP.size


class JointPositions(NamedTuple):
    """What is used of a joint state: stamp [ns], and positions [n] as they came, one per name."""

    stamp_ns: int
    names: list[str]
    positions: NDArray[np.float64]


class JointStateReader:
    """Reads serialized `sensor_msgs/JointState`. Not locked: one thread owns an object."""

    def __init__(self) -> None:
        # From the frame id to the number of positions: while these bytes stay the same, so do names and layout.
        self._head: bytes | None = None
        self._names: list[str] = []
        self._first = self._count = 0

    def read(self, data: bytes) -> JointPositions:
        """The positions in a message as it came over the wire.

        Raises:
            RobotConfigError: the bytes are no joint state.
        """
        try:
            return self._read(data)
        except (RuntimeError, ValueError) as error:  # from the middleware, from numpy
            raise RobotConfigError(f"{len(data)} bytes cannot be read as a joint state: {error}") from error

    def _read(self, data: bytes) -> JointPositions:
        if not data.startswith(LITTLE_ENDIAN):  # another byte order, or a version with other alignments
            message = deserialize_message(data, JointState)
            stamp = message.header.stamp
            positions = np.array(message.position)
            return JointPositions(stamp.sec * 1_000_000_000 + stamp.nanosec, list(message.name), positions)
        if self._head is None or not data.startswith(self._head, _NAMES_FROM):
            self._find(data)
        positions = np.frombuffer(data, dtype="<f8", count=self._count, offset=self._first)
        return JointPositions(stamp_ns(data), self._names, positions)

    def _find(self, data: bytes) -> None:
        """Finds names and positions in a message that can be deserialized without an error, so all of it is there."""
        self._head, self._names = None, list(deserialize_message(data, JointState).name)
        at = _after_string(data, _NAMES_FROM)  # the frame id
        at = _aligned(at, 4) + _LENGTH.size
        for _ in self._names:
            at = _after_string(data, at)
        at = _aligned(at, 4)
        (self._count,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        self._head = data[_NAMES_FROM:at]
        self._first = _aligned(at, 8) if self._count else at


def _after_string(data: bytes, at: int) -> int:
    at = _aligned(at, 4)
    (length,) = _LENGTH.unpack_from(data, at)
    return at + _LENGTH.size + int(length)


def _aligned(at: int, size: int) -> int:
    return HEADER_BYTES + -(-(at - HEADER_BYTES) // size) * size
