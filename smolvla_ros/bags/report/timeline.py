"""When the messages of every stream came, as a strip of few rectangles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from smolvla_ros.bags.replay.facts import BINS, Activity
from smolvla_ros.bags.replay.result import Replay, StreamHealth

_PER_CELL = 3.0  # messages that a cell must be able to hold, so that an empty one is a gap
_FEW = 40  # messages that are shown one by one


@dataclass(frozen=True)
class Span:
    """Part of a strip, in per cent of its length; `kind`: 'seen', 'refused' or 'single'."""

    start: float
    length: float
    kind: str


@dataclass(frozen=True)
class Strip:
    """A stream and its spans; between them nothing came."""

    stream: StreamHealth
    spans: list[Span]


def strips(replay: Replay) -> list[Strip]:
    """One for every stream."""
    duration_s = (replay.end_ns - replay.start_ns) / 1e9
    return [
        Strip(stream, _spans(stream, replay.facts.streams[stream.topic], duration_s))
        for stream in replay.streams
        if stream.topic in replay.facts.streams
    ]


def _spans(stream: StreamHealth, activity: Activity, duration_s: float) -> list[Span]:
    if stream.messages <= _FEW:
        cell = 100.0 / BINS
        return [
            Span(float(place * cell), cell, "refused" if activity.refused[place] else "single")
            for place in np.flatnonzero(activity.messages)
        ]
    per_bin = stream.rate_hz * duration_s / BINS
    wide = min(BINS, max(1, math.ceil(_PER_CELL / per_bin))) if per_bin > 0.0 else 1
    starts = np.arange(0, BINS, wide)
    seen = np.add.reduceat(activity.messages, starts)
    refused = np.add.reduceat(activity.refused, starts)
    kinds = np.where(refused * 2 > seen, "refused", np.where(seen > 0, "seen", ""))
    return _joined(kinds, wide)


def _joined(kinds: np.ndarray, wide: int) -> list[Span]:
    spans = []
    changes = [0, *(np.flatnonzero(kinds[1:] != kinds[:-1]) + 1).tolist(), len(kinds)]
    for begin, end in zip(changes[:-1], changes[1:], strict=True):
        if kinds[begin]:
            left, right = begin * wide, min(end * wide, BINS)
            spans.append(Span(100.0 * left / BINS, 100.0 * (right - left) / BINS, str(kinds[begin])))
    return spans
