"""Where a hold goes to: nowhere, but after a resume to where the arm is found.

Not locked: the controller owns it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .supervision import Supervision


class Holding:
    """The goal of a hold.

    Attributes:
        resuming: a resume was asked for and the measured position is not known beyond doubt yet.
    """

    def __init__(self, supervision: Supervision):
        self._supervision = supervision
        self.reset()

    def reset(self) -> None:
        """A hold stays where its braking ends."""
        self.resuming = False
        self._goal: NDArray[np.float64] | None = None

    def resume(self) -> None:
        """From now on a hold goes, under the limits, to where the arm is: it may have sagged or been moved."""
        self._supervision.joint_states.doubt()
        self._goal, self.resuming = None, True

    @property
    def elsewhere(self) -> bool:
        """Whether the arm may not be where it was commanded to be."""
        return self.resuming or self._goal is not None

    def merged(self) -> None:
        """A chunk was taken, so it begins where the last command was."""
        self.resuming = False

    def followed(self) -> None:
        """The arm moves by a plan."""
        self._goal = None

    def goal(self, steady_ns: int) -> NDArray[np.float64] | None:
        """[joints] in rad or m; None: it only brakes."""
        supervision = self._supervision
        if supervision.stopped or supervision.conflict or supervision.halting:
            self._goal = None
        elif self.resuming and not supervision.joint_states.doubted:
            self._goal = supervision.joint_states.start(steady_ns)
            self.resuming = self._goal is None
        return self._goal
