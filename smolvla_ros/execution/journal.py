"""What the controller is doing and has done, as it tells it: state, one reason, counters, changes of state.

Not locked: the controller owns it.
"""

from __future__ import annotations

from collections import deque

from .status import ControllerState, Counters, Reason, Status, Transition
from .timeline import Timeline

_KEPT_TRANSITIONS = 256
# Reasons that have a state of their own.
_STATES = {
    Reason.NONE: ControllerState.FOLLOWING,
    Reason.STOP_REQUESTED: ControllerState.STOPPED,
    Reason.PARK_REQUESTED: ControllerState.PARKED,
    Reason.TAKEN_OVER_BY_PERSON: ControllerState.TAKEN_OVER,
}


class Journal:
    """State and reason, and what is counted since activation.

    Attributes:
        action_age_s: of the observation behind the row executed last; negative: none.
        seam_jump: largest distance between two commands at the last change of chunks [rad or m]; negative: none.
    """

    def __init__(self, joints: int):
        self._joints = joints
        self._transitions: deque[Transition] = deque(maxlen=_KEPT_TRANSITIONS)
        self.state = ControllerState.INACTIVE
        self.reset()

    def reset(self) -> None:
        """A new life; changes of state that were not told yet stay."""
        self.counters = Counters(self._joints)
        self.reason, self.detail = Reason.NONE, ""
        self.action_age_s = self.seam_jump = -1.0

    def enter(self, reason: Reason, detail: str, now_ns: int) -> None:
        """The controller holds for a reason, or follows for none."""
        self._enter(_STATES.get(reason, ControllerState.HOLDING), reason, detail, now_ns)

    def leave(self, now_ns: int) -> None:
        """The controller is not active any more."""
        self._enter(ControllerState.INACTIVE, Reason.NONE, "", now_ns)

    def _enter(self, state: ControllerState, reason: Reason, detail: str, now_ns: int) -> None:
        if (state, reason) != (self.state, self.reason):
            self._transitions.append(Transition(now_ns, state, reason, detail))
        self.state, self.reason, self.detail = state, reason, detail

    def take_transitions(self) -> list[Transition]:
        """The changes of state or reason since the last call, oldest first."""
        taken = list(self._transitions)
        self._transitions.clear()
        return taken

    def status(self, now_ns: int, timeline: Timeline, intervention: bool, parked: bool) -> Status:
        """A snapshot; `intervention`: a person has taken over; `parked`: the arm has come to its park pose."""
        counters, chunk = self.counters, timeline.chunk
        return Status(
            now_ns=now_ns,
            state=self.state,
            reason=self.reason,
            detail=self.detail,
            session=chunk.session if chunk else 0,
            sequence=chunk.sequence if chunk else 0,
            row=timeline.row,
            remaining_rows=timeline.queued,
            remaining_s=timeline.remaining_s(now_ns),
            action_age_s=self.action_age_s,
            seam_jump=self.seam_jump,
            idle_fraction=counters.idle_ticks / max(1, counters.ticks),
            rows_received=timeline.received,
            rows_executed=timeline.executed,
            rows_discarded=timeline.discarded,
            rows_queued=timeline.queued,
            intervention=intervention,
            parked=parked and self.state == ControllerState.PARKED,
            counters=counters.copy(),
        )
