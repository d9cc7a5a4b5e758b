"""What a new chunk continues: the rows of the chunk that is really being executed, from the new one's first row on.

Real-time chunking (arXiv 2506.07339) draws a new chunk towards them. The place on the old chunk comes from the
controller's report, not from a clock of the policy's own; the number of rows that pass meanwhile comes from a window of
measured latencies, so one slow call is forgotten. A chunk for a new instruction continues nothing: held to the motion
for the old one, the arm keeps to the old goal (docs/explanation/decisions.md). One thread owns an object.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .envelope import latency_rows
from .latency import LatencyWindow
from .requests import ExecutionView

_KEPT_CHUNKS = 8
_WINDOW = 50
_S = 1e-9


class _Sent(NamedTuple):
    sequence: int
    instruction_id: int
    rows: NDArray[np.float32]


class Continuation(NamedTuple):
    """Rows [n, joints] of the old chunk, normalised, and how many of them will be executed before the new ones."""

    rows: NDArray[np.float32]
    delay: int


class SentChunks:
    """The chunks sent last, as the network made them, and the latencies measured.

    Args:
        step_s: time between two rows.
        percentile: of the window of latencies, in [0, 100], that is planned for.
    """

    def __init__(self, step_s: float, percentile: float):
        self._step_s = step_s
        self._percentile = percentile
        self._latencies = LatencyWindow(_WINDOW)
        self._chunks: deque[_Sent] = deque(maxlen=_KEPT_CHUNKS)

    def add(self, sequence: int, instruction_id: int, normalised: NDArray[np.float32], latency_s: float) -> None:
        """A chunk [rows, joints] was sent; `latency_s` from its observation to now."""
        self._chunks.append(_Sent(sequence, instruction_id, normalised))
        self._latencies.add(latency_s)

    def continuation(
        self, view: ExecutionView, session: int, stamp_ns: int, instruction_id: int
    ) -> Continuation | None:
        """What a chunk from an observation at `stamp_ns` continues; None if the arm executes nothing for it.

        The instants of the new rows fall between those of the old ones: rows are interpolated linearly.
        """
        sent = next((sent for sent in self._chunks if sent.sequence == view.sequence), None)
        if sent is None or sent.instruction_id != instruction_id or not view.following or view.session != session:
            return None
        chunk = sent.rows
        executed = len(chunk) - view.remaining_s / self._step_s + (stamp_ns - view.stamp_ns) * _S / self._step_s
        places = np.arange(max(executed, 0.0), len(chunk) - 1 + 1e-6)
        if len(places) == 0:
            return None
        lower = np.minimum(places.astype(int), len(chunk) - 1)
        upper = np.minimum(lower + 1, len(chunk) - 1)
        fraction = (places - lower)[:, None]
        rows = (chunk[lower] + fraction * (chunk[upper] - chunk[lower])).astype(np.float32)
        delay = latency_rows(self._latencies.percentile(self._percentile), self._step_s)
        return Continuation(rows, min(delay, len(rows)))
