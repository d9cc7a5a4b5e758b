"""Writes a bag while it is recorded: an mcap file in zstd chunks, then metadata.yaml as rosbag2 has it.

Threads: any thread calls `Recording.put`, which only queues; a thread of its own compresses and writes, and it alone
touches the file. Chunks are written out at least once per second, so a process that is killed leaves a file that can be
read up to its last second. A full disk is met twice: recording ends while there is still a reserve, and should others
take that, space that was kept for it is given back to close the bag with.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from mcap.writer import CompressionType, Writer

from ..errors import BagError

_CHUNK_BYTES = 2 << 20
_FLUSH_PERIOD_S = 1.0
_METADATA_VERSION = 9


@dataclass(frozen=True)
class Limits:
    """Bounds of a recording [bytes]; `most` 0: none.

    Attributes:
        most: the bag is closed when the file has this size.
        reserve: the bag is closed when the disk has less than this left.
        queued: messages beyond this that wait to be written are dropped, and counted.
        ballast: kept on the disk to close the bag with, should the disk be full all the same.
    """

    most: int = 0
    reserve: int = 500_000_000
    queued: int = 256_000_000
    ballast: int = 16_000_000


@dataclass(frozen=True)
class RecordedTopic:
    """A topic as a bag describes it: `definition` and `hash` of its type, `qos` as rosbag2 writes offered profiles."""

    name: str
    type: str
    definition: str
    hash: str
    qos: Sequence[Mapping[str, Any]] = ()


class Recording:
    """A bag that is being recorded.

    Attributes:
        ended: why the recording ended by itself; empty while it runs.
        whole: the bag was closed in order.

    Raises:
        BagError: the folder exists or cannot be made, or the disk is full already.
    """

    def __init__(self, folder: Path, limits: Limits = Limits()):
        self.ended = ""
        self.whole = False
        self._folder, self._limits = folder, limits
        self._topics: dict[str, tuple[int, RecordedTopic]] = {}
        self._schemas: dict[str, int] = {}
        self._messages: dict[str, int] = {}
        self._span_ns: tuple[int, int] | None = None
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            if full := self._out_of_space(folder.parent):
                raise BagError(f"{folder} is not recorded: {full}")
            folder.mkdir()
            self._file = _File(folder / f"{folder.name}_0.mcap", limits.ballast)
        except FileExistsError as error:
            raise BagError(f"{folder} exists already, and a bag is never overwritten: give another folder") from error
        except OSError as error:
            raise BagError(f"{folder} cannot be written: {error.strerror}") from error
        self._writer = Writer(self._file, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD)  # type: ignore[arg-type]
        self._writer.start(profile="ros2", library="smolvla_ros")
        self._queue: queue.SimpleQueue[tuple[RecordedTopic, int, int, int, bytes] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._queued_bytes = 0
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._thread.start()

    def put(self, topic: RecordedTopic, log_ns: int, publish_ns: int, sequence: int, data: bytes) -> bool:
        """Queues a message; False if it was dropped, because writing lags behind or has ended."""
        with self._lock:
            if self.ended or self._queued_bytes + len(data) > self._limits.queued:
                return False
            self._queued_bytes += len(data)
        self._queue.put((topic, log_ns, publish_ns, sequence, data))
        return True

    def finish(self) -> None:
        """Writes what is queued; after that `close` may be called."""
        self._queue.put(None)
        self._thread.join()

    def close(self, notes: Mapping[str, str]) -> None:
        """Closes the bag after `finish`; `notes` go to rosbag2's custom data. A second call does nothing."""
        if self._file.closed:
            return
        metadata = self._metadata(notes)
        with contextlib.closing(self._file):
            if self._file.failure:
                self.ended = f"{self.ended}; the bag is cut off, what was written before can be read"
                return
            try:
                text = _yaml(metadata["rosbag2_bagfile_information"])
                self._writer.add_metadata("rosbag2", {"serialized_metadata": text})
                self._writer.finish()
                (self._folder / "metadata.yaml").write_text(_yaml(metadata))
            except OSError as error:
                self.ended = f"the bag could not be closed ({error.strerror}); what was written before can be read"
                return
        self.whole = True

    @property
    def messages(self) -> Mapping[str, int]:
        """Messages written so far by topic; final after `finish`."""
        return self._messages

    @property
    def size_bytes(self) -> int:
        return self._file.tell()

    # The thread.

    def _run(self) -> None:
        flush_s = time.monotonic() + _FLUSH_PERIOD_S
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, flush_s - time.monotonic()))
            except queue.Empty:
                item = ()  # type: ignore[assignment]
            if item is None:
                return
            try:
                if item:
                    self._write(*item)
                if time.monotonic() >= flush_s:
                    flush_s = time.monotonic() + _FLUSH_PERIOD_S
                    self._writer.flush()
                    self._check_size()
            except OSError as error:
                self._end(f"the disk cannot be written: {error.strerror}")
            if self._file.full:
                self._end("the disk is full")

    def _write(self, topic: RecordedTopic, log_ns: int, publish_ns: int, sequence: int, data: bytes) -> None:
        with self._lock:
            self._queued_bytes -= len(data)
        if self._file.full or self._file.failure:
            return  # what is left of the ballast is for closing the bag
        if topic.name not in self._topics:
            self._register(topic)
        self._writer.add_message(self._topics[topic.name][0], log_ns, data, publish_ns, sequence & 0xFFFFFFFF)
        self._messages[topic.name] += 1
        first, last = self._span_ns or (log_ns, log_ns)
        self._span_ns = (min(first, log_ns), max(last, log_ns))

    def _register(self, topic: RecordedTopic) -> None:
        if topic.type not in self._schemas:
            schema = self._writer.register_schema(topic.type, "ros2msg", topic.definition.encode())
            self._schemas[topic.type] = schema
        qos = {"offered_qos_profiles": _yaml(list(topic.qos)) if topic.qos else ""}
        channel = self._writer.register_channel(topic.name, "cdr", self._schemas[topic.type], qos)
        self._topics[topic.name] = (channel, topic)
        self._messages[topic.name] = 0

    def _check_size(self) -> None:
        if full := self._out_of_space(self._folder):
            self._end(full)
        elif 0 < self._limits.most <= self._file.tell():
            self._end(f"the bag has reached {self._limits.most / 1e9:g} GB")

    def _out_of_space(self, folder: Path) -> str:
        free, reserve = shutil.disk_usage(folder).free, self._limits.reserve
        if free >= reserve:
            return ""
        return f"the disk has only {free / 1e6:.0f} MB left, and {reserve / 1e6:.0f} MB are to be kept free"

    def _end(self, reason: str) -> None:
        self.ended = self.ended or reason

    def _metadata(self, notes: Mapping[str, str]) -> dict[str, Any]:
        topics = [
            {
                "topic_metadata": {
                    "name": name,
                    "type": topic.type,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": list(topic.qos),
                    "type_description_hash": topic.hash,
                },
                "message_count": self._messages[name],
            }
            for name, (_, topic) in self._topics.items()
        ]
        information = {
            "version": _METADATA_VERSION,
            "storage_identifier": "mcap",
            **self._extent(),
            "topics_with_message_count": topics,
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [self._file.path.name],
            "files": [{"path": self._file.path.name, **self._extent()}],
            "custom_data": dict(notes),
            "ros_distro": os.environ.get("ROS_DISTRO", "unknown"),
        }
        return {"rosbag2_bagfile_information": information}

    def _extent(self) -> dict[str, Any]:
        start_ns, end_ns = self._span_ns or (0, 0)
        return {
            "duration": {"nanoseconds": end_ns - start_ns},
            "starting_time": {"nanoseconds_since_epoch": start_ns},
            "message_count": sum(self._messages.values()),
        }


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """YAML without anchors, which not every reader of bags takes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(data: Any) -> str:
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False))


class _File:
    """What mcap's writer writes to: unbuffered, and a full disk is met with the space that was kept for it.

    Attributes:
        full: the disk was full; the ballast is spent.
        failure: something could not be written, so the file ends in the middle of a record.
    """

    def __init__(self, path: Path, ballast: int):
        self.path = path
        self.full = False
        self.failure = ""
        self._position = 0
        self._file: BinaryIO = path.open("xb", buffering=0)
        # It has no name, so a process that is killed leaves none of it.
        self._ballast = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115
        if ballast:
            os.posix_fallocate(self._ballast.fileno(), 0, ballast)

    def write(self, data: bytes) -> int:
        left = memoryview(data)
        while left:
            try:
                written = self._file.write(left)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or self.full:
                    self.failure = error.strerror or str(error)
                    raise
                self.full = True
                self._ballast.close()
                continue
            self._position += written
            left = left[written:]
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is buffered."""

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        self._ballast.close()
        self._file.close()
