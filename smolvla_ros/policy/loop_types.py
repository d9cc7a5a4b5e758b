"""What goes into the inference loop and what comes out of it, for one arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.robot.observation import Observation, Pictures


class ObservationSource(Protocol):
    """What the loop acts on: an `ObservationBuffer`, or what stands for one."""

    def take(self, now_ns: int) -> tuple[Observation | None, str]: ...

    def decode(self, observation: Observation) -> tuple[Pictures | None, str]: ...

    def clear(self) -> None: ...


class LoopState(Enum):
    """What the inference thread does, for people."""

    IDLE = "idle"  # without an instruction
    WAITING = "waiting"
    RUNNING = "running"
    TOO_SLOW = "too slow"
    FAILING = "failing"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class Instruction:
    """An instruction and its number within the session, from 1."""

    text: str
    id: int


@dataclass(frozen=True)
class SentChunk:
    """A chunk ready to publish; positions [rows, joints] in rad or m, `latency_s` from `stamp_ns` on.

    The stamps are those of its `Observation`.
    """

    stamp_ns: int
    image_stamp_ns: int
    sequence: int
    positions: NDArray[np.float64]
    frozen_rows: int
    instruction: Instruction
    inference_s: float
    latency_s: float


@dataclass(frozen=True)
class LoopSettings:
    """Parameters of one arm's side of the loop.

    Attributes:
        session: identifies this run.
        step_s: time between two rows.
        needs_status: nothing is inferred without a controller.
        min_change: the observation filter, see `Requester`.
        hold_and_go: a policy that is too slow for its chunks is asked when the arm holds, whatever the rule.
        delay_percentile: of the latencies that real-time chunking plans for; None: it is off.
        retry_backoff_s: wait after a failure.
        max_failures: so many in a row are the end.
    """

    session: int
    step_s: float
    needs_status: bool
    min_change: float
    hold_and_go: bool
    delay_percentile: float | None
    retry_backoff_s: float
    max_failures: int


@dataclass(frozen=True)
class LoopClocks:
    """The ROS clock [ns], and a steady one [s] that never jumps, for waits and deadlines."""

    ros_ns: Callable[[], int]
    steady_s: Callable[[], float]
