"""What forbids motion: every condition in one place, in order of severity, each with its reason and one sentence.

Not locked: the controller owns it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .plan import Motion
from .settings import ControllerSettings
from .status import Reason
from .watch import ClockWatch, JointStateWatch, Persistence

Vector = NDArray[np.float64]
Fault = tuple[Reason, str]

STOPPED = "stopped by service; call ~/resume to go on"
PARKED = "at the park pose; call ~/resume to go on"


class Supervision:
    """Requests from outside and watchdogs.

    Attributes:
        stopped: stop was requested and not yet taken back.
        parking, parked: it goes to the park pose, or is there, until a resume.
        taken_over, person: a person commands the arm, and what is to be said of it.
        halting: the controller is about to be deactivated.
        conflict: who else commands the arm; empty if nobody does.
        arm_trouble: why the arm's driver takes no commands; empty if it does.
        failure: what must not have happened; empty if nothing did.
    """

    def __init__(self, settings: ControllerSettings):
        self.joint_states = JointStateWatch(settings.limits.velocity, settings.period_s)
        self.clock = ClockWatch(round(settings.clock_jump_s * 1e9))
        self._tracking = Persistence(settings.tracking_timeout_s)
        self._clamping = Persistence(settings.clamping_timeout_s)
        self.apply(settings)
        self.reset()

    def apply(self, settings: ControllerSettings) -> None:
        """Changes limits; what has been observed, and for how long, stays."""
        self._settings = settings
        self.clock.forward_ns = round(settings.clock_jump_s * 1e9)
        self._tracking.limit_s = settings.tracking_timeout_s
        self._clamping.limit_s = settings.clamping_timeout_s

    def reset(self) -> None:
        self.stopped = self.halting = self.parking = self.parked = self.taken_over = False
        self.person = ""
        self.conflict = self.arm_trouble = self.failure = self._sessions = ""
        self._sessions_until_ns = 0
        self._tracking_detail = ""
        self.joint_states.reset()
        self._tracking.reset()
        self._clamping.reset()

    def two_sessions(self, detail: str, until_ns: int) -> None:
        """Two policies publish in turns; a reason to hold until an instant of the steady clock."""
        self._sessions, self._sessions_until_ns = detail, until_ns

    def clock_jumped(self, now_ns: int) -> None:
        """Durations start anew; the joint state known is as old as the steady clock says."""
        self.joint_states.restamp(now_ns)
        self._tracking.reset()
        self._clamping.reset()

    @property
    def silencing(self) -> bool:
        """Whether nothing is to be commanded once the arm stands: another one commands it, or nobody can."""
        return bool(self.conflict or self.arm_trouble)

    def fault(self, now_ns: int, steady_ns: int) -> Fault | None:
        """The most severe condition that forbids motion at this instant."""
        if self.failure:
            return Reason.INTERNAL_ERROR, self.failure
        if self.stopped:
            return Reason.STOP_REQUESTED, STOPPED
        if self.halting:
            return Reason.WAITING_FOR_CHUNK, "being deactivated"
        if self.conflict:
            return Reason.CONFLICTING_PUBLISHER, self.conflict
        if self._sessions and steady_ns < self._sessions_until_ns:
            return Reason.CONFLICTING_PUBLISHER, self._sessions
        if self.arm_trouble:
            return Reason.ARM_NOT_READY, self.arm_trouble
        if self.joint_states.positions is None:
            return Reason.WAITING_FOR_JOINT_STATES, self.joint_states.problem or "no joint state since activation"
        age_s, limit_s = self.joint_states.age_s(now_ns, steady_ns), self._settings.state_timeout_s
        if age_s > limit_s:
            joint = self._settings.limits.joints[self.joint_states.oldest]
            text = f"the last joint state of '{joint}' is {age_s:.2f} s old, allowed {limit_s:.2f} s"
            problem = self.joint_states.problem
            return Reason.JOINT_STATES_STALE, text + (f" ({problem})" if problem else "")
        if self.joint_states.contradicted(steady_ns):
            return (
                Reason.WAITING_FOR_JOINT_STATES,
                "joint states contradict each other: are there two publishers? So far "
                f"{self.joint_states.refused} lay further from the one before than the joints can move",
            )
        if self.joint_states.doubted:
            return Reason.WAITING_FOR_JOINT_STATES, "too few joint states in a row agree so far"
        if self._tracking_detail:
            return Reason.TRACKING_ERROR, self._tracking_detail
        if self.taken_over:
            return Reason.TAKEN_OVER_BY_PERSON, self.person or "a person commands the arm"
        if self.parking:
            return Reason.PARK_REQUESTED, PARKED if self.parked else "going to the park pose"
        return None

    def watch_tracking(self, commanded: Motion | None, now_ns: int, steady_ns: int) -> None:
        """Compares the command with the measured positions; called in every control period."""
        measured, limits = self.joint_states.positions, self._settings.limits
        if commanded is None or measured is None or self._settings.dry_run:
            self._tracking.reset()
            self._tracking_detail = ""
            return
        error = np.abs(commanded.position - measured)
        self._tracking_detail = ""
        if self._tracking.lasts(bool((error > limits.tracking).any()), now_ns, steady_ns):
            joint = int(np.argmax(error - limits.tracking))
            found, allowed = error[joint], limits.tracking[joint]
            self._tracking_detail = f"{limits.joints[joint]} is {found:.3g} from its command, allowed {allowed:.3g}"

    def lasting_clamp(self, desired: Motion, now_ns: int, steady_ns: int) -> str:
        """Says so if positions outside the limits have been asked for too long; empty otherwise."""
        limits = self._settings.limits
        outside = np.maximum(desired.position - limits.upper, limits.lower - desired.position)
        joint = int(np.argmax(outside))
        far = bool(outside[joint] > self._settings.clamping_excess)
        if not self._clamping.lasts(far, now_ns, steady_ns):
            return ""
        self._clamping.reset()
        return f"the policy wants {limits.joints[joint]} {outside[joint]:.3g} outside its limits"
