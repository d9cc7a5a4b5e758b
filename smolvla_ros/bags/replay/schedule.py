"""When the policy is asked, and when its answer is there: the instants of a replay and its model of latency."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from smolvla_ros.execution.chunk import Chunk, ChunkError
from smolvla_ros.policy.requests import RULES

from ..errors import BagError
from ..messages import Recorded
from ..moved import MovedBag
from ..reader import Bag
from .result import RecordedChunk

REQUESTS = (*RULES, "recorded")
MAX_LATENCY_S = 60.0


@dataclass(frozen=True)
class RequestInstant:
    """A moment at which something may happen; `chunk`: one of the bag that was asked for then, else it is a tick."""

    time_ns: int
    chunk: RecordedChunk | None = None


def instants(
    start_ns: int, end_ns: int, step_ns: int, chunks: Iterable[RecordedChunk] = ()
) -> Iterator[RequestInstant]:
    """The ticks from start to end and the requests of the recorded chunks, in order of time."""
    ticks = (RequestInstant(time_ns) for time_ns in range(start_ns, end_ns + 1, step_ns))
    asked = sorted((RequestInstant(chunk.requested_ns, chunk) for chunk in chunks), key=lambda instant: instant.time_ns)
    return heapq.merge(ticks, asked, key=lambda instant: instant.time_ns)


@dataclass(frozen=True)
class Latency:
    """How long after the stamp of its observation a chunk is usable.

    `kind`: 'fixed' takes `fixed_s`; 'measured' the age of the observation and the inference as it was here; 'recorded'
    that of the recorded chunk, or `fixed_s`, their median, where there is none.
    """

    kind: str
    fixed_s: float = 0.0

    def usable_ns(self, now_ns: int, stamp_ns: int, inference_s: float, chunk: RecordedChunk | None) -> int:
        """When a chunk asked for at `now_ns` is usable; never before it was asked for."""
        if self.kind == "measured":
            return now_ns + round(inference_s * 1e9)
        if self.kind == "recorded" and chunk:
            return max(now_ns, chunk.stamp_ns + round(chunk.latency_s * 1e9))
        return max(now_ns, stamp_ns + round(self.fixed_s * 1e9))

    @property
    def text(self) -> str:
        """In words."""
        fixed = f"{1e3 * self.fixed_s:.0f} ms"
        return {"fixed": fixed, "recorded": f"as recorded, {fixed} in the median", "measured": "as measured here"}[
            self.kind
        ]


def latency_from(text: str, chunks: Sequence[RecordedChunk]) -> Latency:
    """The model of the option --latency: 'measured', 'recorded' or seconds; '': 'recorded', or 0 without chunks.

    Raises:
        BagError: it is none of these, or there is nothing recorded.
    """
    if text == "measured":
        return Latency("measured")
    if text == "recorded" and not chunks:
        raise BagError("--latency is 'recorded', but the bag has no chunks in this time; give seconds or 'measured'")
    if text in ("", "recorded"):
        return Latency("recorded", statistics.median(c.latency_s for c in chunks)) if chunks else Latency("fixed")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= MAX_LATENCY_S:
        raise BagError(f"--latency is '{text}', expected 0 to {MAX_LATENCY_S:g} seconds, 'measured' or 'recorded'")
    return Latency("fixed", seconds)


def recorded_chunks(
    bag: Bag | MovedBag, topic: str, joints: Sequence[str], start_ns: int, end_ns: int
) -> list[RecordedChunk]:
    """The chunks that were asked for in this time; those that the controller would refuse are left out."""
    chunks = []
    for recorded in bag.read([topic], start_ns, end_ns):
        try:
            chunk = _recorded_chunk(recorded, joints)
        except (BagError, ChunkError):
            continue
        if chunk.requested_ns >= start_ns:
            chunks.append(chunk)
    return chunks


def _recorded_chunk(recorded: Recorded, joints: Sequence[str]) -> RecordedChunk:
    message = recorded.message
    chunk = Chunk.from_message(message, joints)
    latency_s = float(message.latency_s)
    if not 0.0 <= latency_s <= MAX_LATENCY_S:  # negative: not measured
        latency_s = min(max((recorded.log_ns - chunk.stamp_ns) / 1e9, 0.0), MAX_LATENCY_S)
    inference_s = float(message.inference_s)
    asked_s = latency_s - inference_s if 0.0 <= inference_s <= latency_s else latency_s
    return RecordedChunk(
        sequence=chunk.sequence,
        stamp_ns=chunk.stamp_ns,
        image_stamp_ns=chunk.image_stamp_ns or chunk.stamp_ns,
        requested_ns=chunk.stamp_ns + round(asked_s * 1e9),
        latency_s=latency_s,
        step_s=chunk.step_ns / 1e9,
        instruction=message.instruction,
        positions=chunk.positions,
    )
