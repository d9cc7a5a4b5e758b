"""Real time for the simulation: how far to go on, and threads that do something once per period."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# What the simulation is behind by more than this is skipped: catching up would make it fall behind further.
_MOST_BEHIND_S = 0.1


class Pace:
    """Simulated time that follows the machine's monotonic clock; `now_s` never goes back. One writing thread."""

    def __init__(self, factor: float, clock_s: Callable[[], float] = time.monotonic):
        self._factor, self._clock_s = factor, clock_s
        self.now_s = 0.0
        self.lost_s = 0.0

    def start(self) -> None:
        """Time starts to run, or goes on after a pause."""
        self._last_s = self._clock_s()

    def elapsed_s(self) -> float:
        """Simulated seconds since the last call, at most what can be caught up with; `now_s` moves on by them."""
        now_s = self._clock_s()
        elapsed_s = now_s - self._last_s
        self._last_s = now_s
        if elapsed_s > _MOST_BEHIND_S:
            self.lost_s += elapsed_s - _MOST_BEHIND_S
            elapsed_s = _MOST_BEHIND_S
        self.now_s += elapsed_s * self._factor
        return elapsed_s * self._factor


class PeriodicThread(threading.Thread):
    """Calls `work` once per period, at absolute deadlines, then `close`; all in this thread. Neither may raise."""

    def __init__(self, name: str, period_s: float, work: Callable[[], None], close: Callable[[], None] = lambda: None):
        super().__init__(name=name, daemon=True)
        self._period_s, self._work, self._close = period_s, work, close
        self._stop_requested = threading.Event()

    def run(self) -> None:
        deadline_s = time.monotonic()
        while not self._stop_requested.wait(max(0.0, deadline_s - time.monotonic())):
            self._work()
            # Missed periods are left out.
            deadline_s = max(deadline_s + self._period_s, time.monotonic())
        self._close()

    def stop(self) -> None:
        """Ends it after the present call of `work`, and waits for that."""
        self._stop_requested.set()
        self.join()
