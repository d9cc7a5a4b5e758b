"""A controller with an arm, a policy and two clocks, driven by the test; checks the invariants in every period."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smolvla_ros.execution.chunk import Chunk, ChunkError
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.status import ControllerState, Reason

MS = 1_000_000
JOINTS = ("shoulder", "elbow")
# Holds after which a chunk is only good if its observation was made later.
NEEDS_FRESH_OBSERVATION = {
    Reason.WAITING_FOR_JOINT_STATES,
    Reason.JOINT_STATES_STALE,
    Reason.TRACKING_ERROR,
    Reason.CONFLICTING_PUBLISHER,
    Reason.ARM_NOT_READY,
    Reason.STOP_REQUESTED,
    Reason.INTERNAL_ERROR,
}


def joint_limits(joints=JOINTS, lower=-2.0, upper=2.0, velocity=3.0, acceleration=20.0, **others):
    """The same limits for every joint."""
    values = {"lower": lower, "upper": upper, "velocity": velocity, "acceleration": acceleration}
    values |= {"step": 0.5, "jump": 0.5, "tracking": 0.5} | others
    return JointLimits(tuple(joints), **{name: np.full(len(joints), value) for name, value in values.items()})


class Rig:
    """Everything around one controller. Times in ns, control period 10 ms, policy step 40 ms.

    The arm goes to each command, but for its `sag`, as fast as its limits allow, unless `blocked`; it reports its
    positions unless `silent`, followed by those in `wrong`.
    """

    step_ns = 40 * MS

    def __init__(self, **settings):
        self.settings = ControllerSettings(**({"limits": joint_limits(), "period_s": 0.01} | settings))
        self.limits = self.settings.limits
        self.now_ns = 1_000_000 * MS
        self.steady_ns = 5_000 * MS
        self.period_ns = round(self.settings.period_s * 1e9)
        self.measured = np.zeros(len(self.limits.joints))
        self.silent = self.blocked = False
        self.sag = 0.0
        self.wrong = []  # joint states of another publisher
        self.session, self.sequence = 100, 0
        self.commands = []  # (now_ns, positions) of the whole life
        self.executed = []  # (session, sequence, row)
        self.restart()

    # The controller's life.

    def restart(self):
        """A new process: nothing is remembered."""
        self.controller = Controller(self.settings)
        self.activate()

    def activate(self):
        self.controller.activate(self.now_ns, self.steady_ns)
        self.previous, self.speed = None, np.zeros(len(self.limits.joints))
        self.last_transition = None
        self.fresh_ns = self.now_ns

    def resume(self):
        self.controller.resume()

    # The policy.

    def chunk(self, rows=50, to=None, start=None, stamp_ns=None, **fields):
        """A chunk from the measured position (or `start`) in a straight line to `to`; a constant one without."""
        start = self.measured if start is None else np.full(len(self.measured), float(start))
        end = start if to is None else np.full(len(start), float(to))
        self.sequence += 1
        return replace(
            Chunk(
                self.session,
                self.sequence,
                self.now_ns if stamp_ns is None else stamp_ns,
                self.step_ns,
                start + np.linspace(0.0, 1.0, rows)[:, None] * (end - start),
            ),
            **fields,
        )

    def deliver(self, chunk):
        """The reason of its refusal, or None."""
        try:
            self.controller.receive_chunk(chunk, self.now_ns, self.steady_ns)
        except ChunkError as error:
            return error.reason
        assert chunk.observed_ns >= self.fresh_ns, "an observation from before the hold"
        return None

    def follow(self, **chunk):
        """One period to take in the state, a chunk, and one period to begin."""
        self.tick()
        assert self.deliver(self.chunk(**chunk)) is None
        self.tick()
        assert self.state == ControllerState.FOLLOWING

    # Time.

    def tick(self, periods=1):
        """Lets control periods pass; the last command, or None."""
        command = None
        for _ in range(periods):
            self.now_ns += self.period_ns
            self.steady_ns += self.period_ns
            command = self.step()
        return command

    def set_clock(self, by_ns):
        """The ROS clock is set; what counted as fresh before cannot lie in the future."""
        self.now_ns += by_ns
        self.fresh_ns = min(self.fresh_ns, self.now_ns)

    def step(self):
        """One control step at the present instants, with all checks."""
        if not self.silent:
            # The arm tells its state more often than it is commanded; what somebody else says comes last.
            for told in (self.measured, self.measured, self.measured, *self.wrong):
                self.controller.receive_joint_positions(told.copy(), self.now_ns, self.steady_ns)
        command = self.controller.step(self.now_ns, self.steady_ns)
        status = self.controller.status()
        self._check_status(status)
        self._check_command(command, status)
        if command is not None and not self.blocked and not self.settings.dry_run:
            reach = self.limits.velocity * self.settings.period_s
            self.measured = self.measured + np.clip(command.positions - self.sag - self.measured, -reach, reach)
        return command

    @property
    def status(self):
        return self.controller.status()

    @property
    def state(self):
        return self.status.state

    @property
    def reason(self):
        return self.status.reason

    # The invariants.

    def _check_status(self, status):
        # I4
        assert status.rows_received == status.rows_executed + status.rows_discarded + status.rows_queued
        assert status.counters.chunks_received == status.counters.chunks_merged + status.counters.chunks_rejected
        # I6: every hold has one reason, and a change is told once.
        assert (status.reason == Reason.NONE) == (status.state in (ControllerState.FOLLOWING, ControllerState.INACTIVE))
        for transition in self.controller.take_transitions():
            assert (transition.state, transition.reason) != self.last_transition
            self.last_transition = (transition.state, transition.reason)
        if status.reason in NEEDS_FRESH_OBSERVATION:
            self.fresh_ns = status.now_ns
        if status.state == ControllerState.FOLLOWING:
            # I5: whoever follows has something to follow.
            assert status.remaining_s > 0.0
            assert status.action_age_s >= -self.settings.future_tolerance_s
            # I3, I7
            assert status.action_age_s <= self.settings.max_action_age_s
            executed = (status.session, status.sequence, status.row)
            same_session = self.executed and self.executed[-1][0] == status.session
            assert not same_session or executed >= self.executed[-1]
            self.executed.append(executed)

    def _check_command(self, command, status):
        if command is None:
            silenced = self.controller._machine.supervision.silencing
            assert not self.speed.any() or status.state == ControllerState.INACTIVE or silenced, "silence in motion"
            # Others may have moved the arm, so what is commanded next must begin where it truly is.
            self.previous, self.speed = None, np.zeros(len(self.measured))
            return
        # I2
        assert status.state != ControllerState.INACTIVE
        position, period_s = command.positions, self.settings.period_s
        # I1, without exception: from the command before, or from the true posture at rest if nothing was commanded.
        assert np.isfinite(position).all() and np.isfinite(command.velocities).all()
        start = self.measured if self.previous is None else self.previous
        speed = (position - start) / period_s
        assert (position >= np.minimum(self.limits.lower, np.minimum(start, self.measured)) - 1e-9).all()
        assert (position <= np.maximum(self.limits.upper, np.maximum(start, self.measured)) + 1e-9).all()
        assert (np.abs(speed) <= self.limits.velocity + 1e-7).all(), "faster than the limit"
        change = np.abs(speed - self.speed)
        assert (change <= self.limits.acceleration * period_s + 1e-7).all(), "more acceleration than the limit"
        self.previous, self.speed = position.copy(), speed
        self.commands.append((self.now_ns, self.previous))


@pytest.fixture
def new_rig():
    """Makes a `Rig`; keyword arguments are those of `Settings`."""
    return Rig


@pytest.fixture
def rig():
    return Rig()


@pytest.fixture(name="joint_limits")
def _joint_limits():
    return joint_limits
