"""The controller: chunks and joint states in, one command per period out.

States: INACTIVE -> HOLDING(reason) <-> FOLLOWING, and STOPPED, which only `resume` leaves. A hold slows down under the
acceleration limit and then keeps commanding the position sent last; it drops what was queued, so motion never goes on
without a chunk that is newer. Before the first motion after activation nothing is commanded at all: a restart
never moves the arm.

Threads: one lock guards everything. Every public method takes it and is atomic, so chunks, joint states and services
may come from the executor's thread while the control thread steps. Nothing is called back while the lock is held, and
the longest hold of it is one merge (1 to 2 ms). The controller owns its parts; nobody else touches them.

Time is an argument: `now_ns` on the ROS clock, `steady_ns` on a clock that neither jumps nor pauses.
"""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from .admission import Admission
from .chunk import Chunk, ChunkError, Rejection
from .commander import Command, Commander
from .plan import Motion
from .settings import ControllerSettings
from .status import ControllerState, Counters, Reason, Status, Transition
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


class Controller:
    """Turns chunks of actions into commands inside the limits. See the module for states, threads and time."""

    def __init__(self, settings: ControllerSettings):
        # Where the first motion after silence starts: the measured position when its chunk came.
        self._start = np.zeros(len(settings.limits.joints))
        self._goal: NDArray[np.float64] | None = None
        self._lock = threading.Lock()
        self._settings, self._room = settings, settings.room
        self._timeline = Timeline()
        self._admission = Admission(settings)
        self._supervision = Supervision(settings)
        self._commander = Commander(settings)
        self._transitions: deque[Transition] = deque(maxlen=256)
        self._state = ControllerState.INACTIVE
        self._reset(0)

    # Asked for from outside.

    def update(self, settings: ControllerSettings) -> None:
        """Changes the settings between two steps. Joints and period must stay the same."""
        with self._lock:
            self._settings, self._room = settings, settings.room
            for part in (self._admission, self._supervision, self._commander):
                part.apply(settings)

    def activate(self, now_ns: int, steady_ns: int) -> None:
        """Starts holding: waits for a joint state and for a chunk that were both made after this instant."""
        with self._lock:
            self._reset(now_ns)
            self._supervision.clock.start(now_ns, steady_ns)
            self._enter(ControllerState.HOLDING, Reason.WAITING_FOR_JOINT_STATES, "no joint state since activation")

    def halt(self) -> None:
        """Brakes for good; `at_rest` tells when it is time to deactivate."""
        with self._lock:
            self._supervision.halting = True

    def deactivate(self) -> None:
        """From now on nothing is commanded."""
        with self._lock:
            self._timeline.flush(self._now_ns)
            self._enter(ControllerState.INACTIVE, Reason.NONE, "")

    def withdraw(self) -> None:
        """No instruction is in force any more: brakes, and needs a chunk whose observation is later than this."""
        with self._lock:
            self._admission.not_before_ns = max(self._admission.not_before_ns, self._now_ns + 1)
            if self._state == ControllerState.FOLLOWING:
                self._hold(Reason.WAITING_FOR_CHUNK, "the instruction was withdrawn")

    def stop(self) -> None:
        """Holds until `resume`, whatever else happens."""
        with self._lock:
            if self._state != ControllerState.INACTIVE:
                self._supervision.stopped = True
                self._admission.not_before_ns = self._now_ns
                self._hold(Reason.STOP_REQUESTED, STOPPED)

    def resume(self) -> None:
        """Leaves the stop and goes, under the limits, to where the arm is found: it may have sagged or been moved.

        Motion needs a fresh chunk.
        """
        with self._lock:
            if self._supervision.stopped:
                self._supervision.stopped = False
                self._supervision.joint_states.doubt()
                self._goal, self._resuming = None, True

    def conflict(self, detail: str) -> None:
        """Somebody else commands the arm: brake, then keep silent, while `detail` is not empty."""
        with self._lock:
            self._supervision.conflict = detail

    def fail(self, detail: str) -> None:
        """Something that must not happen happened: hold until the next activation."""
        with self._lock:
            self._supervision.failure = self._supervision.failure or detail

    # Data.

    def receive_joint_positions(
        self,
        positions: NDArray[np.float64],
        now_ns: int,
        steady_ns: int,
        ages_ns: NDArray[np.int64] | None = None,
    ) -> None:
        """Takes measured positions of all joints, finite and in their order.

        Args:
            positions: [joints] in rad or m.
            now_ns, steady_ns: when the message came that told some of them.
            ages_ns: [joints], how old the measurement of each was then; None: all are new. Drivers may tell different
                joints in different messages.
        """
        with self._lock:
            if not self._supervision.joint_states.receive(positions, now_ns, steady_ns, ages_ns):
                self._counters.joint_states_rejected += 1

    def lack_joint_states(self, problem: str) -> None:
        """What is missing of the joint states, for the hold that follows from it."""
        with self._lock:
            self._supervision.joint_states.problem = problem

    def reject_joint_state(self, problem: str = "") -> None:
        """Counts a joint state that could not be used; what was known before stays, and ages."""
        with self._lock:
            self._counters.joint_states_rejected += 1
            self._supervision.joint_states.problem = problem

    def reject_chunk(self, reason: Rejection, session: int, sequence: int) -> None:
        """Counts a chunk that failed the checks of its fields."""
        with self._lock:
            self._counters.chunks_received += 1
            self._counters.reject(reason, session, sequence)

    def receive_chunk(self, chunk: Chunk, now_ns: int, steady_ns: int) -> None:
        """Merges a chunk, or refuses all of it and leaves everything as it was.

        Raises:
            ChunkError: typed, after it was counted.
        """
        with self._lock:
            self._counters.chunks_received += 1
            try:
                self._merge(chunk, max(now_ns, self._now_ns), steady_ns)
            except ChunkError as error:
                self._counters.reject(error.reason, chunk.session, chunk.sequence)
                if error.reason == Rejection.OLD_SESSION:
                    self._supervision.two_sessions(str(error), self._admission.rivals_until_ns)
                if error.reason in (Rejection.JUMP_TOO_LARGE, Rejection.STEP_TOO_LARGE):
                    self._refused_jump(str(error))
                raise

    # The control step.

    def step(self, now_ns: int, steady_ns: int) -> Command | None:
        """One control period: the command to send now, or None if nothing is to be sent."""
        with self._lock:
            if self._state == ControllerState.INACTIVE:
                return None
            self._counters.ticks += 1
            self._watch_clock(now_ns, steady_ns)
            self._supervision.watch_tracking(self._commander.last, self._now_ns, steady_ns)
            desired = self._desired(self._now_ns, steady_ns)
            if desired is not None and self._follow(desired, steady_ns):
                return self._commander.command()
            self._counters.idle_ticks += 1
            if self._supervision.conflict and self._commander.at_rest:
                # Two that hold different positions would shake the arm. And nobody knows where the other leaves it, so,
                # as after activation, nothing is commanded before the next motion, which starts where the arm is.
                if self._commander.last is not None:
                    self._commander.reset()
                    self._supervision.joint_states.doubt()
                return None
            self._commander.hold(self._goal_of_hold(steady_ns))
            return self._commander.command()

    # What it tells.

    @property
    def at_rest(self) -> bool:
        """Whether no joint is commanded to move."""
        with self._lock:
            return self._commander.at_rest

    def look_ahead(self, spacing_s: float, points: int) -> list[Command]:
        """The present command and the ones that would follow if nothing new came, `spacing_s` apart."""
        with self._lock:
            return self._commander.look_ahead(self._timeline.plan, self._now_ns, spacing_s, points)

    def take_transitions(self) -> list[Transition]:
        """The changes of state or reason since the last call, oldest first."""
        with self._lock:
            taken = list(self._transitions)
            self._transitions.clear()
            return taken

    def status(self) -> Status:
        """A snapshot of everything after the last step."""
        with self._lock:
            timeline, counters = self._timeline, self._counters
            chunk, plan = timeline.chunk, timeline.plan
            return Status(
                now_ns=self._now_ns,
                state=self._state,
                reason=self._reason,
                detail=self._detail,
                session=chunk.session if chunk else 0,
                sequence=chunk.sequence if chunk else 0,
                row=timeline.row,
                remaining_rows=timeline.queued,
                remaining_s=plan.remaining_s(self._now_ns) if plan else 0.0,
                action_age_s=self._action_age_s,
                seam_jump=self._seam_jump,
                idle_fraction=counters.idle_ticks / max(1, counters.ticks),
                rows_received=timeline.received,
                rows_executed=timeline.executed,
                rows_discarded=timeline.discarded,
                rows_queued=timeline.queued,
                counters=counters.copy(),
            )

    # Below here the lock is held.

    def _reset(self, now_ns: int) -> None:
        self._now_ns = self._admission.not_before_ns = now_ns
        self._timeline.reset(now_ns)
        self._supervision.reset()
        self._commander.reset()
        self._counters = Counters(len(self._settings.limits.joints))
        self._admission.forget()
        self._reason, self._detail = Reason.NONE, ""
        # After a resume: the measured position is not known yet, or is being gone to.
        self._resuming, self._goal = False, None
        self._seam_ahead = False
        self._jump_detail = ""
        self._action_age_s = self._seam_jump = -1.0

    def _enter(self, state: ControllerState, reason: Reason, detail: str) -> None:
        if (state, reason) != (self._state, self._reason):
            self._transitions.append(Transition(self._now_ns, state, reason, detail))
        self._state, self._reason, self._detail = state, reason, detail

    def _hold(self, reason: Reason, detail: str) -> None:
        self._timeline.flush(self._now_ns)
        self._enter(
            ControllerState.STOPPED if reason == Reason.STOP_REQUESTED else ControllerState.HOLDING, reason, detail
        )

    def _watch_clock(self, now_ns: int, steady_ns: int) -> None:
        jump_s = self._supervision.clock.jump_s(now_ns, steady_ns)
        if jump_s == 0.0:
            self._now_ns = max(now_ns, self._now_ns)
            return
        self._now_ns = self._admission.not_before_ns = now_ns
        self._supervision.clock_jumped(now_ns)
        self._hold(Reason.CLOCK_JUMP, f"the ROS clock jumped by {jump_s:+.3f} s")
        self._timeline.clock.reset(now_ns)

    def _desired(self, now_ns: int, steady_ns: int) -> Motion | None:
        """What the plan wants at this instant, or None after entering the hold that forbids it."""
        fault = self._supervision.fault(now_ns, steady_ns)
        if fault is not None:
            self._admission.not_before_ns = now_ns
            self._hold(*fault)
            return None
        chunk = self._timeline.chunk
        if self._timeline.plan is None or chunk is None:
            if self._reason not in _UNTIL_NEXT_CHUNK:
                self._hold(Reason.WAITING_FOR_CHUNK, "no chunk since the last hold or activation")
            return None
        age_s = (now_ns - chunk.observed_ns) * _S
        desired = self._timeline.advance(now_ns) if age_s <= self._settings.max_action_age_s else None
        if desired is None:
            reason = Reason.JUMP_TOO_LARGE if self._jump_detail else Reason.CHUNK_EXHAUSTED
            ended = f"chunk {chunk.sequence} ended, its observation is {age_s:.2f} s old, and no newer one came"
            self._hold(reason, self._jump_detail or ended)
            return None
        self._action_age_s = age_s
        return desired

    def _follow(self, desired: Motion, steady_ns: int) -> bool:
        """Commands the desired motion; False after entering the hold that forbids it."""
        clamp = self._supervision.lasting_clamp(desired, self._now_ns, steady_ns)
        if clamp:
            self._admission.not_before_ns = self._now_ns
            self._hold(Reason.PERSISTENT_CLAMPING, clamp)
            return False
        if self._commander.last is None:
            self._commander.seed(self._start)
        self._goal = None
        before = self._commander.last
        limited = self._commander.follow(desired)
        if limited is None or before is None:
            self._supervision.failure = "a command that is not finite was computed and not sent"
            self._hold(Reason.INTERNAL_ERROR, self._supervision.failure)
            return False
        if limited.hits is not None:
            self._counters.position.count(limited.hits.position)
            self._counters.velocity.count(limited.hits.velocity)
            self._counters.acceleration.count(limited.hits.acceleration)
        if self._seam_ahead:
            self._seam_jump = float(np.abs(limited.motion.position - before.position).max())
            self._seam_ahead = False
        self._enter(ControllerState.FOLLOWING, Reason.NONE, "")
        return True

    def _merge(self, chunk: Chunk, now_ns: int, steady_ns: int) -> None:
        if self._state == ControllerState.INACTIVE:
            raise ChunkError(Rejection.NOT_ACCEPTING, "the controller is not active")
        # Check: nothing is changed before the last one has passed, but for what was heard.
        self._admission.hear(chunk, steady_ns)
        fault = self._supervision.fault(now_ns, steady_ns)
        if fault is not None:
            raise ChunkError(Rejection.NOT_ACCEPTING, f"the controller holds: {fault[1]}")
        self._admission.check(chunk, now_ns)
        settings, timeline = self._settings, self._timeline
        start_ns = timeline.start_of(chunk, now_ns, settings.alignment == "executed")
        plan = timeline.merged(chunk, start_ns, settings)
        if plan.expiry_ns <= now_ns:
            raise ChunkError(Rejection.EXPIRED, f"all {chunk.rows} rows lie in the past")
        measured = self._supervision.joint_states.positions
        assert measured is not None, "a missing joint state is a fault"
        last = self._commander.last
        if last is None:
            start = self._supervision.joint_states.start(steady_ns)
            if start is None:
                raise ChunkError(Rejection.NOT_ACCEPTING, "the controller holds: joint states do not agree")
            last = Motion.at_rest(start)
        # The last command was for the last step, which may have been just before row 0.
        distance = plan.join(last, self._now_ns, self._room, settings.ease_in_rows * chunk.step_ns * _S)
        # In a dry run, and after a resume, the arm is not where the last command was.
        elsewhere = settings.dry_run or self._resuming or self._goal is not None
        self._admission.check_seam(distance + (measured - last.position) if elsewhere else distance)
        # Commit.
        self._start, self._resuming = last.position, False
        timeline.replace(chunk, plan, now_ns)
        self._admission.merged(chunk)
        self._counters.merge(chunk.session, chunk.sequence)
        self._seam_ahead, self._jump_detail = True, ""

    def _goal_of_hold(self, steady_ns: int) -> NDArray[np.float64] | None:
        """Where a hold goes to: nowhere, or after a resume to the measured position, once it is beyond doubt."""
        supervision = self._supervision
        if supervision.stopped or supervision.conflict or supervision.halting:
            self._goal = None
        elif self._resuming and not supervision.joint_states.doubted:
            self._goal = supervision.joint_states.start(steady_ns)
            self._resuming = self._goal is None
        return self._goal

    def _refused_jump(self, detail: str) -> None:
        """A running plan goes on; when it ends, or if there is none, the refusal is why the arm holds."""
        self._jump_detail = detail
        if self._state == ControllerState.HOLDING and self._reason in _UNTIL_NEXT_CHUNK:
            self._enter(ControllerState.HOLDING, Reason.JUMP_TOO_LARGE, detail)
