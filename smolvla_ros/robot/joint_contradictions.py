"""Joint states that leap away and come back: two sources tell of the same joints, and one of them is wrong.

Who sent a joint state cannot be told from it, neither live nor in a bag. Two publishers that disagree show in the
positions: from one message to the next a joint is elsewhere, faster than any joint moves, and then where it was again.
A joint that moves, a reading that is wrong once, and messages that came late and all together do not do that again
and again.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

# A leap is further than this [rad or m], at more than this speed [rad/s or m/s], and ends where the one before began,
# up to this share of it, within this time.
_LEAP, _SPEED, _SAME, _SOON_S = 0.1, 20.0, 0.3, 0.25
# So many within so long are no accident; the controller's rule as well.
_REPEATED, _REPEATED_NS = 5, 1_000_000_000
_MOST_SPANS = 1000


class JointContradictions:
    """Looks at the positions of all joints, message by message. Not locked.

    Attributes:
        states: how many were looked at.
        returns: how often some joint leapt back to where it had leapt away from.
        zeros: states in which every joint is at exactly 0, as those of joint_state_publisher are.
        largest: of those leaps [rad or m], and the place of its joint; 0.0 if there was none.
        spans: when they came again and again, (begin, end) in ns each.
    """

    def __init__(self, joints: int):
        self.states = self.returns = self.zeros = 0
        self.largest, self.joint = 0.0, 0
        self.spans: list[tuple[int, int]] = []
        self._leap = np.zeros(joints)  # the last one of each joint
        self._from = np.full(joints, np.nan)
        self._leapt_ns = np.zeros(joints, np.int64)
        self._last: NDArray[np.float64] | None = None
        self._last_ns = 0
        self._recent_ns: deque[int] = deque(maxlen=_REPEATED)

    def add(self, positions: NDArray[np.float64], now_ns: int) -> None:
        """Positions [joints] in rad or m of a message that arrived at `now_ns`."""
        last, elapsed_s = self._last, max(0, now_ns - self._last_ns) * 1e-9
        self._last, self._last_ns = positions, now_ns
        self.states += 1
        self.zeros += not positions.any()
        if last is None:
            return
        leap = positions - last
        far = np.abs(leap) > max(_LEAP, _SPEED * elapsed_s)
        if far.any():
            self._add_leaps(leap, far, last, positions, now_ns)

    def lasting(self, now_ns: int) -> bool:
        """Whether leaps have come again and again within the last second."""
        recent = self._recent_ns
        return len(recent) == _REPEATED and 0 <= now_ns - recent[0] < _REPEATED_NS

    def _add_leaps(
        self, leap: NDArray[np.float64], far: NDArray[np.bool_], last: NDArray[np.float64],
        positions: NDArray[np.float64], now_ns: int,
    ) -> None:  # fmt: skip
        size = np.abs(leap)
        soon = now_ns - self._leapt_ns < _SOON_S * 1e9
        back = far & soon & (leap * self._leap < 0.0) & (np.abs(positions - self._from) < _SAME * size)
        self._leap[far], self._from[far], self._leapt_ns[far] = leap[far], last[far], now_ns
        if not back.any():
            return
        self.returns += 1
        joint = int(np.argmax(np.where(back, size, 0.0)))
        if size[joint] > self.largest:
            self.largest, self.joint = float(size[joint]), joint
        self._recent_ns.append(now_ns)
        if self.lasting(now_ns):
            self._note(self._recent_ns[0] - round(_SOON_S * 1e9), now_ns)

    def _note(self, first_ns: int, last_ns: int) -> None:
        if self.spans and first_ns <= self.spans[-1][1] + _REPEATED_NS:
            self.spans[-1] = (self.spans[-1][0], last_ns)
        elif len(self.spans) < _MOST_SPANS:
            self.spans.append((first_ns, last_ns))


def contradiction_text(joint: str) -> str:
    """The sentence for people; it holds no number that differs from message to message."""
    return (
        f"joint states contradict each other: '{joint}' leaps away and back again and again, so two nodes publish the "
        "same joints"
    )
