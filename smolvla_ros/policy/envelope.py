"""Up to which latency a policy stays ahead of the arm, and whether the measured one is within it.

With l the latency, H the rows of a chunk and dt their step, asking when less than a fraction g is left avoids
starvation for g >= l / (H dt), and needless replanning for g <= 1 - l / (H dt). Both hold only if l < H dt / 2; beyond,
no g works and the arm does best to hold, look and go. One thread owns an `Envelope`.
"""

from __future__ import annotations

import math

from .latency import LatencyWindow

_WINDOW = 20
# A policy at the border must not change its mode with every chunk.
_RETURN = 0.9


def envelope_s(rows: int, step_s: float) -> float:
    """Largest latency [s] with neither starvation nor needless replanning: half the time a chunk covers."""
    return rows * step_s / 2


def latency_rows(latency_s: float, step_s: float) -> int:
    """Actions that pass while an inference of this latency runs: d = ceil(l / dt)."""
    # A latency of exactly n steps must give n although neither number is exact in binary.
    return max(0, math.ceil(latency_s / step_s - 1e-6))


class Envelope:
    """Notices that a policy is too slow for its chunks, by the median of the last latencies.

    Args:
        rows: of a published chunk.
        step_s: time between two of them.
    """

    def __init__(self, rows: int, step_s: float):
        self.limit_s = envelope_s(rows, step_s)
        self._rows = rows
        self._step_s = step_s
        self._latencies = LatencyWindow(_WINDOW)
        self.too_slow = ""

    def add(self, latency_s: float) -> None:
        """A chunk came `latency_s` after its observation. Sets `too_slow`: a sentence with figures, empty if it is not.

        The sentence stays as it is while it holds, so that it can be logged at each change.
        """
        self._latencies.add(latency_s)
        median_s = self._latencies.percentile(50)
        if self.too_slow and median_s < _RETURN * self.limit_s:
            self.too_slow = ""
        elif not self.too_slow and median_s > self.limit_s:
            rows = latency_rows(median_s, self._step_s)
            self.too_slow = (
                f"the latency of {1e3 * median_s:.0f} ms is more than half of the {2e3 * self.limit_s:.0f} ms that "
                f"a chunk covers ({rows} of {self._rows} rows pass meanwhile): the arm cannot move without pauses. Use "
                "a faster device, fewer cameras or denoising steps, or longer chunks"
            )
