"""Watchdogs of the controller: the clock, the joint states, the following of commands, lasting clamps.

Each keeps what it needs of the past and answers one question; none of them acts. Two clocks: the steady clock (never
jumps, never pauses) measures how long something has lasted; the ROS clock may be paused, slow, fast or set back.
An age is the smaller of the two, so a paused simulation makes nothing stale, and one that runs ten times faster than
real time neither. A ROS clock that was set back or forward is noticed by `ClockWatch`.

Not locked: the controller owns them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_S = 1e-9
# A real clock that is being disciplined may step back by this much without anybody having set it.
_BACKWARD_TOLERANCE_NS = 10_000_000


class ClockWatch:
    """Notices a ROS clock that was set back, or forward by more than `forward_ns` beyond the time that passed."""

    def __init__(self, forward_ns: int):
        self.forward_ns = forward_ns
        self.start(0, 0)

    def start(self, now_ns: int, steady_ns: int) -> None:
        """Watches from these instants on."""
        self._last = (now_ns, steady_ns)

    def jump_s(self, now_ns: int, steady_ns: int) -> float:
        """The jump [s] since the last call, 0.0 for none."""
        last, self._last = self._last, (now_ns, steady_ns)
        advanced_ns = now_ns - last[0]
        if advanced_ns == 0:
            self._last = last  # paused, or between two /clock messages: time that passes now is owed by the next one
        elif advanced_ns < 0:
            if advanced_ns < -_BACKWARD_TOLERANCE_NS:
                return advanced_ns * _S
            self._last = last
        elif advanced_ns - (steady_ns - last[1]) > self.forward_ns:
            return (advanced_ns - (steady_ns - last[1])) * _S
        return 0.0


class JointStateWatch:
    """The last joint positions and how fresh they are.

    `problem`: what is known of joint states that are missing or were refused since the last good one; for people.
    """

    def __init__(self) -> None:
        self.positions: Vector | None = None
        self.problem = ""
        self.oldest = 0  # the joint whose measurement is the oldest
        self._age_ns = 0  # of that measurement when it was received
        self._now_ns = 0
        self._steady_ns = 0

    def reset(self) -> None:
        self.positions = None
        self.problem = ""

    def receive(self, positions: Vector, now_ns: int, steady_ns: int, ages_ns: NDArray[np.int64] | None = None) -> None:
        """Positions of all joints, and how old the measurement of each was at this instant; None: all are new."""
        self.positions, self._now_ns, self._steady_ns = positions, now_ns, steady_ns
        self.oldest = 0 if ages_ns is None else int(ages_ns.argmax())
        self._age_ns = 0 if ages_ns is None else int(ages_ns[self.oldest])
        self.problem = ""

    def restamp(self, now_ns: int) -> None:
        """The ROS clock jumped to `now_ns`; the age on the steady clock stays."""
        self._now_ns = now_ns

    def age_s(self, now_ns: int, steady_ns: int) -> float:
        """Age of the oldest joint's measurement [s]; infinite if there is none."""
        if self.positions is None:
            return float("inf")
        return (self._age_ns + min(now_ns - self._now_ns, steady_ns - self._steady_ns)) * _S


class Persistence:
    """Tells when a condition has lasted for longer than `limit_s` on both clocks."""

    def __init__(self, limit_s: float):
        self._limit_ns = round(limit_s / _S)
        self._since: tuple[int, int] | None = None

    def reset(self) -> None:
        self._since = None

    def lasts(self, condition: bool, now_ns: int, steady_ns: int) -> bool:
        """Whether it has held at every call since one that is longer ago than the limit."""
        if not condition:
            self._since = None
            return False
        if self._since is None:
            self._since = (now_ns, steady_ns)
        return min(now_ns - self._since[0], steady_ns - self._since[1]) > self._limit_ns

