"""Keeps a library from giving itself a real-time priority."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_THREADS = Path("/proc/self/task")


@contextmanager
def scheduling_kept() -> Iterator[None]:
    """Every thread of this process leaves the block with the scheduling it had; new ones with that of the caller.

    SVT-AV1, where it is allowed to (run by root), puts the thread that opens an encoder and all its own under
    SCHED_FIFO with the highest priority: before the control of an arm, and a thread that waits by giving way to
    others then waits for ever.
    """
    before = {thread: _scheduling(thread) for thread in _threads()}
    own = _scheduling(0)
    try:
        yield
    finally:
        for thread in _threads():
            kept = before.get(thread, own)
            with suppress(ProcessLookupError):  # it has ended
                if _scheduling(thread) != kept:
                    os.sched_setscheduler(thread, kept[0], os.sched_param(kept[1]))


def _threads() -> list[int]:
    return [int(folder.name) for folder in _THREADS.iterdir()]


def _scheduling(thread: int) -> tuple[int, int]:
    """Policy and real-time priority."""
    return os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority
