"""Bag files as other recorders write them, and what the reader makes of a bag."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mcap.writer import CompressionType, Writer
from simulated_bag import Event, types

from smolvla_ros.bags.reader import open_bag

# (topic, log time, message bytes)
Message = tuple[str, int, bytes]


def messages_of(events: Collection[Event]) -> list[Message]:
    """What the bag of these events must give."""
    return [(event.topic, event.log_ns, types().serialise(event.message)) for event in events]


def read_all(path: Path) -> tuple[list[Message], list[str]]:
    """Every message of a bag, and its defects."""
    with open_bag(path) as bag:
        messages = [(recorded.topic, recorded.log_ns, recorded.data) for recorded in bag.read(bag.topics)]
        return messages, bag.defects


def write_mcap(file: Path, events: Collection[Event], **options: Any) -> Path:
    """An mcap file by the writer of the package `mcap`, which writes checksums; `options` are that writer's."""
    writer = Writer(str(file), **{"compression": CompressionType.ZSTD, "chunk_size": 20_000} | options)
    writer.start(profile="ros2")
    channels: dict[str, int] = {}
    for event in events:
        if event.topic not in channels:
            definition, _ = types().store.generate_msgdef(event.type, ros_version=2)
            schema = writer.register_schema(event.type, "ros2msg", definition.encode())
            channels[event.topic] = writer.register_channel(event.topic, "cdr", schema)
        data = types().serialise(event.message)
        writer.add_message(channels[event.topic], log_time=event.log_ns, publish_time=event.log_ns, data=data)
    writer.finish()
    return file


def fingerprint(path: Path) -> dict[str, tuple[int, str]]:
    """Names, times of change and contents of a file or of everything in a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {
        str(file): (file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "")
        for file in files
    }
