"""What the controller says about itself: state, one reason, counters. Numbers equal those of ExecutionStatus.msg."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .chunk import Rejection
from .limits import Hits


class ControllerState(IntEnum):
    """State of the controller."""

    INACTIVE = 0
    HOLDING = 1
    FOLLOWING = 2
    STOPPED = 3
    PARKED = 4
    TAKEN_OVER = 5


class Reason(IntEnum):
    """Why the controller holds."""

    NONE = 0
    WAITING_FOR_JOINT_STATES = 1
    JOINT_STATES_STALE = 2
    WAITING_FOR_CHUNK = 3
    CHUNK_EXHAUSTED = 4
    JUMP_TOO_LARGE = 5
    PERSISTENT_CLAMPING = 6
    TRACKING_ERROR = 7
    CLOCK_JUMP = 8
    CONFLICTING_PUBLISHER = 9
    STOP_REQUESTED = 10
    INTERNAL_ERROR = 11
    PARK_REQUESTED = 12
    TAKEN_OVER_BY_PERSON = 13
    ARM_NOT_READY = 14


class ClampCounter:
    """Control periods in which one kind of limit changed a command: of any joint, and by joint."""

    def __init__(self, joints: int):
        self.ticks = 0
        self.by_joint = [0] * joints

    def copy(self) -> ClampCounter:
        twin = ClampCounter(0)
        twin.ticks, twin.by_joint = self.ticks, self.by_joint.copy()
        return twin

    def count(self, hit: NDArray[np.bool_]) -> None:
        """Args: hit: [joints] whose command was changed."""
        if hit.any():
            self.ticks += 1
            for joint in np.flatnonzero(hit):
                self.by_joint[joint] += 1


class Counters:
    """Counts since activation. Rows are counted by the timeline."""

    def __init__(self, joints: int):
        self.ticks = self.idle_ticks = 0
        self.chunks_received = self.chunks_merged = self.joint_states_rejected = 0
        self.rejected: dict[Rejection, int] = {}
        # The chunk looked at last: session, sequence, and why it was refused.
        self.last_chunk: tuple[int, int, Rejection | None] = (0, 0, None)
        self.position = ClampCounter(joints)
        self.velocity = ClampCounter(joints)
        self.acceleration = ClampCounter(joints)

    def copy(self) -> Counters:
        """A snapshot; `copy.deepcopy` takes as long as a control step."""
        twin = Counters.__new__(Counters)
        twin.__dict__.update(self.__dict__)
        twin.rejected = self.rejected.copy()
        twin.position, twin.velocity = self.position.copy(), self.velocity.copy()
        twin.acceleration = self.acceleration.copy()
        return twin

    @property
    def chunks_rejected(self) -> int:
        return sum(self.rejected.values())

    def clamp(self, hits: Hits | None) -> None:
        """Args: hits: what the limits changed in one control period; None for nothing."""
        if hits is not None:
            self.position.count(hits.position)
            self.velocity.count(hits.velocity)
            self.acceleration.count(hits.acceleration)

    def merge(self, session: int, sequence: int) -> None:
        """A chunk was taken."""
        self.chunks_received += 1
        self.chunks_merged += 1
        self.last_chunk = (session, sequence, None)

    def reject(self, reason: Rejection, session: int, sequence: int) -> None:
        """A chunk was refused."""
        self.chunks_received += 1
        self.last_chunk = (session, sequence, reason)
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


@dataclass(frozen=True)
class Transition:
    """A change of state or reason: when (ROS clock), to what, and one sentence."""

    now_ns: int
    state: ControllerState
    reason: Reason
    detail: str


class Status(NamedTuple):
    """A snapshot; the fields are those of ExecutionStatus.msg. Times in s, negative where there is none."""

    now_ns: int
    state: ControllerState
    reason: Reason
    detail: str
    session: int
    sequence: int
    row: int
    remaining_rows: int
    remaining_s: float
    action_age_s: float
    seam_jump: float
    idle_fraction: float
    rows_received: int
    rows_executed: int
    rows_discarded: int
    rows_queued: int
    intervention: bool
    parked: bool
    counters: Counters
