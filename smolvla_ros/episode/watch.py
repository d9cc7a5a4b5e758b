"""Decides when a run ends, out of what policy, controller and arm tell meanwhile.

Not locked: one thread owns an object. Time is the steady clock's, in s.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.execution.status import ControllerState


class Termination(IntEnum):
    """Why a run ended; the numbers of Episode.msg."""

    RUNNING = 0
    SUCCESS = 1
    AT_REST = 2
    TIMEOUT = 3
    CANCELED = 4
    PREEMPTED = 5
    STOPPED = 6
    REFUSED = 7
    HELD = 8
    LOST = 9
    SHUTDOWN = 10


class EpisodeOutcome(IntEnum):
    """Whether the task was done; the numbers of Episode.msg."""

    UNKNOWN = 0
    DONE = 1
    FAILED = 2


# Ends that a condition of the goal brought about.
AS_ASKED = (Termination.SUCCESS, Termination.AT_REST, Termination.TIMEOUT)


@dataclass(frozen=True)
class StopConditions:
    """What ends a run: a time, a rest after motion [s; 0: never], the success topic."""

    timeout_s: float = 0.0
    rest_s: float = 0.0
    until_success: bool = False


@dataclass(frozen=True)
class EpisodeRules:
    """What breaks a run off, and what counts as rest.

    answer_timeout_s: for the policy's word on the instruction.
    hold_timeout_s: for a hold of the controller, and for the first motion.
    silence_s: without a word of the controller.
    rest_tolerance: how far a joint at rest may move [rad or m].
    """

    answer_timeout_s: float = 5.0
    hold_timeout_s: float = 10.0
    silence_s: float = 1.5
    rest_tolerance: float = 0.02


@dataclass(frozen=True)
class Ending:
    """Why a run ends, and one sentence."""

    reason: Termination
    detail: str = ""


class EpisodeWatch:
    """One run, from its beginning at `now_s`. The first ending that was found stays."""

    def __init__(self, instruction: str, conditions: StopConditions, rules: EpisodeRules, now_s: float):
        self._instruction, self._conditions, self._rules = instruction, conditions, rules
        self._began_s = self._status_at_s = now_s
        self._accepted = False
        self._holding_since_s: float | None = now_s
        self._hold = "nothing was heard of the controller"
        self._first: NDArray[np.float64] | None = None
        self._anchor: NDArray[np.float64] | None = None
        self._resting_since_s = now_s
        self._moved = False
        self._ending: Ending | None = None

    def elapsed_s(self, now_s: float) -> float:
        return now_s - self._began_s

    def end(self, reason: Termination, detail: str = "") -> None:
        """Ends it, unless it has ended."""
        if self._ending is None:
            self._ending = Ending(reason, detail)

    def hear_word(self, text: str, accepted: bool, reason: str) -> None:
        """The policy's word on an instruction: its own, or what somebody else has said meanwhile."""
        if text == self._instruction:
            self._accepted = self._accepted or accepted
            if not accepted:
                self.end(Termination.REFUSED, reason)
        elif self._accepted and accepted:
            said = f"'{text}' was said" if text else "the instruction was withdrawn"
            self.end(Termination.PREEMPTED, f"{said} by somebody else")

    def hear_status(self, state: int, why: str, now_s: float) -> None:
        """What the controller does; `why` is its reason in words."""
        self._status_at_s = now_s
        if state in (ControllerState.STOPPED, ControllerState.PARKED):
            was = "stopped" if state == ControllerState.STOPPED else "sent to its park pose"
            self.end(Termination.STOPPED, f"the arm was {was}: `smolvla-ros resume` lets it go on")
        elif state in (ControllerState.FOLLOWING, ControllerState.TAKEN_OVER):  # a person works on the task, too
            self._holding_since_s = None
        else:
            self._hold, self._resting_since_s = why, now_s  # a rest is one under the policy's commands
            if self._holding_since_s is None:
                self._holding_since_s = now_s

    def hear_success(self, success: bool) -> None:
        if success and self._conditions.until_success:
            self.end(Termination.SUCCESS, "the success topic said true")

    def hear_positions(self, positions: NDArray[np.float64], now_s: float) -> None:
        """Where the arm is [joints], always in the same order."""
        if self._first is None or self._anchor is None:
            self._first = self._anchor = positions.copy()
            self._resting_since_s = now_s
        if np.abs(positions - self._anchor).max() > self._rules.rest_tolerance:
            self._anchor, self._resting_since_s = positions.copy(), now_s
            self._moved = True

    def look(self, now_s: float) -> Ending | None:
        """Whether it is over."""
        if self._ending is None:
            self._judge(now_s)
        return self._ending

    def _judge(self, now_s: float) -> None:
        conditions, rules = self._conditions, self._rules
        silent_s = now_s - self._status_at_s
        if silent_s > rules.silence_s:
            self.end(Termination.LOST, f"the controller has been silent for {silent_s:.1f} s")
        elif not self._accepted and self.elapsed_s(now_s) > rules.answer_timeout_s:
            self.end(Termination.LOST, f"no policy answered within {rules.answer_timeout_s:g} s")
        elif conditions.rest_s and self._moved and now_s - self._resting_since_s >= conditions.rest_s:
            self.end(Termination.AT_REST, f"at rest for {conditions.rest_s:g} s")
        elif conditions.timeout_s and self.elapsed_s(now_s) >= conditions.timeout_s:
            self.end(Termination.TIMEOUT, f"{conditions.timeout_s:g} s were up")
        elif self._holding_since_s is not None and now_s - self._holding_since_s > rules.hold_timeout_s:
            self.end(Termination.HELD, f"held for {now_s - self._holding_since_s:.0f} s: {self._hold}")


def problems_of(instruction: str, timeout_s: float, rest_s: float) -> str:
    """Why a goal cannot be used; '' if it can."""
    if not instruction.strip():
        return "the instruction is empty, expected a sentence"
    for name, value in (("timeout_s", timeout_s), ("rest_s", rest_s)):
        if not 0.0 <= value <= 1e6:  # NaN too
            return f"{name} is {value:g}, expected 0 to 1e6 s"
    return ""
