"""What becomes of replayed chunks: the commands of a controller that changes nothing, and how chunks went over.

The controller is the node's own (`smolvla_ros.execution`), so chunks begin, end and replace one another as on the
robot, but its limits, easing and watchdogs are opened so wide that they do not act: it is the policy that is looked at,
and the recorded arm does not follow. One thread.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.execution import metrics
from smolvla_ros.execution.commander import Command
from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.status import ControllerState, Status

from .result import Seams, Spread

Array = NDArray[np.float64]

# Far beyond what any robot or age is, and small enough for exact arithmetic.
_WIDE = 1e7
_FAST = 1e9


def open_settings(joints: Sequence[str], step_s: float) -> ControllerSettings:
    """A controller that passes every row on, one per `step_s`."""
    wide = np.full(len(joints), _WIDE)
    limits = JointLimits(
        tuple(joints), -wide, wide, velocity=_FAST * wide, acceleration=_FAST * wide, step=wide, jump=wide,
        tracking=wide,
    )  # fmt: skip
    return ControllerSettings(
        limits, step_s, ease_in_rows=0, interpolation="linear", max_action_age_s=_WIDE, future_tolerance_s=_WIDE,
        state_timeout_s=_WIDE, tracking_timeout_s=_WIDE, clamping_timeout_s=_WIDE, clock_jump_s=_WIDE,
    )  # fmt: skip


@dataclass(frozen=True)
class _Running:
    """A chunk on the controller's timeline: row i of `rows` is for start_ns + i * step."""

    sequence: int
    start_ns: int
    rows: Array


class ReplayedMotion:
    """Keeps every tick; `step_ns` between two of them and between two rows."""

    def __init__(self, joints: int, step_ns: int):
        self._nothing = np.full(joints, np.nan)
        self._step_ns = step_ns
        # By tick, compact: a long bag has a million.
        self._times_ns, self._commands, self._chunks = array("q"), array("d"), array("q")
        self._counted = bytearray()
        self._running: _Running | None = None
        self._last: Array | None = None
        self._jumps: list[tuple[float, float]] = []
        self._overlaps: list[float] = []
        self._ages_s = array("d")

    def add(self, now_ns: int, command: Command | None, status: Status, rows: Array | None, instructed: bool) -> None:
        """A tick.

        Args:
            command, status: of the controller at this tick.
            rows: [rows, joints] of the chunk that the status names; None if it names none.
            instructed: an instruction is in force.
        """
        position = None
        if status.state == ControllerState.FOLLOWING and command is not None and rows is not None:
            position = command.positions
            self._follow(now_ns, position, status, rows)
            self._ages_s.append(status.action_age_s)
        else:
            self._running = None
        self._last = position
        self._times_ns.append(now_ns)
        self._commands.extend((self._nothing if position is None else position).tolist())
        self._chunks.append(-1 if position is None else status.sequence - 1)
        self._counted.append(status.counters.chunks_merged > 0 and instructed)

    def trace(self) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
        """Of every tick: its time [ns], the command [joints] or NaN, and the place of the chunk behind it or -1."""
        commands = np.array(self._commands).reshape(len(self._times_ns), len(self._nothing))
        return np.array(self._times_ns, np.int64), commands, np.array(self._chunks, np.int64)

    def seams(self, expired: int) -> Seams:
        """How one chunk went over into the next; `expired` came too late."""
        _, commands, chunks = self.trace()
        jumps = np.array(self._jumps).reshape(-1, 2)
        return Seams(
            switches=len(self._jumps),
            expired=expired,
            jump=spread(jumps[:, 0]),
            jump_ratio=spread(jumps[:, 1]),
            overlap=spread(np.array(self._overlaps)),
            action_age_s=spread(np.array(self._ages_s)),
            idle_fraction=metrics.idle_fraction(chunks[np.array(self._counted, bool)] >= 0),
            jerk_rms=_jerk_rms(commands, chunks >= 0, self._step_ns * 1e-9),
        )

    def _follow(self, now_ns: int, position: Array, status: Status, rows: Array) -> None:
        old = self._running
        if old is not None and old.sequence == status.sequence:
            return
        end_ns = now_ns + round(status.remaining_s * 1e9)
        self._running = new = _Running(status.sequence, end_ns - len(rows) * self._step_ns, rows)
        if old is not None and self._last is not None:
            jump = metrics.seam_jump(self._last, position)
            step = metrics.in_chunk_step(rows)
            self._jumps.append((jump, jump / step if step > 0.0 else np.nan))
            self._measure_overlap(old, new)

    def _measure_overlap(self, old: _Running, new: _Running) -> None:
        places = np.arange(len(new.rows)) + (new.start_ns - old.start_ns) / self._step_ns
        shared = (places >= 0) & (places < len(old.rows))
        if shared.any():
            known = np.arange(len(old.rows))
            before = np.stack([np.interp(places[shared], known, column) for column in old.rows.T], axis=1)
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
