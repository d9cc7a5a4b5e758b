"""Latency statistics over a window of the last measurements.

A window and percentiles, never an all-time maximum: one slow call (warm-up, a page fault) must not raise every
later estimate. Not locked: one thread owns an object.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np


class LatencyWindow:
    """The last `size` latencies [s].

    Raises:
        ValueError: if `size` is not positive or a latency is not finite.
    """

    def __init__(self, size: int = 100):
        if size < 1:
            raise ValueError(f"latency window size is {size}, expected at least 1")
        self._seconds: deque[float] = deque(maxlen=size)

    def add(self, seconds: float) -> None:
        if not np.isfinite(seconds):
            raise ValueError(f"latency is {seconds} s, expected a finite number")
        self._seconds.append(seconds)

    def clear(self) -> None:
        self._seconds.clear()

    def __len__(self) -> int:
        return len(self._seconds)

    @property
    def last(self) -> float:
        """The newest latency [s]; NaN while there is none."""
        return self._seconds[-1] if self._seconds else float("nan")

    def percentile(self, p: float) -> float:
        """The p-th percentile [s], p in [0, 100], linear between measurements; NaN while there is none."""
        return float(np.percentile(self._seconds, p)) if self._seconds else float("nan")


class StageLatencies:
    """One window per named stage; stages appear as they are first measured."""

    def __init__(self, size: int = 100):
        self._size = size
        self._windows: dict[str, LatencyWindow] = {}

    def add(self, stage_s: Mapping[str, float]) -> None:
        """Adds one measurement of each named stage [s]."""
        for stage, seconds in stage_s.items():
            self._windows.setdefault(stage, LatencyWindow(self._size)).add(seconds)

    def percentiles(self, p: float) -> dict[str, float]:
        """The p-th percentile [s] of every stage, in the order of their first appearance."""
        return {stage: window.percentile(p) for stage, window in self._windows.items()}
