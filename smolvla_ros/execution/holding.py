"""Where a hold goes to: nowhere; after a resume where the arm is found; to the park pose; or where a person wants.

All of it is under the limits and goes on from the last command. What begins anew, the way to the park pose and that to
a person's first command, begins at rest and with a part of the limits.

Not locked: the controller owns it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .commander import Commander
from .settings import ControllerSettings
from .status import Reason
from .supervision import Supervision

Vector = NDArray[np.float64]

_S = 1e-9
# The arm has reached what it goes to gently [rad or m].
_THERE, _CAUGHT_UP = 1e-6, 0.02
# A person's commands come in steps, of 20 ms or more: they are smoothed over this time [s].
_SMOOTHING_S = 0.05


class Holding:
    """What is commanded while no chunk is followed.

    Attributes:
        resuming: a resume was asked for and the measured position is not known beyond doubt yet.
    """

    def __init__(self, settings: ControllerSettings, supervision: Supervision):
        self._supervision = supervision
        self.apply(settings)
        self.reset()

    def apply(self, settings: ControllerSettings) -> None:
        self._settings = settings

    def reset(self) -> None:
        """A hold stays where its braking ends."""
        self.resuming = False
        self._goal: Vector | None = None
        # Since when this is gone to: the pose or the person's smoothed command, and whether it is approached gently.
        self._target: Vector | None = None
        self._approaching = True
        self._person: tuple[Vector, int] | None = None

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
        self._goal = self._target = None

    def person_wants(self, positions: Vector, steady_ns: int) -> None:
        """A command of the person, [joints] in rad or m."""
        self._person = positions, steady_ns

    def move(self, commander: Commander, reason: Reason, steady_ns: int) -> None:
        """Commands the next motion of a hold for this reason."""
        if reason == Reason.PARK_REQUESTED:
            self._go(commander, self._settings.park, steady_ns)
            self._supervision.parked = self._has_arrived(commander)
        elif reason == Reason.TAKEN_OVER_BY_PERSON:
            self._go(commander, self._wanted(commander, steady_ns), steady_ns)
        else:
            self._target = None
            commander.hold(self._found(steady_ns))

    def _found(self, steady_ns: int) -> Vector | None:
        """After a resume the measured position, once it is beyond doubt."""
        supervision = self._supervision
        if supervision.stopped or supervision.silencing or supervision.halting:
            self._goal = None
        elif self.resuming and not supervision.joint_states.doubted:
            self._goal = supervision.joint_states.start(steady_ns)
            self.resuming = self._goal is None
        return self._goal

    def _go(self, commander: Commander, wanted: Vector | None, steady_ns: int) -> None:
        """Brakes, then goes to `wanted`: gently until it is there, then as fast as the limits allow."""
        self._goal, self.resuming = None, False
        if commander.last is None:  # nothing was commanded yet
            start = self._supervision.joint_states.start(steady_ns)
            if start is None:
                return
            commander.seed(start)
        assert commander.last is not None
        if wanted is None or (self._target is None and not commander.at_rest):
            self._target = None
            commander.hold(None)
            return
        if self._target is None:
            self._target, self._approaching = commander.last.position, True
        wanted = np.where(np.isnan(wanted), self._target, wanted)
        if self._approaching:
            self._target = wanted
            self._approaching = bool(np.abs(commander.last.position - wanted).max() > _CAUGHT_UP)
        else:
            period_s = self._settings.period_s
            self._target = self._target + period_s / (period_s + _SMOOTHING_S) * (wanted - self._target)
        commander.hold(self._target, gently=self._approaching or self._supervision.parking)

    def _has_arrived(self, commander: Commander) -> bool:
        last = commander.last
        return (
            self._target is not None
            and last is not None
            and commander.at_rest
            and bool(np.abs(last.position - self._target).max() < _THERE)
        )

    def _wanted(self, commander: Commander, steady_ns: int) -> Vector | None:
        """What the person wants, inside the position limits; None, and why, if that is not to be gone to."""
        limits, supervision = self._settings.limits, self._supervision
        if self._person is None or (steady_ns - self._person[1]) * _S > self._settings.state_timeout_s:
            supervision.person = "a person has taken over, but no command comes on person_commands"
            return None
        wanted = np.clip(self._person[0], limits.lower, limits.upper)
        if commander.last is not None:
            far = np.abs(wanted - commander.last.position)
            if (far > limits.jump).any():
                joint = int(np.argmax(far / limits.jump))
                supervision.person = (
                    f"a person has taken over, whose {limits.joints[joint]} is {far[joint]:.3g} from the arm, allowed "
                    f"{limits.jump[joint]:.3g}: bring the leader to where the arm is"
                )
                return None
        supervision.person = ""
        return wanted
