"""mcap files: read through the summary at their end or, where there is none that can be trusted, from the beginning."""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from mcap.opcode import Opcode
from mcap.records import Channel as ChannelRecord
from mcap.records import ChunkIndex, Footer, Schema, Statistics

from smolvla_ros.bags.messages import time_text

from .blocks import MAX_BLOCK_BYTES, Block, Channel, Report, Stored
from .compression import DamageError
from .mcap_records import (
    CHUNK,
    FOOTER_BYTES,
    HEAD,
    MAGIC,
    MAX_TIME_NS,
    MESSAGE,
    RUN_BYTES,
    ChunkBlock,
    Run,
    channel_of,
    decode,
    decompressed,
    split,
)

_KNOWN = frozenset(Opcode)
_MAX_SUMMARY_BYTES = 2**28


class McapFile:
    """See `blocks.StorageFile`.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, report: Report):
        self.path = path
        self.channels: dict[int, Channel] = {}
        self.counts: dict[int, int] = {}
        self.blocks: list[Block] = []
        self._schemas: dict[int, Schema] = {}
        self._report = report
        self._file = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._file).st_size
        try:
            if not self._read_summary():
                self._scan()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._file)

    def load(self, block: Block, wanted: Collection[int]) -> list[Stored]:
        messages = []
        try:
            for channel, log_ns, data in self._messages(self._records(block)):
                if channel in wanted:
                    messages.append(Stored(log_ns, channel, bytes(data)))
        except DamageError as error:
            topics = sorted({self.channels[c].topic for c in block.channels or self.channels if c in self.channels})
            self._report(
                f"messages of {', '.join(topics)} from {time_text(block.start_ns)} to {time_text(block.end_ns)} are "
                f"{'partly ' if messages else ''}left out: bytes {block.first} to {block.last} are damaged: {error}"
            )
        return messages

    # Bytes and records.

    def _read(self, start: int, end: int) -> bytes:
        """Bytes of the file. Raises: DamageError: they are not all there."""
        if not 0 <= start <= end <= self._size or end - start > MAX_BLOCK_BYTES:
            raise DamageError(f"bytes {start} to {end} of a file of {self._size} bytes are asked for")
        try:
            data = os.pread(self._file, end - start, start)
        except OSError as error:  # of the disk
            raise DamageError(f"bytes {start} to {end} cannot be read: {error.strerror}") from error
        if len(data) != end - start:
            raise DamageError(f"bytes {start + len(data)} to {end} cannot be read")
        return data

    def _records(self, block: Block) -> memoryview:
        """The records in a block, decompressed and checked. Raises: DamageError."""
        data = memoryview(self._read(block.first, block.last))
        if not isinstance(block, ChunkBlock):
            return data
        opcode, length = HEAD.unpack_from(data)
        if opcode != Opcode.CHUNK or length != len(data) - HEAD.size:
            raise DamageError("no chunk lies where the summary says")
        return decompressed(data[HEAD.size :])

    def _messages(self, records: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        """(channel, log time, data) of the messages in a block; learns its channels. Raises: DamageError."""
        for opcode, body in split(records):
            if opcode == Opcode.MESSAGE:
                if len(body) < MESSAGE.size:
                    raise DamageError(f"a message record has {len(body)} bytes")
                channel, _, log_ns, _ = MESSAGE.unpack_from(body)
                if log_ns > MAX_TIME_NS:
                    raise DamageError(f"a message has the log time {log_ns} ns")
                yield channel, log_ns, body[MESSAGE.size :]
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._learn(opcode, body)

    def _learn(self, opcode: int, body: memoryview) -> None:
        """Takes down a schema or a channel. Raises: DamageError."""
        if opcode == Opcode.SCHEMA:
            schema = decode(Schema, body)
            self._schemas[schema.id] = schema
            return
        record = decode(ChannelRecord, body)
        schema = self._schemas.get(record.schema_id)
        channel = channel_of(record, schema)
        known = self.channels.setdefault(record.id, channel)
        if known != channel:
            self._report(f"channel {record.id} is {known.topic} [{known.type}] in one place and {channel.topic} "
                         f"[{channel.type}] in another; the first is believed")  # fmt: skip

    # The summary.

    def _read_summary(self) -> bool:
        """Takes channels, counts and blocks from the summary; False: there is none, or it cannot be trusted."""
        try:
            summary = self._summary()
            if summary is None:
                return False
            is_complete = self._use_summary(*summary)
        except DamageError as error:
            self._report(f"read from its beginning, because {error}")
            is_complete = False
        if not is_complete:
            self.channels, self._schemas, self.counts, self.blocks = {}, {}, {}, []
        return is_complete

    def _summary(self) -> tuple[memoryview, bool] | None:
        """The records of the summary, and whether a checksum vouches for them; None: it was left out."""
        start = max(self._size - FOOTER_BYTES, 0)
        footer_bytes = self._read(start, self._size)
        if len(footer_bytes) < FOOTER_BYTES or not footer_bytes.endswith(MAGIC):
            raise DamageError("it has no proper end: the recording was not closed, or the file was cut off")
        if HEAD.unpack_from(footer_bytes) != (Opcode.FOOTER, 20):
            raise DamageError("its footer is damaged")
        footer = decode(Footer, memoryview(footer_bytes)[HEAD.size : -len(MAGIC)])
        if footer.summary_start == 0:
            return None
        if start - footer.summary_start > _MAX_SUMMARY_BYTES:
            raise DamageError("its footer is damaged")
        records = self._read(footer.summary_start, start)
        checksum = zlib.crc32(footer_bytes[: HEAD.size + 16], zlib.crc32(records))
        if footer.summary_crc not in (0, checksum):
            raise DamageError("its summary does not match its checksum")
        return memoryview(records), footer.summary_crc != 0

    def _use_summary(self, records: memoryview, is_checked: bool) -> bool:
        """Whether the summary says everything; writers may leave out any part of it. Raises: DamageError."""
        indexes: list[ChunkIndex] = []
        statistics = None
        channels: list[memoryview] = []
        for opcode, body in split(records):
            if opcode == Opcode.SCHEMA:
                self._learn(opcode, body)
            elif opcode == Opcode.CHANNEL:
                channels.append(body)
            elif opcode == Opcode.CHUNK_INDEX:
                indexes.append(decode(ChunkIndex, body))
            elif opcode == Opcode.STATISTICS:
                statistics = decode(Statistics, body)
        for body in channels:  # after all schemas
            self._learn(Opcode.CHANNEL, body)
        if statistics is None:
            return False
        self.counts = dict(statistics.channel_message_counts)
        used = set(self.counts).union(*(index.message_index_offsets for index in indexes))
        if statistics.message_count != sum(self.counts.values()):
            raise DamageError("its summary contradicts itself")
        if not used <= set(self.channels) or (statistics.message_count and not indexes):
            return False
        for index in indexes:
            self._add_chunk(index, is_checked)
        return True

    def _add_chunk(self, index: ChunkIndex, is_checked: bool) -> None:
        """Takes a chunk for a block, if it has messages. Without a checksum it is held against the chunk itself."""
        first, last = index.chunk_start_offset, index.chunk_start_offset + index.chunk_length
        start_ns, end_ns = index.message_start_time, index.message_end_time
        if start_ns > end_ns or (end_ns == 0 and not index.message_index_offsets):
            return
        if is_checked:
            channels = frozenset(index.message_index_offsets) or None
            self.blocks.append(ChunkBlock(first, last, start_ns, end_ns, index.uncompressed_size, channels))
        elif (start_ns, end_ns) == self._chunk_times(first):
            # A wrong byte must not make a chunk look as if it held nothing that is asked for: its channels are unknown.
            self.blocks.append(ChunkBlock(first, last, start_ns, end_ns, index.uncompressed_size))
        else:
            self._report(f"the chunk at byte {first} and its summary differ; the messages in it are believed")
            self._scan_chunk(first, last, Counter())

    def _chunk_times(self, first: int) -> tuple[int, int]:
        """First and last log time as the head of a chunk says. Raises: DamageError."""
        start_ns, end_ns, *_ = CHUNK.unpack_from(self._read(first, first + HEAD.size + CHUNK.size), HEAD.size)
        return start_ns, end_ns

    # From the beginning.

    def _scan(self) -> None:
        """Takes channels, counts and blocks from the data, as far as one record can be told from the next."""
        counts: Counter[int] = Counter()
        run = Run()
        position = len(MAGIC)
        while True:
            try:
                opcode, end = self._record_at(position)
            except DamageError as error:
                self._report(f"what lies after byte {position} of {self._size} is lost: {error}")
                break
            if opcode == Opcode.MESSAGE:
                self._scan_message(position, end, run, counts)
            if run.is_full(opcode):
                self.blocks += run.take()
            if opcode == Opcode.CHUNK:
                self._scan_chunk(position, end, counts)
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._scan_definition(opcode, position, end)
            elif opcode == Opcode.DATA_END:
                self._check_data(position)
                break
            position = end
        self.blocks += run.take()
        self.counts = dict(counts)

    def _record_at(self, position: int) -> tuple[int, int]:
        """Opcode of the record and where it ends. Raises: DamageError: there is none."""
        opcode, length = HEAD.unpack(self._read(position, position + HEAD.size))
        end = position + HEAD.size + length
        if opcode in (0, Opcode.FOOTER):
            raise DamageError(f"no record begins there (type {opcode})")
        if end > self._size:
            raise DamageError("the record there is cut off")
        # Types from 128 on are free for private use, but some differ in one bit from those that matter.
        if opcode not in _KNOWN and (opcode < 128 or opcode - 128 in _KNOWN):
            self._report(f"a record of unknown type {opcode} at byte {position} is skipped")
        return opcode, end

    def _scan_message(self, position: int, end: int, run: Run, counts: Counter[int]) -> None:
        try:
            head = self._read(position + HEAD.size, min(position + HEAD.size + MESSAGE.size, end))
            channel, _, log_ns, _ = MESSAGE.unpack(head)
            if log_ns > MAX_TIME_NS:
                raise DamageError(f"its log time is {log_ns} ns")
        except (DamageError, struct.error) as error:
            self._report(f"the message at byte {position} is left out: {error}")
            return
        counts[channel] += 1
        run.add(position, end, channel, log_ns)

    def _scan_chunk(self, position: int, end: int, counts: Counter[int]) -> None:
        found: list[tuple[int, int]] = []
        try:
            for channel, log_ns, _ in self._messages(self._records(ChunkBlock(position, end, 0, 0, 0))):
                found.append((channel, log_ns))
        except DamageError as error:
            after = f"after {time_text(self.blocks[-1].end_ns)}" if self.blocks else "at the beginning"
            self._report(f"messages {after} are left out: the chunk at byte {position} is damaged: {error}")
        if found:
            counts.update(channel for channel, _ in found)
            times = [log_ns for _, log_ns in found]
            channels = frozenset(channel for channel, _ in found)
            self.blocks.append(ChunkBlock(position, end, min(times), max(times), end - position, channels))

    def _scan_definition(self, opcode: int, position: int, end: int) -> None:
        try:
            self._learn(opcode, memoryview(self._read(position + HEAD.size, end)))
        except DamageError as error:
            self._report(f"a definition at byte {position} cannot be read: {error}")

    def _check_data(self, data_end: int) -> None:
        """Holds the checksum of the data against messages outside of chunks; chunks have checksums of their own."""
        if any(isinstance(block, ChunkBlock) for block in self.blocks):
            return
        expected = int.from_bytes(self._read(data_end + HEAD.size, data_end + HEAD.size + 4), "little")
        if expected == 0:
            return
        _, header_end = self._record_at(len(MAGIC))
        if expected not in (self._checksum(0, data_end), self._checksum(header_end, data_end)):  # writers differ
            self._report("its data do not match their checksum: some message is wrong, and nothing says which")

    def _checksum(self, start: int, end: int) -> int:
        checksum = 0
        for place in range(start, end, RUN_BYTES):
            checksum = zlib.crc32(self._read(place, min(place + RUN_BYTES, end)), checksum)
        return checksum
