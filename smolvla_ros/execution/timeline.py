"""The timeline: which row is executed at which instant, and what became of every row that was received.

Alignment. Row i of a chunk belongs to `stamp + i * step`, counted in time during which the arm followed a plan: time
spent holding since the observation does not count (`MotionClock`). While the arm follows without a pause that is
plain clock time. After a stall in which nothing moved, the chunk starts where the arm is, instead of skipping rows
that nobody executed; that is also what makes synchronous execution and policies slower than their chunk work.

Accounting. Of the rows received, each is executed (a command was computed from it), discarded (its instant had passed,
a newer chunk replaced it, or a hold dropped it) or still queued: received = executed + discarded + queued, always.

Not locked: the controller owns it.
"""

from __future__ import annotations

from collections import deque

from .chunk import Chunk
from .plan import Motion, Plan

_KEPT_PAUSES = 64
_S = 1e-9


class MotionClock:
    """Remembers when the arm was held, to tell how much of a span of time it was moving."""

    def __init__(self) -> None:
        self._pauses: deque[tuple[int, int]] = deque(maxlen=_KEPT_PAUSES)
        self._paused_at_ns: int | None = None

    def reset(self, now_ns: int) -> None:
        """Forgets everything; the arm is held from now on."""
        self._pauses.clear()
        self._paused_at_ns = now_ns

    def pause(self, now_ns: int) -> None:
        """The arm is held from now on, if it was not already."""
        if self._paused_at_ns is None:
            self._paused_at_ns = now_ns

    def run(self, now_ns: int) -> None:
        """The arm follows a plan from now on."""
        if self._paused_at_ns is not None:
            self._pauses.append((self._paused_at_ns, now_ns))
            self._paused_at_ns = None

    def held_ns(self, since_ns: int, now_ns: int) -> int:
        """Time between the two instants during which the arm was held."""
        held = sum(max(0, end - max(begin, since_ns)) for begin, end in self._pauses)
        if self._paused_at_ns is not None:
            held += max(0, now_ns - max(self._paused_at_ns, since_ns))
        return held


class Timeline:
    """The plan being executed and the account of all rows."""

    def __init__(self) -> None:
        self.clock = MotionClock()
        self.reset(0)

    def reset(self, now_ns: int) -> None:
        """Forgets the plan and sets the account to zero."""
        self.plan: Plan | None = None
        self.chunk: Chunk | None = None
        self.row = 0
        self.received = self.executed = self.discarded = 0
        self._next_row = 0
        self.clock.reset(now_ns)

    @property
    def queued(self) -> int:
        return len(self.plan.rows) - self._next_row if self.plan is not None else 0

    def remaining_s(self, now_ns: int) -> float:
        """What is left of the plan, in its chunk's time [s]; more than 0 while there is a plan."""
        if self.plan is None:
            return 0.0
        return self.plan.remaining_s(now_ns) or max(0, self.plan.end_ns + self.plan.step_ns - now_ns) * _S

    def start_of(self, chunk: Chunk, now_ns: int, align_to_executed: bool) -> int:
        """The instant of row 0 of a chunk on this timeline."""
        stamp_ns = min(chunk.stamp_ns, now_ns)  # a stamp within the future tolerance is now
        return stamp_ns + (self.clock.held_ns(stamp_ns, now_ns) if align_to_executed else 0)

    def replace(self, chunk: Chunk, plan: Plan, now_ns: int) -> None:
        """Takes over the plan made of a chunk; rows of the one before that were not executed are discarded."""
        self.discarded += self.queued
        past = max(0, min(plan.index_at(now_ns), chunk.rows))
        self.plan, self.chunk = plan, chunk
        self._next_row = past
        self.row = min(past, chunk.rows - 1)
        self.received += chunk.rows
        self.discarded += past
        self.clock.run(now_ns)

    def advance(self, now_ns: int) -> Motion | None:
        """Executes the row of this instant; None, and no plan any more, when all rows lie in the past."""
        if self.plan is None:
            return None
        last = len(self.plan.rows) - 1
        # The last row is executed, at rest, even if no control period fell between its instant and the end.
        late_ns = self.plan.step_ns if self._next_row == last else 0
        if now_ns >= self.plan.end_ns + late_ns:
            self.flush(now_ns)
            return None
        index = min(max(self.plan.index_at(now_ns), 0), last)
        if index >= self._next_row:
            self.discarded += index - self._next_row
            self.executed += 1
            self._next_row = index + 1
        self.row = index
        return self.plan.sample(now_ns)

    def flush(self, now_ns: int) -> None:
        """Drops the plan: nothing of it is ever executed again."""
        self.discarded += self.queued
        self.plan = None
        self._next_row = 0
        self.clock.pause(now_ns)
