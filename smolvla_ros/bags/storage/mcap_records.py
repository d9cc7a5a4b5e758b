"""Records of mcap files: telling them apart, decoding and decompressing them without believing any length in them.

Record layouts: https://mcap.dev/spec. The package `mcap` decodes the content of a record; which bytes are one is
decided here, because its readers take every length in a damaged file at its word.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from mcap.data_stream import ReadDataStream
from mcap.exceptions import EndOfFile
from mcap.opcode import Opcode
from mcap.records import Channel as ChannelRecord
from mcap.records import Schema

from smolvla_ros.bags.messages import Definition, full_topic, full_type

from .blocks import Block, Channel
from .compression import DamageError, decompress

MAGIC = b"\x89MCAP0\r\n"

HEAD = struct.Struct("<BQ")  # opcode, length
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
CHUNK = struct.Struct("<QQQII")  # start, end, uncompressed size, checksum, length of the compression's name
FOOTER_BYTES = HEAD.size + 20 + len(MAGIC)
RUN_BYTES = 2**20
MAX_TIME_NS = 2**63 - 1  # as ROS has it: the year 2262

_LENGTH = struct.Struct("<Q")
# What the records of `mcap` raise on bytes that are none.
_NO_RECORD = (struct.error, EndOfFile, UnicodeDecodeError, ValueError)


class ChunkBlock(Block):
    """A block that is a chunk record; any other block is a run of message records."""


class Run:
    """Message records one after the other, outside of chunks, that become one block."""

    def __init__(self) -> None:
        self._messages: list[tuple[int, int, int, int]] = []  # first byte, end, channel, log time

    def add(self, first: int, last: int, channel: int, log_ns: int) -> None:
        self._messages.append((first, last, channel, log_ns))

    def is_full(self, opcode: int) -> bool:
        """Whether the block ends with or before the record of this type."""
        return bool(self._messages) and (
            opcode != Opcode.MESSAGE or self._messages[-1][1] - self._messages[0][0] >= RUN_BYTES
        )

    def take(self) -> list[Block]:
        """The block, if there is one; begins anew."""
        messages, self._messages = self._messages, []
        if not messages:
            return []
        first, last = messages[0][0], messages[-1][1]
        times = [log_ns for *_, log_ns in messages]
        channels = frozenset(channel for *_, channel, _ in messages)
        return [Block(first, last, min(times), max(times), last - first, channels)]


def split(records: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and content of records that follow one another. Raises: DamageError: one runs over the end."""
    position = 0
    while position < len(records):
        if position + HEAD.size > len(records):
            raise DamageError("a record runs over the end")
        opcode, length = HEAD.unpack_from(records, position)
        position += HEAD.size
        if length > len(records) - position:
            raise DamageError("a record runs over the end")
        yield opcode, records[position : position + length]
        position += length


def decompressed(chunk: memoryview) -> memoryview:
    """The records in the content of a chunk record. Raises: DamageError."""
    try:
        _, _, size, checksum, name_length = CHUNK.unpack_from(chunk)
        compression = bytes(chunk[CHUNK.size : CHUNK.size + name_length]).decode()
        (length,) = _LENGTH.unpack_from(chunk, CHUNK.size + name_length)
    except (struct.error, UnicodeDecodeError) as error:
        raise DamageError(f"the head of its chunk is no such thing ({error})") from error
    data = chunk[CHUNK.size + name_length + _LENGTH.size :]
    if length > len(data):
        raise DamageError(f"its chunk has {len(data)} bytes where {length} are announced")
    records = decompress(data[:length], compression, size)  # writers may pad a record
    if checksum not in (0, zlib.crc32(records)):
        raise DamageError("its chunk does not match its checksum")
    return memoryview(records)


def decode(record: Any, body: memoryview) -> Any:
    """A record of the package `mcap`. Raises: DamageError."""
    try:
        return record.read(ReadDataStream(BytesIO(body)))
    except _NO_RECORD as error:
        raise DamageError(f"a {record.__name__.lower()} record is no such thing ({error})") from error


def channel_of(record: ChannelRecord, schema: Schema | None) -> Channel:
    topic = full_topic(record.topic)
    if schema is None:
        return Channel(topic, "", record.message_encoding)
    definition = Definition(schema.encoding, schema.data.decode(errors="replace"))
    return Channel(topic, full_type(schema.name), record.message_encoding, definition)
