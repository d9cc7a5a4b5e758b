"""sqlite3 files, opened such that sqlite can neither change nor lock them, nor leave anything beside them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from smolvla_ros.bags.messages import Definition, full_topic, full_type, time_text

from .blocks import MAX_BLOCK_BYTES, Block, Channel, Report, Stored
from .compression import DamageError

MAGIC = b"SQLite format 3\0"

_BLOCK_BYTES = 2**20
# Rows of one block lie no further apart, so that one wrong time spoils no other message.
_BLOCK_SPAN_NS = 60 * 10**9
_MAX_GAPS = 1000
_MAX_ROW = 2**63 - 1


class Sqlite3File:
    """See `blocks.StorageFile`.

    Raises:
        DamageError: it is no bag, or none of its tables can be read.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, report: Report):
        self.path = path
        self.channels: dict[int, Channel] = {}
        self.counts: dict[int, int] = {}
        self.blocks: list[Block] = []
        self._report = report
        self._copy: TemporaryDirectory[str] | None = None
        self._database = self._connect()
        try:
            self._read_topics()
            self._read_rows()
        except sqlite3.Error as error:
            self.close()
            raise DamageError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._database.close()
        if self._copy is not None:
            self._copy.cleanup()

    def load(self, block: Block, wanted: Collection[int]) -> list[Stored]:
        try:
            rows = self._rows("timestamp, topic_id, data", block.first, block.last, wanted)
        except sqlite3.Error:
            rows = self._row_by_row(block, wanted)
        return [Stored(*row) for row in rows if isinstance(row[0], int) and isinstance(row[2], bytes)]

    def _rows(self, columns: str, first: int, last: int, wanted: Collection[int]) -> list[tuple[Any, ...]]:
        places = ", ".join("?" * len(wanted))
        query = f"SELECT {columns} FROM messages WHERE id BETWEEN ? AND ? AND topic_id IN ({places}) ORDER BY id"
        return self._database.execute(query, (first, last, *wanted)).fetchall()

    def _row_by_row(self, block: Block, wanted: Collection[int]) -> list[tuple[Any, ...]]:
        """What can be read of a block in which some row cannot."""
        try:
            heads = self._rows("id, timestamp, topic_id", block.first, block.last, wanted)
        except sqlite3.Error as error:
            self._report(f"messages from row {block.first} to {block.last} are left out: {error}")
            return []
        rows: list[tuple[Any, ...]] = []
        for row, log_ns, channel in heads:
            try:
                rows += self._rows("timestamp, topic_id, data", row, row, wanted)
            except sqlite3.Error as error:
                when = time_text(log_ns) if isinstance(log_ns, int) else "some time"
                self._report(f"the message of {self.channels[channel].topic} at {when} is left out: {error}")
        return rows

    def _connect(self) -> sqlite3.Connection:
        """Opens the file, or a copy where sqlite would have to change something before it can be read."""
        missing_bytes, cut_page_bytes = self._cut_off()
        if missing_bytes:
            self._report(f"its last {missing_bytes} bytes are missing: it was cut off")
        leftovers = [self.path.with_name(self.path.name + end) for end in ("-wal", "-journal")]
        leftovers = [file for file in leftovers if file.is_file() and file.stat().st_size]
        if leftovers:
            self._report(f"the recording was not closed: {', '.join(file.name for file in leftovers)} lies beside it")
        path, mode = self.path, "mode=ro&immutable=1"
        if leftovers or cut_page_bytes:
            self._copy = TemporaryDirectory(prefix="smolvla_ros_bag_")
            path, mode = Path(self._copy.name, self.path.name), "mode=rw"
            for file in (self.path, *leftovers):
                shutil.copyfile(file, path.with_name(file.name))
            # sqlite would take the missing part of a page for zeros, and a camera image for black.
            os.truncate(path, path.stat().st_size - cut_page_bytes)
        database = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{mode}", uri=True, isolation_level=None)
        database.text_factory = lambda text: text.decode(errors="replace")
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BLOCK_BYTES)
        # Otherwise sqlite refuses a file that was cut off, whose beginning it can read very well.
        database.execute("PRAGMA writable_schema=ON")
        return database

    def _cut_off(self) -> tuple[int, int]:
        """How many bytes the file lacks, and how many it has of a page that is not complete.

        Format: https://www.sqlite.org/fileformat2.html
        """
        with self.path.open("rb") as file:
            head = file.read(100)
        size = self.path.stat().st_size
        if len(head) < 100:
            raise DamageError(f"it has {size} bytes")
        page_bytes = int.from_bytes(head[16:18], "big")
        page_bytes = 65536 if page_bytes == 1 else page_bytes
        if page_bytes < 512 or page_bytes & (page_bytes - 1):
            raise DamageError(f"its pages have {page_bytes} bytes")
        pages = int.from_bytes(head[28:32], "big")
        return max(pages * page_bytes - size, 0), size % page_bytes

    def _read_topics(self) -> None:
        tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"messages", "topics"} <= tables:
            raise DamageError(f"a database without the tables of a bag; it has {', '.join(sorted(tables)) or 'none'}")
        definitions: dict[str, Definition] = {}
        if "message_definitions" in tables:
            definitions = self._read_definitions()
        topics = self._database.execute("SELECT id, name, type, serialization_format FROM topics ORDER BY id")
        for channel, name, type_name, encoding in topics:
            names = full_topic(str(name)), full_type(str(type_name))
            self.channels[channel] = Channel(*names, str(encoding), definitions.get(type_name))

    def _read_definitions(self) -> dict[str, Definition]:
        query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        try:
            return {name: Definition(str(kind), str(text)) for name, kind, text in self._database.execute(query)}
        except sqlite3.Error as error:
            self._report(f"its message definitions cannot be read: {error}")
            return {}

    def _read_rows(self) -> None:
        """Counts the messages and groups them into blocks; their data stay in the file."""
        counts: Counter[int] = Counter()
        group: list[tuple[int, int, int, int]] = []
        group_bytes = 0
        for row, log_ns, channel, size in self._heads():
            if channel not in self.channels or not isinstance(log_ns, int) or not isinstance(size, int):
                self._report(f"row {row} of its messages is damaged and left out")
                continue
            counts[channel] += 1
            is_next = bool(group) and row == group[-1][0] + 1  # no gap between them, where damaged rows may lie
            if not is_next or group_bytes + size > _BLOCK_BYTES or abs(log_ns - group[0][1]) > _BLOCK_SPAN_NS:
                self.blocks += _blocks(group)
                group, group_bytes = [], 0
            group_bytes += size
            group.append((row, log_ns, channel, size))
        self.blocks += _blocks(group)
        self.counts = dict(counts)

    def _heads(self) -> Iterator[tuple[int, int, int, int]]:
        """(row, log time, channel, bytes) of every message that can be reached, in the order of rows."""
        query = "SELECT id, timestamp, topic_id, length(data) FROM messages WHERE id > ? ORDER BY id"
        row, last_ns = 0, None
        for _ in range(_MAX_GAPS):
            try:
                for head in self._database.execute(query, (row,)):
                    if head[0] <= row:  # the order of a damaged tree; following it could lead in circles
                        raise sqlite3.DatabaseError(f"row {head[0]} lies behind row {row}")
                    row, last_ns, *_ = head
                    yield head
                return
            except sqlite3.Error as error:
                when = f"after {time_text(last_ns)}" if isinstance(last_ns, int) else "at its beginning"
                first, row = row + 1, self._readable_after(row)
                rows = f"rows {first} to {row}" if row < _MAX_ROW else f"row {first} and all that follow"
                self._report(f"messages {when} are lost, {rows}: {error}")
                if row == _MAX_ROW:
                    return
        self._report("it is damaged in too many places; the rest is left out")

    def _readable_after(self, row: int) -> int:
        """The first row number from which reading goes on behind a damaged place; `_MAX_ROW`: it never does."""
        bad, good, step = row, _MAX_ROW, 1
        while bad + step < _MAX_ROW:
            if self._is_readable(bad + step):
                good = bad + step
                break
            bad, step = bad + step, 2 * step
        while good < _MAX_ROW and good - bad > 1:
            middle = (bad + good) // 2
            bad, good = (bad, middle) if self._is_readable(middle) else (middle, good)
        return good

    def _is_readable(self, after: int) -> bool:
        query = "SELECT id, timestamp, topic_id, length(data) FROM messages WHERE id > ? ORDER BY id LIMIT 1"
        try:
            head = self._database.execute(query, (after,)).fetchone()
        except sqlite3.Error:
            return False
        return head is not None and head[0] > after


def _blocks(rows: list[tuple[int, int, int, int]]) -> list[Block]:
    """One block of rows (row, log time, channel, bytes), none without rows."""
    if not rows:
        return []
    times = [log_ns for _, log_ns, _, _ in rows]
    channels = frozenset(channel for _, _, channel, _ in rows)
    return [Block(rows[0][0], rows[-1][0], min(times), max(times), sum(size for *_, size in rows), channels)]
