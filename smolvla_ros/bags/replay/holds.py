"""When the recorded controller held the arm still, out of its status messages.

On the robot, time spent holding since its observation does not count for a chunk (`execution.timeline`): the
first one after a pause begins when it arrives, not at the stamp of its image. What the robot did over the time of a
chunk has to be looked up at the same instants. One thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.execution.status import ControllerState

Times = NDArray[np.int64]

# The longest chunk lasts a thousand seconds [s].
_MOST_LEFT_S = 1e4


class Holds:
    """Collects smolvla_ros/ExecutionStatus messages in the order of their stamps; dry runs tell nothing, nor do others:
    out of order, or of figures that cannot be.

    Args:
        step_ns: time between two rows of the recorded chunks.
    """

    def __init__(self, step_ns: int):
        self._step_ns = step_ns
        self._holds: list[tuple[int, int]] = []
        self._held_since_ns: int | None = None
        self._ends_ns = 0
        self._last_ns = 0

    def add(self, message: Any) -> None:
        """The next status."""
        now_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        if message.dry_run or now_ns <= self._last_ns or not 0.0 <= message.remaining_s <= _MOST_LEFT_S:
            return
        following = message.state == ControllerState.FOLLOWING
        if following and self._held_since_ns is not None:
            self._holds.append((self._held_since_ns, max(self._held_since_ns, self._start_ns(message, now_ns))))
            self._held_since_ns = None
        elif not following and self._held_since_ns is None:
            # Told some ms later: since the plan before has ended, or for ever, where there was none.
            self._held_since_ns = min(now_ns, self._ends_ns)
        if following:
            self._ends_ns = now_ns + round(message.remaining_s * 1e9)
        self._last_ns = now_ns

    def starts_ns(self, stamps_ns: Times, usable_ns: Times) -> Times:
        """The instants of the first rows of chunks with these stamps, which were there at `usable_ns`."""
        starts_ns = stamps_ns.copy()
        for begin_ns, end_ns in self._holds:
            held = (begin_ns < np.maximum(usable_ns, stamps_ns + 1)) & (end_ns > stamps_ns)
            starts_ns[held] += end_ns - np.maximum(begin_ns, stamps_ns[held])
        return starts_ns

    def _start_ns(self, message: Any, now_ns: int) -> int:
        """When the first row of the plan was due: between the status before and this one."""
        rows = int(message.row) + 1 + int(message.remaining_rows)
        start_ns = now_ns + round(float(message.remaining_s) * 1e9) - rows * self._step_ns
        return min(max(start_ns, self._last_ns), now_ns)
