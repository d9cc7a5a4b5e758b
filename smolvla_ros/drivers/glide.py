"""How an arm comes to where it is told to be, without a jump: the distance found at the start shrinks slowly.

Time is an argument [s].
"""

from __future__ import annotations

import math
from collections.abc import Mapping

# How fast the distance shrinks [rad/s].
GLIDE_RAD_S = 0.5


class Glide:
    """What lies between where joints stand and where they are told to be, by joint [rad]."""

    def __init__(self) -> None:
        self._offset: dict[str, float] = {}
        self._then_s = 0.0

    def begin(self, standing: Mapping[str, float], goal: Mapping[str, float], now_s: float) -> None:
        """Starts where the joints stand."""
        self._offset = {joint: place - goal[joint] for joint, place in standing.items()}
        self._then_s = now_s

    @property
    def left_s(self) -> float:
        """How long the longest way still takes."""
        return max(map(abs, self._offset.values()), default=0.0) / GLIDE_RAD_S

    def towards(self, goal: Mapping[str, float], now_s: float) -> dict[str, float]:
        """Where to be now, on the way to a goal that may itself move."""
        step = GLIDE_RAD_S * (now_s - self._then_s)
        self._then_s = now_s
        self._offset = {
            joint: math.copysign(abs(offset) - step, offset)
            for joint, offset in self._offset.items()
            if abs(offset) > step
        }
        return {joint: place + self._offset.get(joint, 0.0) for joint, place in goal.items()}
