"""Puts the messages of blocks in the order of their log times, in bounded memory.

Blocks are opened when their first message may be next. A bag whose messages lie in the file more or less in the order
of their times has one or two blocks open at a time. The more of them overlap in time, the more are open; beyond
`MAX_OPEN_BYTES` those used least recently are put away, to be read again when their next message is due. So any order
in the file is sorted, however far a message lies from its place; what disorder costs is time, not memory.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from .blocks import Block, StorageFile, Stored

MAX_OPEN_BYTES = 2**28


def in_time_order(
    blocks: Sequence[tuple[StorageFile, Block]],
    load: Callable[[StorageFile, Block], list[Stored]],
    max_open_bytes: int = MAX_OPEN_BYTES,
) -> Iterator[tuple[StorageFile, Stored]]:
    """The messages of all blocks, each with its file; equal times in the order of `blocks` and of `load`.

    Args:
        blocks: of all files; messages lie within the times of their blocks.
        load: the messages of a block, in file order.
        max_open_bytes: of messages that are kept; one block at least.
    """
    closed = sorted(range(len(blocks)), key=lambda number: blocks[number][1].start_ns, reverse=True)
    kept = _Kept(blocks, load, max_open_bytes)
    due: list[tuple[int, int, int]] = []  # log time, number of the block, place of the message in it
    while closed or due:
        while closed and (not due or blocks[closed[-1]][1].start_ns <= due[0][0]):
            number = closed.pop()
            messages = kept.messages(number)
            if messages:
                heapq.heappush(due, (messages[0].log_ns, number, 0))
        if not due:
            return
        _, number, place = due[0]
        messages = kept.messages(number)
        yield blocks[number][0], messages[place]
        if place + 1 < len(messages):
            heapq.heapreplace(due, (messages[place + 1].log_ns, number, place + 1))
        else:
            heapq.heappop(due)
            kept.drop(number)


class _Kept:
    """The messages of open blocks, sorted, as many as fit; the others are loaded again when they are asked for."""

    def __init__(
        self,
        blocks: Sequence[tuple[StorageFile, Block]],
        load: Callable[[StorageFile, Block], list[Stored]],
        max_bytes: int,
    ):
        self._blocks, self._load, self._max_bytes = blocks, load, max_bytes
        self._messages: OrderedDict[int, list[Stored]] = OrderedDict()  # used least recently first
        self._bytes = 0

    def messages(self, number: int) -> list[Stored]:
        if number in self._messages:
            self._messages.move_to_end(number)
            return self._messages[number]
        file, block = self._blocks[number]
        messages = sorted(self._load(file, block), key=lambda message: message.log_ns)
        self._messages[number] = messages
        self._bytes += block.size
        while self._bytes > self._max_bytes and len(self._messages) > 1:
            self.drop(next(iter(self._messages)))
        return messages

    def drop(self, number: int) -> None:
        if self._messages.pop(number, None) is not None:
            self._bytes -= self._blocks[number][1].size
