"""Joint states out of their serialized form, for a node that gets hundreds of them per second.

rclpy makes a Python object of every field of a message, names included, before a callback sees it: at 100 Hz that took
as long as the callback, and a message of 150 000 names blocked the executor. Names stay the same from message to
message, so they are read once, and then only compared.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState

from smolvla_ros.robot.joint_states import MAX_NAMES, JointPositions
from smolvla_ros.robot.refusals import Refusal, RefusedMessage
from smolvla_ros.stamps import stamp_ns

from .serialized import HEADER_BYTES, LITTLE_ENDIAN, STAMP
from .serialized import stamp_ns as serialized_stamp_ns

# Before anything is read: a thousand joints with long names, positions, velocities and efforts.
MAX_BYTES = 256 * MAX_NAMES
_LENGTH = struct.Struct("<I")
_NAMES_FROM = HEADER_BYTES + STAMP.size
_HEADS = 4  # drivers that take turns on one topic


class _Head(NamedTuple):
    """From the frame id to the number of positions: while these bytes stay the same, so do names and layout."""

    content: bytes
    names: list[str]
    first: int
    positions: int


class JointStateReader:
    """Reads serialized `sensor_msgs/JointState`. Not locked: one thread owns an object."""

    def __init__(self) -> None:
        self._heads: list[_Head] = []

    def read(self, data: bytes) -> JointPositions:
        """The positions in a message as it came over the wire.

        Raises:
            RefusedMessage: the bytes are no joint state, or too many.
        """
        if len(data) > MAX_BYTES:
            raise RefusedMessage(
                Refusal.TOO_LARGE, f"the joint state has {len(data)} bytes, at most {MAX_BYTES} are looked at"
            )
        try:
            return self._read(data)
        except (RuntimeError, ValueError, struct.error) as error:  # from the middleware, from numpy
            text = f"{len(data)} bytes cannot be read as a joint state: {error}"
            raise RefusedMessage(Refusal.UNREADABLE, text) from error

    def _read(self, data: bytes) -> JointPositions:
        if not data.startswith(LITTLE_ENDIAN):  # another byte order, or a version with other alignments
            message = deserialize_message(data, JointState)
            return JointPositions(stamp_ns(message.header.stamp), list(message.name), np.array(message.position))
        head = next((head for head in self._heads if data.startswith(head.content, _NAMES_FROM)), None)
        if head is None:
            head = self._find(data)
            self._heads = [head, *self._heads[: _HEADS - 1]]
        positions = np.frombuffer(data, dtype="<f8", count=head.positions, offset=head.first)
        return JointPositions(serialized_stamp_ns(data), head.names, positions)

    def _find(self, data: bytes) -> _Head:
        """Finds names and positions in a message that can be deserialized without an error, so all of it is there."""
        names = list(deserialize_message(data, JointState).name)
        at = _after_string(data, _NAMES_FROM)  # the frame id
        at = _aligned(at, 4) + _LENGTH.size
        for _ in names:
            at = _after_string(data, at)
        at = _aligned(at, 4)
        (count,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        return _Head(data[_NAMES_FROM:at], names, _aligned(at, 8) if count else at, count)


def _after_string(data: bytes, at: int) -> int:
    at = _aligned(at, 4)
    (length,) = _LENGTH.unpack_from(data, at)
    return at + _LENGTH.size + int(length)


def _aligned(at: int, size: int) -> int:
    return HEADER_BYTES + -(-(at - HEADER_BYTES) // size) * size
