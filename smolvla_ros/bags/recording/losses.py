"""What did not get into a recording, one counter per topic. Owned by the thread that receives."""

from __future__ import annotations

import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arrivals import Arrivals

_GAP_PERIODS = 2.5


@dataclass(frozen=True)
class Losses:
    """What became of a topic's messages.

    Attributes:
        recorded: messages that were written.
        lost: messages that were published but never arrived.
        dropped: messages that arrived and were not written.
        gaps: how often the stamps of a steady topic lie further apart than 2.5 of its periods; the longest [s].
        rate_hz: messages per second of log time; 0 for fewer than two.
    """

    recorded: int
    lost: int
    dropped: int
    gaps: int
    longest_gap_s: float
    rate_hz: float


class LossCounter:
    """Counts for one topic.

    Two ways to notice a message that never arrived, as no middleware promises both: the numbers that the publisher
    gives its messages, and what the middleware itself reports.

    Attributes:
        refused: messages that the recording did not take; to be counted up by the owner.
        reported: the middleware's own count of lost messages.
    """

    def __init__(self, steady: bool):
        self.received = self.refused = self.reported = 0
        self.last_log_ns = 0
        self._steady = steady
        self._first_log_ns = 0
        self._arrivals = Arrivals()
        self._stamps_ns = array.array("q")

    def receive(self, log_ns: int, number: int | None, stamp_ns: int | None) -> None:
        """A message arrived; `number` by its publisher, None if it has none; `stamp_ns` None without a header."""
        self._first_log_ns = self._first_log_ns or log_ns
        self.received += 1
        self.last_log_ns = log_ns
        if number is not None:
            self._arrivals.add(number)
        if self._steady and stamp_ns is not None:
            self._stamps_ns.append(stamp_ns)

    @property
    def lost(self) -> int:
        return max(self._arrivals.missing, self.reported)

    def summary(self, recorded: int) -> Losses:
        """Everything counted, once so many messages were written."""
        gaps, longest_ns = find_gaps(self._stamps_ns)
        span_s = (self.last_log_ns - self._first_log_ns) * 1e-9
        rate_hz = (self.received - 1) / span_s if span_s > 0.0 else 0.0
        return Losses(recorded, self.lost, self.received - recorded, gaps, longest_ns * 1e-9, rate_hz)


def find_gaps(stamps_ns: Sequence[int] | NDArray[np.int64]) -> tuple[int, int]:
    """How many intervals exceed 2.5 median ones, and the longest of them [ns]; 0, 0 if there is none."""
    intervals = np.diff(np.asarray(stamps_ns, dtype=np.int64))
    if len(intervals) < 2:
        return 0, 0
    gaps = intervals[intervals > _GAP_PERIODS * np.median(intervals)]
    return len(gaps), int(gaps.max(initial=0))
