"""I1 to I8 of the controller over random lives: chunks late, lost, doubled and reordered, clocks, faults, restarts.

The checks themselves stand in the rig and run in every control period.
"""

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from smolvla_ros.execution.chunk import Rejection
from smolvla_ros.execution.interpolation import INTERPOLATIONS
from smolvla_ros.execution.merge import MERGE_RULES
from smolvla_ros.execution.status import ControllerState, Reason

MS = 1_000_000


class Life(RuleBasedStateMachine):
    """The life of a controller and everything around it."""

    new_rig = None  # set by the test

    def __init__(self):
        super().__init__()
        self.rig = self.new_rig()
        self.under_way = []
        self.sessions = {self.rig.session}

    @rule(periods=st.integers(1, 80))
    def time_passes(self, periods):
        self.rig.tick(periods)

    @rule(
        rows=st.integers(1, 60), distance=st.floats(-1.0, 1.0), bend=st.floats(-0.2, 0.2), offset=st.floats(-0.4, 0.4)
    )
    def a_chunk_is_computed(self, rows, distance, bend, offset):
        chunk = self.rig.chunk(rows=rows, to=float(self.rig.measured[0]) + distance)
        chunk.positions[:] += offset + bend * np.sin(np.arange(rows))[:, None]
        self.under_way.append(chunk)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), keep=st.booleans())
    def a_chunk_arrives_in_any_order_and_maybe_twice(self, data, keep):
        index = data.draw(st.integers(0, len(self.under_way) - 1))
        chunk = self.under_way[index] if keep else self.under_way.pop(index)
        merged = self.rig.status.counters.chunks_merged
        refused = self.rig.deliver(chunk)
        assert self.rig.status.counters.chunks_merged == merged + (refused is None)
        if refused is None:
            assert self.rig.deliver(chunk) == Rejection.OLD_SEQUENCE

    @rule(rows=st.integers(5, 60), bend=st.floats(-0.1, 0.1), latency=st.integers(0, 10), periods=st.integers(1, 60))
    def a_chunk_comes_in_time(self, rows, bend, latency, periods):
        self.a_chunk_is_computed(rows, 0.3, bend, 0.0)
        self.rig.tick(latency)
        self.rig.deliver(self.under_way.pop())
        self.rig.tick(periods)

    @precondition(lambda self: self.under_way)
    @rule()
    def a_chunk_is_lost(self):
        self.under_way.pop()

    @rule(session=st.integers(1, 2**64 - 1))
    def the_policy_is_restarted(self, session):
        if session not in self.sessions:
            self.sessions.add(session)
            self.rig.session, self.rig.sequence = session, 0

    @rule(periods=st.integers(1, 60))
    def joint_states_stop_for_a_while(self, periods):
        self.rig.silent = True
        self.rig.tick(periods)
        self.rig.silent = False

    @rule(periods=st.integers(1, 200))
    def the_arm_is_blocked_for_a_while(self, periods):
        self.rig.blocked = True
        self.rig.tick(periods)
        self.rig.blocked = False

    @rule(jump_ms=st.integers(-20_000, 20_000))
    def the_clock_is_set(self, jump_ms):
        self.rig.set_clock(jump_ms * MS)

    @rule(periods=st.integers(1, 100))
    def the_clock_is_paused(self, periods):
        for _ in range(periods):
            self.rig.steady_ns += self.rig.period_ns
            self.rig.step()

    @rule(gap_ms=st.integers(20, 3_000))
    def the_process_is_suspended(self, gap_ms):
        self.rig.now_ns += gap_ms * MS
        self.rig.steady_ns += gap_ms * MS

    @rule(running=st.integers(1, 60), stopped=st.integers(0, 50), after=st.integers(0, 5))
    def it_is_stopped_in_motion_and_resumed(self, running, stopped, after):
        self.a_chunk_comes_in_time(50, 0.0, 3, running)
        self.rig.controller.stop()
        self.rig.tick(stopped)
        self.rig.resume()
        self.rig.tick(after)
        self.a_chunk_comes_in_time(50, 0.05, 0, 10)

    @rule(sag=st.floats(-0.25, 0.25))
    def the_arm_sags(self, sag):
        self.rig.sag = sag
        self.rig.tick()

    @rule(wrong=st.sampled_from([0.0, 0.8, -1.5]), periods=st.integers(1, 60))
    def somebody_else_tells_joint_states(self, wrong, periods):
        self.rig.wrong = [np.full(2, wrong)]
        self.a_chunk_comes_in_time(50, 0.0, 2, periods)
        self.rig.wrong = []

    @rule(wrong=st.sampled_from([0.0, 0.8, -1.5]), what=st.sampled_from(["activated", "resumed", "in conflict"]))
    def one_wrong_joint_state_comes_at_the_worst_moment(self, wrong, what):
        rig = self.rig
        if what == "activated":
            rig.controller.deactivate()
            rig.activate()
        elif what == "resumed":
            rig.controller.stop()
            rig.resume()
        else:
            rig.controller.conflict("/other also publishes")
            rig.tick(60)
            rig.controller.conflict("")
        rig.wrong = [np.full(2, wrong)]
        rig.tick()
        rig.wrong = []
        rig.deliver(rig.chunk(to=0.2))
        rig.tick(5)

    @rule(dry_run=st.booleans())
    def it_goes_on_as_a_dry_run_or_for_real(self, dry_run):
        self.rig.controller.deactivate()
        self.rig.settings = replace(self.rig.settings, dry_run=dry_run)
        self.rig.controller.update(self.rig.settings)
        self.rig.activate()

    @rule(periods=st.integers(1, 50))
    def another_commander_comes_and_goes(self, periods):
        self.rig.controller.conflict("/other also publishes")
        self.rig.tick(periods)
        self.rig.controller.conflict("")

    @rule(periods=st.integers(1, 50), falls=st.floats(-0.02, 0.02))
    def the_driver_takes_no_commands_for_a_while(self, periods, falls):
        self.rig.controller.arm_trouble("elbow: overload")
        for _ in range(periods):
            if self.rig.tick() is None:
                self.rig.measured = self.rig.measured + falls
        self.rig.controller.arm_trouble("")

    @rule()
    def it_is_deactivated_and_activated(self):
        self.rig.controller.deactivate()
        self.rig.activate()

    @rule()
    def it_is_killed_and_restarted(self):
        self.rig.restart()
        self.rig.executed.clear()
        assert self.rig.tick() is None  # I8

    @rule(
        merge_rule=st.sampled_from(MERGE_RULES),
        interpolation=st.sampled_from(INTERPOLATIONS),
        ease_in_rows=st.integers(0, 10),
        alignment=st.sampled_from(["executed", "stamp"]),
    )
    def settings_are_changed(self, **changes):
        self.rig.settings = replace(self.rig.settings, **changes)
        self.rig.controller.update(self.rig.settings)

    @rule()
    def everything_works_again(self):
        """Whatever happened, one fresh state and one fresh chunk get it going."""
        rig = self.rig
        rig.tick(510)  # until two sessions are forgotten, and a second publisher of joint states
        assert rig.deliver(rig.chunk()) is None, rig.status
        rig.tick()
        assert (rig.state, rig.reason) == (ControllerState.FOLLOWING, Reason.NONE)


def test_the_invariants_hold_over_random_lives(new_rig):
    Life.new_rig = staticmethod(new_rig)
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.reuse, Phase.generate),  # a life that fails is printed as it is: shrinking takes minutes
        ),
    )
