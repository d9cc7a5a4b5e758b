"""The state machine of the controller: what is commanded in each period, and why nothing is.

States: INACTIVE -> HOLDING(reason) <-> FOLLOWING; STOPPED and PARKED, which only `resume` leaves; TAKEN_OVER by a
person. A hold slows down under the acceleration limit and then keeps commanding the position sent last; it drops what
was queued, so motion never goes on without a chunk that is newer. Before the first motion after activation nothing is
commanded at all: a restart never moves the arm.

Not locked: the controller owns it.
"""

from __future__ import annotations

import numpy as np

from .admission import Admission
from .chunk import Chunk, ChunkError, Rejection
from .commander import Command, Commander
from .holding import Holding
from .journal import Journal
from .plan import Motion
from .seam import Merged, Seam
from .settings import ControllerSettings
from .status import ControllerState, Reason
from .supervision import STOPPED, Supervision
from .timeline import Timeline

_S = 1e-9

# Reasons that stand until the next chunk is merged; all others stand while their condition does.
_UNTIL_NEXT_CHUNK = frozenset(
    {
        Reason.WAITING_FOR_CHUNK,
        Reason.CHUNK_EXHAUSTED,
        Reason.JUMP_TOO_LARGE,
        Reason.PERSISTENT_CLAMPING,
        Reason.CLOCK_JUMP,
    }
)


class StateMachine:
    """Follows what is planned while nothing forbids it, and holds otherwise."""

    def __init__(self, settings: ControllerSettings):
        joints = len(settings.limits.joints)
        self.now_ns = 0
        # The first command of a plan is still to come.
        self._seam_ahead = False
        # Why the chunk looked at last was refused, if it was for where it begins.
        self._jump_detail = ""
        # Where the first motion after silence starts: the measured position when its chunk came.
        self._start = np.zeros(joints)
        self._settings = settings
        self.timeline = Timeline()
        self.admission = Admission(settings)
        self.supervision = Supervision(settings)
        self.commander = Commander(settings)
        self.holding = Holding(settings, self.supervision)
        self.journal = Journal(joints)
        self._reset(0)

    # Asked for from outside.

    def apply(self, settings: ControllerSettings) -> None:
        """Changes the settings between two steps."""
        self._settings = settings
        for part in (self.admission, self.supervision, self.commander, self.holding):
            part.apply(settings)

    @property
    def active(self) -> bool:
        return self.journal.state != ControllerState.INACTIVE

    def activate(self, now_ns: int, steady_ns: int) -> None:
        self._reset(now_ns)
        self.supervision.clock.start(now_ns, steady_ns)
        self._hold(Reason.WAITING_FOR_JOINT_STATES, "no joint state since activation")

    def deactivate(self) -> None:
        self.timeline.flush(self.now_ns)
        self.journal.leave(self.now_ns)

    def withdraw(self) -> None:
        self.admission.not_before_ns = max(self.admission.not_before_ns, self.now_ns + 1)
        if self.journal.state == ControllerState.FOLLOWING:
            self._hold(Reason.WAITING_FOR_CHUNK, "the instruction was withdrawn")

    def stop(self) -> None:
        if self.active:
            self.supervision.stopped = True
            self.supervision.parking = self.supervision.taken_over = False
            self.admission.not_before_ns = self.now_ns
            self._hold(Reason.STOP_REQUESTED, STOPPED)

    def resume(self) -> None:
        supervision = self.supervision
        if supervision.stopped or supervision.parking:
            supervision.stopped = supervision.parking = False
            self.holding.resume()

    def park(self) -> str:
        problem = self._not_now()
        if not problem and self._settings.park is None:
            problem = "there is no park pose: set park_joints and park_positions"
        if not problem:
            self.supervision.parking, self.supervision.parked, self.supervision.taken_over = True, False, False
        return problem

    def take_over(self, taken: bool) -> str:
        supervision, problem = self.supervision, self._not_now() if taken else ""
        if not problem and taken != supervision.taken_over:
            supervision.taken_over, supervision.person = taken, ""
            supervision.parking = False
            self.admission.not_before_ns = self.now_ns
            if not taken:
                self.holding.resume()
        return problem

    def _not_now(self) -> str:
        """Why no motion may be asked for; empty: it may."""
        if not self.active:
            return "the controller is not active"
        return "stopped: call ~/resume first" if self.supervision.stopped else ""

    # A control period.

    def step(self, now_ns: int, steady_ns: int) -> Command | None:
        """One control period: the command to send now, or None if nothing is to be sent."""
        if not self.active:
            return None
        self.journal.counters.ticks += 1
        self._watch_clock(now_ns, steady_ns)
        self.supervision.watch_tracking(self.commander.last, self.now_ns, steady_ns)
        desired = self._desired(self.now_ns, steady_ns)
        if desired is not None and self._follow(desired, steady_ns):
            return self.commander.command()
        self.journal.counters.idle_ticks += 1
        if self.supervision.silencing and self.commander.at_rest:
            # Two that hold different positions would shake the arm. And nobody knows where the other, or a fault,
            # leaves it, so, as after activation, nothing is commanded before the next motion, which starts there.
            if self.commander.last is not None:
                self.commander.reset()
                self.holding.reset()
                self.supervision.joint_states.doubt()
            return None
        self.holding.move(self.commander, self.journal.reason, steady_ns)
        return self.commander.command()

    def _watch_clock(self, now_ns: int, steady_ns: int) -> None:
        jump_s = self.supervision.clock.jump_s(now_ns, steady_ns)
        if jump_s == 0.0:
            self.now_ns = max(now_ns, self.now_ns)
            return
        self.now_ns = self.admission.not_before_ns = now_ns
        self.supervision.clock_jumped(now_ns)
        self._hold(Reason.CLOCK_JUMP, f"the ROS clock jumped by {jump_s:+.3f} s")
        self.timeline.clock.reset(now_ns)

    def _desired(self, now_ns: int, steady_ns: int) -> Motion | None:
        """What the plan wants at this instant, or None after entering the hold that forbids it."""
        fault = self.supervision.fault(now_ns, steady_ns)
        if fault is not None:
            self.admission.not_before_ns = now_ns
            self._hold(*fault)
            return None
        chunk = self.timeline.chunk
        if self.timeline.plan is None or chunk is None:
            if self.journal.reason not in _UNTIL_NEXT_CHUNK:
                self._hold(Reason.WAITING_FOR_CHUNK, "no chunk since the last hold or activation")
            return None
        age_s = (now_ns - chunk.observed_ns) * _S
        desired = self.timeline.advance(now_ns) if age_s <= self._settings.max_action_age_s else None
        if desired is None:
            reason = Reason.JUMP_TOO_LARGE if self._jump_detail else Reason.CHUNK_EXHAUSTED
            ended = f"chunk {chunk.sequence} ended, its observation is {age_s:.2f} s old, and no newer one came"
            self._hold(reason, self._jump_detail or ended)
            return None
        self.journal.action_age_s = age_s
        return desired

    def _follow(self, desired: Motion, steady_ns: int) -> bool:
        """Commands the desired motion; False after entering the hold that forbids it."""
        clamp = self.supervision.lasting_clamp(desired, self.now_ns, steady_ns)
        if clamp:
            self.admission.not_before_ns = self.now_ns
            self._hold(Reason.PERSISTENT_CLAMPING, clamp)
            return False
        if self.commander.last is None:
            self.commander.seed(self._start)
        self.holding.followed()
        before = self.commander.last
        limited = self.commander.follow(desired)
        if limited is None or before is None:
            self.supervision.failure = "a command that is not finite was computed and not sent"
            self._hold(Reason.INTERNAL_ERROR, self.supervision.failure)
            return False
        self.journal.counters.clamp(limited.hits)
        if self._seam_ahead:
            self.journal.seam_jump = float(np.abs(limited.motion.position - before.position).max())
            self._seam_ahead = False
        self.journal.enter(Reason.NONE, "", self.now_ns)
        return True

    def _reset(self, now_ns: int) -> None:
        self.now_ns = self.admission.not_before_ns = now_ns
        self.timeline.reset(now_ns)
        self.supervision.reset()
        self.commander.reset()
        self.admission.forget()
        self.holding.reset()
        self.journal.reset()
        self._seam_ahead = False
        self._jump_detail = ""

    def _hold(self, reason: Reason, detail: str) -> None:
        self.timeline.flush(self.now_ns)
        self.journal.enter(reason, detail, self.now_ns)

    # A chunk.

    def seam(self, chunk: Chunk, now_ns: int, steady_ns: int) -> Seam:
        """What a plan is to be made from, after all that can be checked of the chunk before; nothing is changed.

        Raises:
            ChunkError: typed.
        """
        if not self.active:
            raise ChunkError(Rejection.NOT_ACCEPTING, "the controller is not active")
        self.admission.check_order(chunk, steady_ns)
        now_ns = max(now_ns, self.now_ns)
        fault = self.supervision.fault(now_ns, steady_ns)
        if fault is not None:
            raise ChunkError(Rejection.NOT_ACCEPTING, f"the controller holds: {fault[1]}")
        self.admission.check(chunk, now_ns)
        settings, timeline = self._settings, self.timeline
        start_ns = timeline.start_of(chunk, now_ns, settings.alignment == "executed")
        if start_ns + chunk.rows * chunk.step_ns <= now_ns:
            raise ChunkError(Rejection.EXPIRED, f"all {chunk.rows} rows lie in the past")
        last = self.commander.last
        if last is None:
            start = self.supervision.joint_states.start(steady_ns)
            if start is None:
                raise ChunkError(Rejection.NOT_ACCEPTING, "the controller holds: joint states do not agree")
            last = Motion.at_rest(start)
        return Seam(settings, timeline.plan, last, self.now_ns, start_ns)

    def commit(self, chunk: Chunk, seam: Seam, merged: Merged) -> None:
        """Takes a plan over.

        Raises:
            ChunkError: JUMP_TOO_LARGE; then nothing is changed.
        """
        measured, offset = self.supervision.joint_states.positions, merged.distance
        assert measured is not None, "a missing joint state is a fault"
        # In a dry run, and after a resume, the arm is not where the last command was.
        if self._settings.dry_run or self.holding.elsewhere:
            offset = offset + (measured - seam.last.position)
        self.admission.check_seam(offset)
        self._start = seam.last.position
        self.holding.merged()
        self.timeline.replace(chunk, merged.plan, self.now_ns)
        self.admission.merged(chunk)
        self.journal.counters.merge(chunk.session, chunk.sequence)
        self._seam_ahead, self._jump_detail = True, ""

    def refuse(self, chunk: Chunk, error: ChunkError) -> None:
        """Counts a refused chunk, and draws the conclusions."""
        self.journal.counters.reject(error.reason, chunk.session, chunk.sequence)
        if error.reason == Rejection.OLD_SESSION:
            self.supervision.two_sessions(str(error), self.admission.rivals_until_ns)
        if error.reason in (Rejection.JUMP_TOO_LARGE, Rejection.STEP_TOO_LARGE):
            # A running plan goes on; when it ends, or if there is none, the refusal is why the arm holds.
            self._jump_detail = str(error)
            if self.journal.state == ControllerState.HOLDING and self.journal.reason in _UNTIL_NEXT_CHUNK:
                self.journal.enter(Reason.JUMP_TOO_LARGE, str(error), self.now_ns)
