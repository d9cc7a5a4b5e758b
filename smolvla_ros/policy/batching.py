"""How many of the questions that wait are answered in one go.

As many as bring the most answers per second, as measured, without making one late that would be punctual alone. Where a
network computes four chunks hardly slower than one, as on a GPU, these are all of them; where it takes four times as
long, it is one after the other, the earliest deadline first. Nobody waits for somebody else to ask. Not locked.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np

_WINDOW = 15
_TRIES = 3  # the first of a size may be slow for reasons of its own
_FORGOTTEN_S = 60.0  # a machine that was busy may be so no longer
_WORTH = 1.05  # so much more per second a larger batch must bring, as its first answer comes later


class BatchLatencies:
    """How long so many questions together take, from their preparation to the last answer."""

    def __init__(self) -> None:
        self._measured: defaultdict[int, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=_WINDOW))

    def add(self, size: int, seconds: float, now_s: float) -> None:
        """So many took so long, at `now_s` on a steady clock."""
        self._measured[size].append((now_s, seconds))

    def known_s(self, size: int, now_s: float) -> float | None:
        """The median of the last minute; None where too little is known."""
        lately = self._lately(size, now_s)
        return float(np.median(lately)) if len(lately) >= _TRIES else None

    def slow_s(self, size: int, now_s: float) -> float | None:
        """The 95th percentile of the last minute; None where too little is known."""
        lately = self._lately(size, now_s)
        return float(np.percentile(lately, 95)) if len(lately) >= _TRIES else None

    def most_s(self, size: int, now_s: float) -> float:
        """What it takes at most, as far as is known: if unmeasured, as long as one by one; 0 before anything is."""
        known = self.known_s(size, now_s)
        return known if known is not None else size * (self.known_s(1, now_s) or 0.0)

    def least_s(self, size: int, now_s: float) -> float:
        """What it takes at least: if unmeasured, as long as fewer; 0 before anything is known."""
        return next((known for n in range(size, 0, -1) if (known := self.known_s(n, now_s)) is not None), 0.0)

    def _lately(self, size: int, now_s: float) -> list[float]:
        return [seconds for at_s, seconds in self._measured[size] if now_s - at_s < _FORGOTTEN_S]


def answered_within_s(arms: int, now_s: float, latencies: BatchLatencies, limit: int) -> float:
    """Within which time each of so many arms is answered if all ask at once, behind a batch that has just begun.

    By the slower latencies that were measured, in batches of the best size; 0 before anything was.
    """
    known = [(size, latencies.slow_s(size, now_s)) for size in range(1, limit + 1)]
    bounds = [slow_s * (1 + math.ceil(arms / size)) for size, slow_s in known if slow_s is not None]
    return min(bounds, default=0.0)


def batch_size(deadlines_s: Sequence[float], now_s: float, latencies: BatchLatencies, limit: int) -> int:
    """How many of those who ask are answered together, the first of `deadlines_s`, which are in order.

    A size that was not measured is tried where it is punctual even if it takes as long as one by one.
    """
    alone_s = now_s + latencies.most_s(1, now_s)
    size, best = 1, _rate(1, latencies, now_s)
    for candidate in range(2, min(limit, len(deadlines_s)) + 1):
        done_s = now_s + latencies.most_s(candidate, now_s)
        punctual = all(deadline_s >= done_s or deadline_s < alone_s for deadline_s in deadlines_s[:candidate])
        rate = _rate(candidate, latencies, now_s)
        if punctual and rate > _WORTH * best:
            size, best = candidate, rate
    return size


def _rate(size: int, latencies: BatchLatencies, now_s: float) -> float:
    """Answers per second, at best."""
    return size / max(latencies.least_s(size, now_s), 1e-6)
