"""Leaves out messages whose times cannot be right: 0 before a clock was there, or days away from the rest of the bag.

A machine without a battery wakes up in 1970 and learns the time later; in a file without checksums one bit makes a
year. What works through a bag from its first to its last message would never come to the end of such a bag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from smolvla_ros.bags.messages import time_text

from .blocks import Block, StorageFile

MAX_PAUSE_NS = 24 * 3600 * 10**9
# A simulation that begins at 0 goes on within this.
_UNTIMED_PAUSE_NS = 100_000_000

Placed = tuple[StorageFile, Block]


def without_strays(blocks: Sequence[Placed], report: Callable[[str], None]) -> list[Placed]:
    """The blocks of the largest part of a bag that has no pause of a day in it, in their order; tells what is not."""
    timed = _without_untimed(blocks, report)
    divided = [(file, part) for file, block in timed for part in _without_pauses(file, block)]
    parts: list[list[Placed]] = []
    end_ns = 0
    for file, block in sorted(divided, key=lambda placed: placed[1].start_ns):
        if not parts or block.start_ns - end_ns > MAX_PAUSE_NS:
            parts.append([])
            end_ns = block.end_ns
        parts[-1].append((file, block))
        end_ns = max(end_ns, block.end_ns)
    if len(parts) < 2:
        return divided
    largest = max(parts, key=lambda part: sum(block.size for _, block in part))
    for part in parts:
        if part is not largest:
            files = ", ".join(sorted({file.path.name for file, _ in part}))
            first, last = part[0][1].start_ns, max(block.end_ns for _, block in part)
            report(f"{files}: messages from {time_text(first)} to {time_text(last)} are left out, more than a day away "
                   "from the rest: some clock was wrong, or a byte")  # fmt: skip
    kept = {id(block) for _, block in largest}
    return [(file, block) for file, block in divided if id(block) in kept]


def _without_untimed(blocks: Sequence[Placed], report: Callable[[str], None]) -> list[Placed]:
    """Without the messages of log time 0: a recorder under use_sim_time writes them before it has heard a /clock."""
    timed, untimed = [], 0
    for file, block in blocks:
        times = [] if block.start_ns > 0 else [message.log_ns for message in file.load(block, file.channels)]
        later = [time_ns for time_ns in times if time_ns > 0]
        untimed += len(times) - len(later)
        if not times:
            timed.append((file, block))
        elif later:
            size = block.size * len(later) // len(times)
            rest = replace(block, start_ns=min(later), end_ns=max(later), size=size, is_shared=True)
            timed.append((file, rest))
    first_ns = min((block.start_ns for _, block in timed), default=0)
    if not untimed or first_ns <= _UNTIMED_PAUSE_NS:
        return list(blocks)
    report(f"{untimed} messages with the log time 0 are left out: recorded under use_sim_time before the first "
           "message on /clock")  # fmt: skip
    return timed


def _without_pauses(file: StorageFile, block: Block) -> list[Block]:
    """The block, or one for each time in it that has no long pause; these lie in the same place of the file."""
    if block.end_ns - block.start_ns <= MAX_PAUSE_NS:
        return [block]
    times = sorted(message.log_ns for message in file.load(block, file.channels))
    ends = [place for place, (time, next_time) in enumerate(pairwise(times), 1) if next_time - time > MAX_PAUSE_NS]
    return [
        replace(
            block, start_ns=times[first], end_ns=times[last - 1], size=block.size * (last - first) // len(times),
            is_shared=True,
        )
        for first, last in pairwise([0, *ends, len(times)])
    ]  # fmt: skip
