"""Bags of the simulated arm, with faults to plant. Motion and pictures are made once per process for each `Scene`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from bag_events import Event, header, message, stamp, types
from planted_faults import plant
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from simulated_session import INSTRUCTION, START_NS, Scene, recorded_events

__all__ = [
    "INSTRUCTION", "START_NS", "Event", "Scene", "header", "make_bag", "message", "plant", "recorded_events", "stamp",
    "types", "write_bag",
]  # fmt: skip


def make_bag(
    folder: Path,
    storage: str = "mcap",
    compression: str | None = None,
    *,
    seconds: float = 3.0,
    seed: int = 7,
    instruction: str = INSTRUCTION,
    policy: str = "expert",
    picture_size: tuple[int, int] = (96, 96),
    namespace: str = "",
    **faults: Any,
) -> Path:
    """Writes a bag into the new `folder` and returns it.

    Args:
        storage: 'mcap' or 'sqlite3'.
        compression: None, 'file', 'message' or, mcap only, 'storage' (zstd chunks).
        namespace: of all topics.
        faults: see `plant`.
    """
    scene = Scene(seconds, seed, instruction, policy, picture_size)
    write_bag(folder, plant(recorded_events(scene), **faults), storage, compression, namespace)
    return folder


def write_bag(
    folder: Path, events: Collection[Event], storage: str = "mcap", compression: str | None = None, namespace: str = ""
) -> None:
    """Writes events in the order given; every topic that occurs gets a connection."""
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compression:
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for event in events:
            topic = f"/{namespace}{event.topic}" if namespace else event.topic
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, event.type, typestore=types().store)
            writer.write(connections[topic], event.log_ns, event.data)
