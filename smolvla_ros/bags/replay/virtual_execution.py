"""What becomes of replayed chunks: rows executed one after the other in virtual time, as the request rule sees them.

The timeline is the controller's own (`smolvla_ros.execution.timeline`), so chunks begin, end and replace one another as
on the robot. Limits, easing and supervision of the controller are left out: it is the policy that is looked at, and the
recorded arm does not follow. One thread.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.execution import metrics
from smolvla_ros.execution.chunk import Chunk
from smolvla_ros.execution.plan import Plan
from smolvla_ros.execution.timeline import Timeline
from smolvla_ros.policy.requests import ExecutionView

from .result import Seams, Spread

Array = NDArray[np.float64]


class VirtualExecution:
    """Follows chunks; `step_ns` between two of their rows, `start_ns` is when the arm begins to hold."""

    def __init__(self, joints: int, step_ns: int, start_ns: int):
        self._nothing = np.full(joints, np.nan)
        self._step_ns = step_ns
        self._timeline = Timeline()
        self._timeline.reset(start_ns)
        self._under_way: list[tuple[int, Chunk]] = []
        self._instructed = False
        # By tick, compact: a long bag has a million.
        self._times_ns, self._commands, self._chunks = array("q"), array("d"), array("q")
        self._counted = bytearray()
        self._last: Array | None = None
        self._jumps: list[tuple[float, float]] = []
        self._overlaps: list[float] = []
        self._ages_s = array("d")
        self._merged = 0
        self._expired = 0

    def send(self, chunk: Chunk, usable_ns: int) -> None:
        """A chunk that will be there at `usable_ns`."""
        self._under_way.append((usable_ns, chunk))

    def instruct(self, text: str, now_ns: int) -> None:
        """The instruction in force; without one nothing is executed, and nothing that is under way arrives."""
        self._instructed = bool(text)
        if not text:
            self._under_way = []
            self._timeline.flush(now_ns)

    def busy(self, now_ns: int) -> bool:
        """Whether an inference still runs."""
        return any(usable_ns > now_ns for usable_ns, _ in self._under_way)

    def deliver(self, now_ns: int) -> None:
        """Takes over the chunks that are usable by now."""
        arrived = sorted((item for item in self._under_way if item[0] <= now_ns), key=lambda item: item[0])
        self._under_way = [item for item in self._under_way if item[0] > now_ns]
        for _, chunk in arrived:
            self._take(chunk, now_ns)

    def view(self, session: int, now_ns: int) -> ExecutionView:
        """What the controller would tell the policy node."""
        timeline = self._timeline
        plan, chunk = timeline.plan, timeline.chunk
        return ExecutionView(
            stamp_ns=now_ns,
            accepts_chunks=True,
            following=plan is not None,
            session=session if chunk else 0,
            sequence=chunk.sequence if chunk else 0,
            remaining_rows=timeline.queued,
            remaining_s=max(0, plan.end_ns - now_ns) * 1e-9 if plan else 0.0,
            rows_executed=timeline.executed,
        )

    def advance(self, now_ns: int) -> None:
        """Executes the row of this tick."""
        motion, chunk = self._timeline.advance(now_ns), self._timeline.chunk
        self._last = motion.position if motion else None
        self._times_ns.append(now_ns)
        self._commands.extend((self._nothing if self._last is None else self._last).tolist())
        self._chunks.append(chunk.sequence - 1 if motion and chunk else -1)
        self._counted.append(self._merged > 0 and self._instructed)
        if motion and chunk:
            self._ages_s.append((now_ns - chunk.observed_ns) * 1e-9)

    def trace(self) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
        """Of every tick: its time [ns], the command [joints] or NaN, and the place of the chunk behind it or -1."""
        commands = np.array(self._commands).reshape(len(self._times_ns), len(self._nothing))
        return np.array(self._times_ns, np.int64), commands, np.array(self._chunks, np.int64)

    def seams(self) -> Seams:
        """How one chunk went over into the next."""
        _, commands, chunks = self.trace()
        jumps = np.array(self._jumps).reshape(-1, 2)
        return Seams(
            switches=len(self._jumps),
            expired=self._expired,
            jump=spread(jumps[:, 0]),
            jump_ratio=spread(jumps[:, 1]),
            overlap=spread(np.array(self._overlaps)),
            action_age_s=spread(np.array(self._ages_s)),
            idle_fraction=metrics.idle_fraction(chunks[np.array(self._counted, bool)] >= 0),
            jerk_rms=_jerk_rms(commands, chunks >= 0, self._step_ns * 1e-9),
        )

    def _take(self, chunk: Chunk, now_ns: int) -> None:
        timeline = self._timeline
        start_ns = timeline.start_of(chunk, now_ns, align_to_executed=True)
        plan = Plan(chunk.positions, np.ones(chunk.rows, np.int64), start_ns, chunk.step_ns, "linear")
        if plan.end_ns <= now_ns:
            self._expired += 1
            return
        if timeline.plan is not None and self._last is not None:
            self._measure(timeline.plan, plan, self._last, now_ns)
        timeline.replace(chunk, plan, now_ns)
        self._merged += 1

    def _measure(self, old: Plan, new: Plan, last: Array, now_ns: int) -> None:
        jump = metrics.seam_jump(last, new.sample(now_ns).position)
        step = metrics.in_chunk_step(new.rows)
        self._jumps.append((jump, jump / step if step > 0.0 else np.nan))
        times_ns = new.start_ns + self._step_ns * np.arange(len(new.rows), dtype=np.int64)
        shared = (times_ns >= old.start_ns) & (times_ns < old.end_ns)
        if shared.any():
            before, _ = old.positions_at(times_ns[shared])
            self._overlaps.append(metrics.overlap_disagreement(before, new.rows[shared], 0))


def spread(values: NDArray[np.float64]) -> Spread:
    """Median, 95th percentile and maximum of the finite values; NaN without any."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return Spread(float("nan"), float("nan"), float("nan"))
    p50, p95 = np.percentile(finite, (50, 95))
    return Spread(float(p50), float(p95), float(finite.max()))


def _jerk_rms(commands: Array, executed: NDArray[np.bool_], period_s: float) -> Array:
    """Over all stretches without a pause."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], executed, [False]]).astype(np.int8)))
    stretches = [commands[begin:end] for begin, end in edges.reshape(-1, 2) if end - begin > 3]
    if not stretches:
        return np.full(commands.shape[1], np.nan)
    weights = np.array([len(stretch) - 3 for stretch in stretches])
    squares = np.array([metrics.jerk_rms(stretch, period_s) ** 2 for stretch in stretches])
    return np.asarray(np.sqrt((weights[:, None] * squares).sum(axis=0) / weights.sum()))
