"""Watchdogs of the controller: the clock, the joint states, the following of commands, lasting clamps.

Each keeps what it needs of the past and answers one question; none of them acts. Two clocks: the steady clock (never
jumps, never pauses) measures how long something has lasted; the ROS clock may be paused, slow, fast or set back.
An age is the smaller of the two, so a paused simulation makes nothing stale, and one that runs ten times faster than
real time neither. A ROS clock that was set back or forward is noticed by `ClockWatch`.

Not locked: the controller owns them.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
# One instant [ns] for all joints, or one for each.
Instants = int | NDArray[np.int64]

_S = 1e-9
# A real clock that is being disciplined may step back by this much without anybody having set it.
_BACKWARD_TOLERANCE_NS = 10_000_000
# So many states in a row must agree before motion starts from them.
_AGREEING = 3
# What a joint may do beyond its limit: measurements have noise, and messages do not come evenly.
_MARGIN, _JITTER_S = 1.5, 0.05
# A state says nothing of where a joint may be after a longer time.
_LONGEST_S = 0.25
# So many impossible states within so long are no accident.
_CONTRADICTIONS, _CONTRADICTION_NS = 5, 1_000_000_000


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
    """The joint positions believed, and how fresh they are.

    No joint moves faster than its limit, so a state that lies further from the one believed than the time between the
    measurements of each joint allows is refused and counted: one wrong state, or those of a second publisher, move
    nothing. Motion that starts from measured positions needs more: `doubted` until several states in a row agree.

    `problem`: what is known of joint states that are missing or were refused since the last good one; for people.
    """

    def __init__(self, velocity: Vector, period_s: float) -> None:
        self.velocity, self.period_s = velocity, period_s
        self.reset()

    def reset(self) -> None:
        """Nothing is known."""
        self.positions: Vector | None = None
        self.problem = ""
        self.refused = 0
        self.oldest = 0  # the joint whose measurement is the oldest
        self._age_ns = 0  # of that measurement when it was received
        self._now_ns = self._steady_ns = 0
        self._measured_ns: Instants = 0  # of each joint believed, on the steady clock
        self._latest: tuple[Vector, Instants] | None = None  # believed or not, and when measured
        self._recent: deque[Vector] = deque(maxlen=_AGREEING)
        self._recently_refused: deque[int] = deque(maxlen=_CONTRADICTIONS)
        self.doubt()

    def doubt(self) -> None:
        """From now on several states must agree before motion may start from them."""
        self.doubted, self._agreeing = True, 0
        self._agreed: tuple[Vector, ...] = ()
        self._agreed_ns = 0

    def receive(
        self, positions: Vector, now_ns: int, steady_ns: int, ages_ns: NDArray[np.int64] | None = None
    ) -> bool:
        """Positions of all joints, and how old the measurement of each was at this instant; None: all are new.

        Returns:
            Whether they are possible after those before.
        """
        # A slow driver of one joint beside a fast one of the others repeats its joint's old measurement meanwhile.
        measured_ns = steady_ns if ages_ns is None else steady_ns - ages_ns
        agrees = self._latest is not None and self._reachable(*self._latest, positions, measured_ns, 1.0, self.period_s)
        self._agreeing = self._agreeing + 1 if agrees else 1
        before = self._latest[0] if self._latest else None
        self._latest = (positions, measured_ns)
        self._recent.append(positions)
        believed = self.positions if steady_ns - self._steady_ns <= _LONGEST_S / _S else None
        sure = agrees and before is believed  # what is near is not far: this is called for every message
        if believed is not None and not sure and not self._reachable(
            believed, self._measured_ns, positions, measured_ns, _MARGIN, _JITTER_S
        ):
            self.refused += 1
            self._recently_refused.append(steady_ns)
            return False
        if self._agreeing >= _AGREEING:
            self.doubted, self._agreed, self._agreed_ns = False, tuple(self._recent), steady_ns
        elif believed is None:
            return True  # not believed yet
        self.positions, self._now_ns, self._steady_ns, self._measured_ns = positions, now_ns, steady_ns, measured_ns
        self.oldest = 0 if ages_ns is None else int(ages_ns.argmax())
        self._age_ns = 0 if ages_ns is None else int(ages_ns[self.oldest])
        self.problem = ""
        return True

    def start(self, steady_ns: int) -> Vector | None:
        """Where motion may start from: the median of the states in a row that agreed last, if that is recent."""
        if not self._agreed or steady_ns - self._agreed_ns > _LONGEST_S / _S:
            return None
        return np.asarray(np.median(self._agreed, axis=0))

    def contradicted(self, steady_ns: int) -> bool:
        """Whether impossible states keep coming: two publishers, or a sensor that cannot be believed."""
        refused = self._recently_refused
        return len(refused) == _CONTRADICTIONS and steady_ns - refused[0] < _CONTRADICTION_NS

    def restamp(self, now_ns: int) -> None:
        """The ROS clock jumped to `now_ns`; the age on the steady clock stays."""
        self._now_ns = now_ns

    def age_s(self, now_ns: int, steady_ns: int) -> float:
        """Age of the oldest joint's measurement [s]; infinite if there is none."""
        if self.positions is None:
            return float("inf")
        return (self._age_ns + min(now_ns - self._now_ns, steady_ns - self._steady_ns)) * _S

    def _reachable(
        self, start: Vector, start_ns: Instants, end: Vector, end_ns: Instants, margin: float, least_s: float
    ) -> bool:
        span_s = np.minimum(np.maximum((end_ns - start_ns) * _S, least_s), _LONGEST_S)
        return bool((np.abs(end - start) <= margin * span_s * self.velocity).all())


class Persistence:
    """Tells when a condition has lasted for longer than `limit_s` on both clocks; the limit may change meanwhile."""

    def __init__(self, limit_s: float):
        self.limit_s = limit_s
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
        return min(now_ns - self._since[0], steady_ns - self._since[1]) > round(self.limit_s / _S)

