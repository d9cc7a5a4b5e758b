"""What the view has heard last, and how long ago.

Threads: the executor's thread calls the `set_*` methods, the page's thread takes a `snapshot`; one lock guards both.
Time is the steady clock's, in s, and always an argument.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Seconds of history that the plots show, and how often a point is kept.
HISTORY_S = 30.0
_POINT_S = 0.2


@dataclass(frozen=True)
class Heard:
    """A value and when it was heard [s]."""

    value: Any
    at_s: float


@dataclass(frozen=True)
class ChunkAhead:
    """A chunk as the view draws it: `positions` [rows, joints] in rad or m, and what tells it from others."""

    joints: tuple[str, ...]
    positions: NDArray[np.float64]
    session: int
    sequence: int


@dataclass(frozen=True)
class ExecutionFacts:
    """What the controller told last: the fields of ExecutionStatus that the view shows."""

    state: str
    reason: str
    detail: str
    dry_run: bool
    sequence: int
    remaining_rows: int
    remaining_s: float
    action_age_s: float
    idle_fraction: float
    chunks_merged: int
    chunks_rejected: int
    clamps: int


@dataclass(frozen=True)
class RunFacts:
    """The last run as episode_node tells it; `ending` is '' while it goes on, `outcome` '' while nobody knows."""

    number: int
    instruction: str
    ending: str
    detail: str
    outcome: str


@dataclass(frozen=True)
class Point:
    """One point of the plots."""

    at_s: float
    queue_s: float
    age_s: float


@dataclass(frozen=True)
class Snapshot:
    """Everything known at one instant. Absent means never heard."""

    status: Heard | None = None
    chunk: Heard | None = None
    joints: Heard | None = None
    images: Mapping[str, Heard] = field(default_factory=dict)
    descriptions: Mapping[str, Heard] = field(default_factory=dict)
    latencies: Heard | None = None
    run: Heard | None = None
    instructions: Sequence[str] = ()
    history: Sequence[Point] = ()
    robot: str = ""  # its description, a URDF

    def parameters(self, node: str) -> dict[str, Any]:
        """The parameters that a node described itself with; empty before."""
        heard = self.descriptions.get(node)
        return dict(heard.value.get("parameters", {})) if heard else {}


class Watched:
    """The newest of everything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Snapshot()
        self._images: dict[str, Heard] = {}
        self._descriptions: dict[str, Heard] = {}
        self._instructions: list[str] = []
        self._history: deque[Point] = deque(maxlen=round(HISTORY_S / _POINT_S))

    def set_status(self, status: ExecutionFacts, now_s: float) -> None:
        with self._lock:
            self._now = replace(self._now, status=Heard(status, now_s))
            if not self._history or now_s - self._history[-1].at_s >= _POINT_S:
                self._history.append(Point(now_s, status.remaining_s, max(0.0, status.action_age_s)))

    def set_chunk(self, chunk: ChunkAhead, now_s: float) -> None:
        with self._lock:
            self._now = replace(self._now, chunk=Heard(chunk, now_s))

    def set_joints(self, positions: Mapping[str, float], now_s: float) -> None:
        """Merges: drivers may tell arm and gripper in messages of their own."""
        with self._lock:
            known = dict(self._now.joints.value) if self._now.joints else {}
            self._now = replace(self._now, joints=Heard(known | dict(positions), now_s))

    def set_image(self, camera: str, image: NDArray[np.uint8], now_s: float) -> None:
        with self._lock:
            self._images[camera] = Heard(image, now_s)

    def set_description(self, node: str, facts: Mapping[str, Any], now_s: float) -> None:
        with self._lock:
            self._descriptions[node] = Heard(dict(facts), now_s)

    def set_latencies(self, values: Mapping[str, str], now_s: float) -> None:
        with self._lock:
            self._now = replace(self._now, latencies=Heard(dict(values), now_s))

    def set_run(self, run: RunFacts, now_s: float) -> None:
        with self._lock:
            self._now = replace(self._now, run=Heard(run, now_s))

    def set_robot(self, urdf: str) -> None:
        with self._lock:
            self._now = replace(self._now, robot=urdf)

    def add_instruction(self, text: str) -> None:
        """Keeps what was said, newest first, each text once."""
        with self._lock:
            self._instructions = [text, *(said for said in self._instructions if said != text)][:20]

    def snapshot(self) -> Snapshot:
        with self._lock:
            return replace(
                self._now,
                images=dict(self._images),
                descriptions=dict(self._descriptions),
                instructions=tuple(self._instructions),
                history=tuple(self._history),
            )
