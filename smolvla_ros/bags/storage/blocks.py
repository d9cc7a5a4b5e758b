"""What every kind of storage file looks like to the reader: channels, and blocks of messages that are read one by one.

A block is the unit of reading, of damage and of memory: a chunk of an mcap file, or some rows of a database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from smolvla_ros.bags.messages import Definition

# No block, and no message, is larger: what claims to be is damaged.
MAX_BLOCK_BYTES = 2**30

# Takes a sentence about damage.
Report = Callable[[str], None]


@dataclass(frozen=True)
class Channel:
    """A topic of one file, with its full name and full type; `encoding` is 'cdr' for messages of ROS 2."""

    topic: str
    type: str
    encoding: str
    definition: Definition | None = None


@dataclass(frozen=True)
class Block:
    """A part of a file that is read at once.

    Attributes:
        first, last: where it lies: the offsets of its first byte and after its last one, or its row numbers.
        start_ns, end_ns: every message in it has a log time in this range, ends included.
        size: bytes of its messages, roughly.
        channels: those of its messages; None: not known.
        is_shared: other blocks lie in the same place, and messages outside of this one's time are theirs.
    """

    first: int
    last: int
    start_ns: int
    end_ns: int
    size: int
    channels: frozenset[int] | None = None
    is_shared: bool = False


class Stored(NamedTuple):
    """A message as it lies in the file."""

    log_ns: int
    channel: int
    data: bytes


class StorageFile(Protocol):
    """An open file of a bag. `counts`: messages by channel, as far as they can be read or as the file claims."""

    path: Path
    channels: dict[int, Channel]
    counts: dict[int, int]
    blocks: list[Block]

    def load(self, block: Block, wanted: Collection[int]) -> list[Stored]:
        """The messages of the wanted channels in a block, in file order; damage is reported and left out."""

    def close(self) -> None:
        """Closes the file."""
