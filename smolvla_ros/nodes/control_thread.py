"""A thread that calls a function once per period, with absolute deadlines on the steady clock. Knows no ROS.

The k-th call is due at start + k * period, however long the ones before took, so errors do not add up. A call that
ends after the next deadlines makes the thread skip them: they are counted, never made up for in a burst.

Threads: `tick` runs in the thread itself; everything else may be called from any thread. `_lock` guards the record
of the periods; `failure` is written once, by the thread, before it ends.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_WINDOW = 1000


@dataclass(frozen=True)
class Periodicity:
    """How regular the last ticks were: frequencies over the window [Hz], and counts since the start."""

    mean_hz: float
    deviation_hz: float
    ticks: int
    missed: int


class ControlThread:
    """Calls `tick(deadline_ns)` in every period until `stop`.

    Args:
        period_s: time between two calls.
        tick: called with the instant (`time.monotonic_ns`) for which it was due.
        fifo_priority: 1 to 99 for SCHED_FIFO, 0 for ordinary scheduling.
        cores: numbers of the cores it may run on; empty for any.
        warn: called from the thread with one sentence if priority or cores were refused.
    """

    def __init__(
        self,
        period_s: float,
        tick: Callable[[int], None],
        *,
        fifo_priority: int = 0,
        cores: Sequence[int] = (),
        warn: Callable[[str], None],
    ):
        self._period_ns = round(period_s * 1e9)
        self._tick = tick
        self._fifo_priority = fifo_priority
        self._cores = tuple(cores)
        self._warn = warn
        self._lock = threading.Lock()
        self._starts_ns: deque[int] = deque(maxlen=_WINDOW)
        self._ticks = self._missed = 0
        self._heartbeat_ns = time.monotonic_ns()
        self._silent_looks = 0
        self._stop = threading.Event()
        self.failure = ""
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Asks the thread to end after the tick it is in; whether it did within the time."""
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def silent_s(self) -> float:
        """Time since the last tick began."""
        return (time.monotonic_ns() - self._heartbeat_ns) * 1e-9

    def silent_looks(self, limit_s: float) -> int:
        """At how many calls in a row, this one included, it had been silent for longer than `limit_s`.

        One alone says little: in a process that was suspended, the caller may be back before this thread. For one
        caller.
        """
        self._silent_looks = self._silent_looks + 1 if self.silent_s() > limit_s else 0
        return self._silent_looks

    @property
    def missed(self) -> int:
        """Ticks skipped since the start."""
        with self._lock:
            return self._missed

    def periodicity(self) -> Periodicity:
        with self._lock:
            starts = np.array(self._starts_ns, dtype=np.float64)
            ticks, missed = self._ticks, self._missed
        if len(starts) < 2:
            return Periodicity(float("nan"), float("nan"), ticks, missed)
        frequencies = 1e9 / np.diff(starts)
        return Periodicity(float(frequencies.mean()), float(frequencies.std()), ticks, missed)

    def _run(self) -> None:
        try:
            self._set_scheduling()
            self._loop()
        except Exception:  # the thread must never end without a word: the node reports it and holds
            self.failure = traceback.format_exc()

    def _loop(self) -> None:
        deadline_ns = time.monotonic_ns() + self._period_ns
        while not self._stop.is_set():
            early_ns = deadline_ns - time.monotonic_ns()
            if early_ns > 0:
                time.sleep(early_ns * 1e-9)  # clock_nanosleep with an absolute deadline, see the Python documentation
            start_ns = time.monotonic_ns()
            missed = (start_ns - deadline_ns) // self._period_ns
            deadline_ns += missed * self._period_ns
            self._heartbeat_ns = start_ns
            with self._lock:
                self._starts_ns.append(start_ns)
                self._ticks += 1
                self._missed += missed
            self._tick(deadline_ns)
            deadline_ns += self._period_ns

    def _set_scheduling(self) -> None:
        thread = threading.get_native_id()
        if self._cores:
            try:
                os.sched_setaffinity(thread, self._cores)
            except OSError as error:
                self._warn(f"cores {list(self._cores)} refused for the control thread ({error}): it runs on any")
        if self._fifo_priority:
            set_fifo(thread, self._fifo_priority, self._warn)


def set_fifo(thread: int, priority: int, warn: Callable[[str], None]) -> None:
    """Gives a thread (native id) a real-time priority, or warns why not."""
    try:
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        warn(
            f"SCHED_FIFO priority {priority} is not allowed here: ordinary scheduling. "
            "Allow it with an rtprio limit in /etc/security/limits.conf or CAP_SYS_NICE"
        )


def set_ordinary(thread: int) -> None:
    """Gives a thread (native id) ordinary scheduling again."""
    os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
