"""States, holds and recoveries of the controller, with time driven by the test."""

import numpy as np
import pytest

from smolvla_ros.execution.chunk import Rejection
from smolvla_ros.execution.status import ControllerState, Reason

MS = 1_000_000


def test_nothing_is_commanded_before_the_first_chunk(rig):
    assert rig.tick(50) is None
    assert (rig.state, rig.reason) == (ControllerState.HOLDING, Reason.WAITING_FOR_CHUNK)


def test_without_joint_states_it_waits_for_them_and_refuses_chunks(rig):
    rig.silent = True
    rig.tick(3)
    assert rig.reason == Reason.WAITING_FOR_JOINT_STATES
    assert rig.deliver(rig.chunk()) == Rejection.NOT_ACCEPTING


def test_a_chunk_is_followed_to_its_end_and_the_last_position_held(rig):
    rig.follow(to=0.8, rows=20)
    rig.tick(100)
    assert (rig.state, rig.reason) == (ControllerState.HOLDING, Reason.CHUNK_EXHAUSTED)
    np.testing.assert_allclose(rig.commands[-1][1], 0.8, atol=1e-6)  # at rest on the last row, not beyond it
    held = rig.commands[-1][1]
    rig.tick(100)
    np.testing.assert_array_equal(rig.commands[-1][1], held)


def test_the_hold_begins_in_the_first_period_after_the_last_row(rig):
    rig.tick()
    chunk = rig.chunk(rows=10, to=0.2)
    rig.deliver(chunk)
    states = [rig.tick() is not None and rig.state for _ in range(45)]
    following = states.index(ControllerState.HOLDING)
    assert following == 10 * rig.step_ns // rig.period_ns - 1
    assert all(state == ControllerState.HOLDING for state in states[following:])


def test_commands_pass_through_the_rows_at_their_instants(new_rig):
    rig = new_rig(ease_in_rows=0)
    rig.tick()
    chunk = rig.chunk(rows=30, to=0.6)
    rig.deliver(chunk)
    start_ns = chunk.stamp_ns
    rig.tick(130)
    by_time = dict(rig.commands)
    for row in range(5, 29):  # the first rows belong to the acceleration from standing still
        np.testing.assert_allclose(by_time[start_ns + row * rig.step_ns], chunk.positions[row], atol=1e-6)


def test_rows_that_passed_before_the_chunk_arrived_are_discarded_not_executed(rig):
    rig.follow(to=0.5)
    late = rig.chunk(to=0.5)
    rig.tick(12)  # three steps of the policy
    before = rig.status
    assert rig.deliver(late) is None
    rig.tick()
    assert rig.status.row == 3
    assert rig.status.rows_discarded - before.rows_discarded == before.rows_queued + 3


def test_a_chunk_observed_before_a_stall_starts_where_the_arm_stands(rig):
    """A clock-based skip once threw away 46 of 50 rows after a stall in which nothing had moved."""
    rig.tick()
    chunk = rig.chunk(to=0.5)
    rig.tick(160)
    assert rig.deliver(chunk) is None
    rig.tick()
    assert rig.status.row == 0
    assert rig.status.rows_discarded == 0


def test_alignment_by_stamp_skips_what_passed_during_a_stall(new_rig):
    rig = new_rig(alignment="stamp")
    rig.tick()
    chunk = rig.chunk(to=0.5)
    rig.tick(160)
    assert rig.deliver(chunk) is None
    rig.tick()
    assert rig.status.row == 40


def test_only_the_rows_not_executed_before_a_stall_remain(rig):
    rig.follow(rows=10, to=0.3)
    rig.tick(19)  # now 200 ms after the first row
    chunk = rig.chunk(to=0.5)
    rig.tick(120)  # the first chunk ended 200 ms after this observation
    assert rig.reason == Reason.CHUNK_EXHAUSTED
    rig.deliver(chunk)
    rig.tick()
    assert rig.status.row in (4, 5)


def test_a_chunk_that_is_past_as_a_whole_is_refused_and_the_running_one_goes_on(rig):
    rig.follow(rows=500, to=0.5)
    short = rig.chunk(rows=5)
    rig.tick(30)
    assert rig.deliver(short) == Rejection.EXPIRED
    rig.tick()
    assert rig.state == ControllerState.FOLLOWING


def test_a_duplicate_and_an_older_chunk_are_refused(rig):
    rig.tick()
    first, second = rig.chunk(to=0.1), rig.chunk(to=0.1)
    assert rig.deliver(second) is None
    assert rig.deliver(second) == Rejection.OLD_SEQUENCE
    assert rig.deliver(first) == Rejection.OLD_SEQUENCE
    assert rig.status.counters.chunks_merged == 1


def test_a_new_session_may_begin_again_with_sequence_one(rig):
    for session in (200, 150):  # numbers of runs have no order
        rig.follow(to=0.2)
        rig.session, rig.sequence = session, 0
        assert rig.deliver(rig.chunk(to=0.2)) is None
        assert rig.status.session == session


def test_chunks_of_two_sessions_hold_the_arm_until_one_of_them_ends(rig):
    rig.follow(to=0.2)
    old_session, rig.session = rig.session, 200
    rig.deliver(rig.chunk(to=0.2))
    rig.tick()
    assert rig.deliver(rig.chunk(session=old_session)) == Rejection.OLD_SESSION
    rig.tick()
    assert rig.reason == Reason.CONFLICTING_PUBLISHER
    rig.tick(501)
    assert rig.reason == Reason.WAITING_FOR_CHUNK


def test_a_stray_chunk_of_the_largest_session_blocks_nothing_for_long(rig):
    rig.follow(to=0.2)
    mine, rig.session = rig.session, 2**64 - 1
    assert rig.deliver(rig.chunk(to=0.2)) is None
    rig.session = mine
    rig.deliver(rig.chunk(to=0.2))
    for _ in range(51):
        rig.tick(10)
        rig.deliver(rig.chunk(to=0.2))
    rig.tick()
    assert (rig.state, rig.status.session) == (ControllerState.FOLLOWING, mine)


def test_two_policies_alive_at_once_are_found_and_both_named(rig):
    rig.follow(to=0.2)
    for _ in range(3):
        rig.session = 300 - rig.session  # 100 and 200 in turns
        rig.deliver(rig.chunk(to=0.2))
        rig.tick(20)
    assert rig.reason == Reason.CONFLICTING_PUBLISHER
    assert "100" in rig.status.detail
    assert "200" in rig.status.detail


def test_a_late_duplicate_of_the_session_before_is_no_second_policy(rig):
    rig.follow(to=0.2)
    duplicate = rig.chunk(to=0.2)
    rig.deliver(duplicate)
    rig.session = 200
    rig.deliver(rig.chunk(to=0.2))
    assert rig.deliver(duplicate) == Rejection.OLD_SEQUENCE
    rig.tick()
    assert rig.state == ControllerState.FOLLOWING


def test_activation_forgets_which_sessions_were_heard(rig):
    rig.follow(to=0.2)
    mine, rig.session = rig.session, 200
    rig.deliver(rig.chunk(to=0.2))
    rig.controller.deactivate()
    rig.activate()
    rig.session, rig.sequence = mine, 0
    rig.follow(to=0.2)


def test_a_chunk_without_latency_is_joined_without_a_stop_of_one_period(rig):
    """Its row 0 lies after the last command: the plan once stood still in between, and the limiter had to catch up."""
    rig.follow(rows=50, to=1.5)
    for _ in range(8):
        rig.tick(10)
        rig.now_ns += 5 * MS
        rig.steady_ns += 5 * MS
        chunk = rig.chunk(rows=50)
        chunk.positions[:] += 0.75 * 0.04 * np.arange(50)[:, None]
        rig.deliver(chunk)
        rig.now_ns -= 5 * MS
        rig.steady_ns -= 5 * MS
    assert rig.status.counters.acceleration.ticks == 0


def test_a_refused_chunk_changes_nothing_of_the_motion(new_rig):
    one, other = new_rig(), new_rig()
    for rig in (one, other):
        rig.follow(to=0.5)
        rig.tick(30)
        if rig is other:
            assert rig.deliver(rig.chunk(start=1.9)) == Rejection.JUMP_TOO_LARGE
            assert rig.deliver(rig.chunk(stamp_ns=rig.now_ns - 4000 * MS)) is not None
        rig.tick(100)
    np.testing.assert_array_equal([p for _, p in one.commands], [p for _, p in other.commands])


def test_stamps_in_the_future_are_refused_beyond_the_tolerance(rig):
    rig.tick()
    assert rig.deliver(rig.chunk(stamp_ns=rig.now_ns + 101 * MS)) == Rejection.FUTURE_STAMP
    assert rig.deliver(rig.chunk(stamp_ns=rig.now_ns + 99 * MS)) is None


def test_an_observation_older_than_the_maximum_age_is_refused(new_rig):
    rig = new_rig(max_action_age_s=1.0)
    rig.tick()
    old = rig.chunk()
    rig.tick(101)
    assert rig.deliver(old) == Rejection.TOO_OLD


def test_age_counts_from_the_oldest_image_and_place_from_the_decision(new_rig):
    rig = new_rig(max_action_age_s=1.0)
    rig.tick()
    old_images = rig.chunk(image_stamp_ns=rig.now_ns - 1001 * MS)
    assert rig.deliver(old_images) == Rejection.TOO_OLD
    assert rig.deliver(rig.chunk(image_stamp_ns=rig.now_ns + 101 * MS)) == Rejection.FUTURE_STAMP
    assert rig.deliver(rig.chunk(image_stamp_ns=rig.now_ns - 400 * MS)) == Rejection.BEFORE_HOLD
    rig.tick(41)
    assert rig.deliver(rig.chunk(image_stamp_ns=rig.now_ns - 400 * MS)) is None
    rig.tick()
    assert rig.status.row == 0 and rig.status.action_age_s == pytest.approx(0.41)


def test_the_chunk_looked_at_last_is_told_with_its_refusal(rig):
    rig.follow(to=0.2)
    assert rig.status.counters.last_chunk == (rig.session, 1, None)
    rig.deliver(rig.chunk(start=5.0))
    assert rig.status.sequence == 1
    assert rig.status.counters.last_chunk == (rig.session, 2, Rejection.JUMP_TOO_LARGE)


def test_rows_stop_being_executed_when_their_observation_gets_too_old(new_rig):
    rig = new_rig(max_action_age_s=1.0)
    rig.follow(rows=50, to=0.5)
    rig.tick(120)
    assert rig.reason == Reason.CHUNK_EXHAUSTED
    assert rig.status.action_age_s <= 1.0


def test_joint_states_that_stop_hold_the_arm_and_a_fresh_observation_is_needed_afterwards(rig):
    rig.follow(rows=200, to=1.0)
    rig.tick(20)
    rig.silent = True
    rig.tick(26)
    assert rig.reason == Reason.JOINT_STATES_STALE
    blind = rig.chunk(to=0.5)
    rig.tick(50)
    rig.silent = False
    rig.tick()
    assert rig.reason == Reason.WAITING_FOR_CHUNK
    assert rig.deliver(blind) == Rejection.BEFORE_HOLD
    assert rig.deliver(rig.chunk(to=0.5)) is None
    rig.tick()
    assert rig.state == ControllerState.FOLLOWING


def test_a_hold_in_full_motion_brakes_under_the_acceleration_limit_and_does_not_come_back(rig):
    rig.follow(rows=25, to=1.9)
    rig.tick(40)
    speed = np.diff([position for _, position in rig.commands[-2:]], axis=0)[0, 0] / 0.01
    assert speed > 1.5
    rig.controller.stop()
    at_stop = rig.commands[-1][1][0]
    rig.tick(60)
    travelled = rig.commands[-1][1][0] - at_stop
    assert rig.controller.at_rest
    assert travelled == pytest.approx(speed**2 / (2 * 20.0), rel=0.2)


def test_a_withdrawn_instruction_brakes_at_once_and_needs_a_later_observation(rig):
    rig.follow(to=1.0)
    planned = rig.chunk(to=1.2)
    rig.controller.withdraw()
    rig.tick()
    assert (rig.state, rig.reason) == (ControllerState.HOLDING, Reason.WAITING_FOR_CHUNK)
    assert rig.deliver(planned) == Rejection.BEFORE_HOLD
    rig.tick(100)
    held = rig.commands[-1][1]
    assert held.max() < 0.9
    rig.deliver(rig.chunk(to=held.max() + 0.1))
    rig.tick()
    assert rig.state == ControllerState.FOLLOWING


def test_stop_is_latched_and_resume_needs_a_fresh_chunk(rig):
    rig.follow(rows=200, to=1.0)
    rig.tick(20)
    rig.controller.stop()
    rig.tick()
    assert (rig.state, rig.reason) == (ControllerState.STOPPED, Reason.STOP_REQUESTED)
    assert rig.deliver(rig.chunk(to=0.5)) == Rejection.NOT_ACCEPTING
    rig.tick(300)
    during = rig.chunk(to=0.5)
    rig.tick()
    rig.resume()
    rig.tick()
    assert (rig.state, rig.reason) == (ControllerState.HOLDING, Reason.WAITING_FOR_CHUNK)
    assert rig.deliver(during) == Rejection.BEFORE_HOLD
    assert rig.deliver(rig.chunk(to=0.5)) is None
    rig.tick()
    assert rig.state == ControllerState.FOLLOWING


def test_stop_and_resume_between_two_periods_still_stops(rig):
    rig.follow(rows=50, to=1.5)
    rig.tick(40)
    rig.controller.stop()
    rig.resume()
    rig.tick(100)
    assert rig.reason == Reason.WAITING_FOR_CHUNK
    assert rig.controller.at_rest


def test_resume_goes_under_the_limits_to_where_the_arm_was_moved_and_motion_starts_there(rig):
    rig.follow(rows=20, to=0.4)
    rig.tick(100)
    rig.controller.stop()
    rig.tick()
    rig.blocked = True
    rig.measured = np.full(2, 1.3)
    rig.tick(40)
    np.testing.assert_allclose(rig.commands[-1][1], 0.4, atol=1e-3)
    rig.resume()
    rig.tick(80)
    np.testing.assert_allclose(rig.commands[-1][1], 1.3, atol=1e-6)
    rig.blocked = False
    rig.follow(start=1.3, to=1.3)
    np.testing.assert_allclose(rig.commands[-1][1], 1.3, atol=1e-3)


def test_resume_while_still_braking_goes_on_from_the_last_command(rig):
    """It once stepped from +1.6 to -1.6 rad/s within one period; the rig checks every command."""
    rig.follow(rows=25, to=1.5)
    rig.tick(40)
    rig.controller.stop()
    rig.tick(2)
    assert not rig.controller.at_rest
    rig.resume()
    rig.tick()
    rig.follow(to=0.0)
    rig.tick(60)


def test_resume_with_a_sagging_arm_takes_no_step(rig):
    rig.follow(rows=20, to=0.4)
    rig.tick(100)
    rig.sag = 0.2
    rig.tick(40)
    rig.controller.stop()
    rig.tick()
    rig.resume()
    rig.follow(to=0.6)
    rig.tick(100)


@pytest.mark.parametrize("what", ["activated", "resumed"])
def test_one_wrong_joint_state_moves_nothing(rig, what):
    """A single state of zeros once moved the arm by 0.8 rad in one period."""
    rig.measured[:] = 0.8
    rig.follow(start=0.8, to=0.8)
    if what == "activated":
        rig.controller.deactivate()
        rig.activate()
    else:
        rig.controller.stop()
        rig.resume()
    rig.controller.receive_joint_positions(np.zeros(2), rig.now_ns, rig.steady_ns)
    rig.silent = True
    rig.tick()
    assert rig.reason == Reason.WAITING_FOR_JOINT_STATES
    assert rig.deliver(rig.chunk(start=0.0, to=0.0)) == Rejection.NOT_ACCEPTING
    rig.silent = False
    rig.tick(5)
    rig.follow(start=0.8, to=0.8)
    rig.tick(20)
    np.testing.assert_allclose(rig.commands[-1][1], 0.8, atol=1e-3)


def test_a_state_that_no_joint_could_have_reached_is_refused_and_counted(rig):
    rig.measured[:] = 0.8
    rig.follow(start=0.8, to=0.9)
    rig.wrong = [np.zeros(2)]
    rig.tick()
    rig.wrong = []
    assert rig.status.counters.joint_states_rejected == 1
    rig.tick(20)
    assert rig.state == ControllerState.FOLLOWING


def test_two_publishers_of_joint_states_that_contradict_each_other_hold_the_arm(rig):
    rig.measured[:] = 0.8
    rig.follow(start=0.8, to=0.9, rows=100)
    rig.wrong = [np.zeros(2)]
    rig.tick(10)
    assert rig.reason == Reason.WAITING_FOR_JOINT_STATES
    assert "contradict" in rig.status.detail
    rig.wrong = []
    rig.tick(110)
    assert rig.reason == Reason.WAITING_FOR_CHUNK


def test_a_live_setting_does_not_start_a_watchdog_anew(rig):
    """With a parameter set every 0.5 s, a blocked arm was once never held."""
    from dataclasses import replace

    rig.follow(rows=50, to=1.5)
    rig.blocked = True
    for period in range(180):
        if period % 20 == 0:
            rig.controller.update(replace(rig.settings, ease_in_rows=period % 7))
        rig.tick()
    assert rig.reason == Reason.TRACKING_ERROR


def test_an_arm_that_does_not_follow_is_held_with_the_joint_named(rig):
    rig.follow(rows=50, to=1.5)
    rig.blocked = True
    rig.tick(180)
    assert rig.reason == Reason.TRACKING_ERROR
    assert "shoulder" in rig.status.detail
    rig.blocked = False
    rig.tick(60)
    assert rig.reason == Reason.WAITING_FOR_CHUNK


def test_a_dry_run_never_complains_that_the_arm_does_not_follow(new_rig):
    rig = new_rig(dry_run=True)
    rig.blocked = True
    rig.follow(rows=50, to=1.5)
    rig.tick(190)
    assert rig.reason == Reason.NONE


def test_in_a_dry_run_every_chunk_begins_where_the_arm_is_and_not_where_it_was_not_sent(new_rig):
    rig = new_rig(dry_run=True)
    rig.blocked = True
    rig.follow(rows=50, to=1.5)
    for position in (0.0, 1.0, -1.0):  # the arm stands still, or somebody else moves it
        rig.measured[:] = position
        rig.tick(130)  # nobody can move it that fast: for a second it is not believed
        assert rig.deliver(rig.chunk(to=position + 0.4)) is None
        rig.tick(100)
        assert rig.state == ControllerState.FOLLOWING
        np.testing.assert_allclose(rig.commands[-1][1], position + 0.2, atol=0.05)


def test_a_chunk_that_begins_too_far_away_is_refused_and_named_as_the_reason(rig):
    rig.tick()
    assert rig.deliver(rig.chunk(start=0.6)) == Rejection.JUMP_TOO_LARGE
    rig.tick()
    assert rig.reason == Reason.JUMP_TOO_LARGE
    assert "0.6" in rig.status.detail
    assert rig.tick() is None


def test_a_jump_in_a_later_chunk_leaves_the_running_one_alone_until_it_ends(rig):
    rig.follow(rows=20, to=0.2)
    assert rig.deliver(rig.chunk(start=1.5)) == Rejection.JUMP_TOO_LARGE
    rig.tick()
    assert rig.state == ControllerState.FOLLOWING
    rig.tick(90)
    assert rig.reason == Reason.JUMP_TOO_LARGE
    assert rig.deliver(rig.chunk(to=0.3)) is None
    rig.tick()
    assert rig.state == ControllerState.FOLLOWING


def test_rows_that_jump_are_refused(rig):
    rig.tick()
    chunk = rig.chunk(rows=10)
    chunk.positions[5:] += 0.51
    assert rig.deliver(chunk) == Rejection.STEP_TOO_LARGE


def test_a_policy_that_insists_on_leaving_the_limits_is_clamped_then_held(rig):
    rig.measured[:] = 1.8
    rig.follow(rows=100, to=2.3)
    rig.tick(390)
    assert rig.reason in (Reason.PERSISTENT_CLAMPING, Reason.CHUNK_EXHAUSTED)
    reasons = {reason for _, reason in [rig.last_transition]}
    assert rig.status.counters.position.ticks > 50
    assert reasons == {Reason.PERSISTENT_CLAMPING}
    assert rig.deliver(rig.chunk(start=1.95, to=1.5)) is None


def test_a_gripper_that_rests_on_its_limit_is_not_a_lasting_clamp(rig):
    rig.measured[:] = 2.0
    rig.follow(rows=100, start=2.05, to=2.05)
    rig.tick(300)
    assert rig.state == ControllerState.FOLLOWING
    assert rig.status.counters.position.ticks > 250


def test_a_clock_set_back_drops_everything_and_recovers_with_a_fresh_chunk(rig):
    rig.follow(rows=200, to=1.0)
    rig.tick(20)
    rig.set_clock(-10_000 * MS)
    rig.tick()
    assert rig.reason == Reason.CLOCK_JUMP
    assert rig.status.rows_queued == 0
    rig.tick(20)
    assert rig.reason == Reason.CLOCK_JUMP
    assert rig.deliver(rig.chunk(to=0.5)) is None
    rig.tick()
    assert rig.state == ControllerState.FOLLOWING


def test_a_clock_set_forward_executes_nothing_of_the_time_skipped(rig):
    rig.follow(rows=500, to=1.0)
    executed = rig.status.rows_executed
    rig.set_clock(10_000 * MS)
    rig.tick()
    assert rig.reason == Reason.CLOCK_JUMP
    assert rig.status.rows_executed == executed


def test_a_paused_clock_holds_the_plan_and_nothing_gets_stale(rig):
    rig.follow(rows=100, to=1.0)
    rig.tick(50)
    rig.silent = True
    for _ in range(500):
        rig.steady_ns += rig.period_ns
        rig.step()
    assert rig.state == ControllerState.FOLLOWING
    stood = rig.commands[-1][1]
    rig.silent = False
    rig.tick()
    assert rig.state == ControllerState.FOLLOWING
    assert np.abs(rig.commands[-1][1] - stood).max() < 0.02


@pytest.mark.parametrize("factor", [0.1, 5.0])
def test_simulated_time_at_another_speed_causes_no_hold(rig, factor):
    rig.follow(rows=400, to=0.5)
    for _ in range(90):
        rig.now_ns += int(rig.period_ns * factor)
        rig.steady_ns += rig.period_ns
        rig.step()
    assert rig.state == ControllerState.FOLLOWING


def test_a_clock_message_every_fourth_period_causes_no_hold(rig):
    rig.follow(rows=400, to=0.5)
    for tick in range(400):
        rig.now_ns += 4 * rig.period_ns if tick % 4 == 3 else 0
        rig.steady_ns += rig.period_ns
        rig.step()
    assert rig.state == ControllerState.FOLLOWING


def test_a_process_that_was_paused_for_seconds_holds_and_does_not_replay(rig):
    rig.follow(rows=30, to=0.5)
    rig.tick(10)
    executed = rig.status.rows_executed
    rig.now_ns += 3_000 * MS
    rig.steady_ns += 3_000 * MS
    rig.tick()
    assert rig.state == ControllerState.HOLDING
    assert rig.status.rows_executed == executed


def test_somebody_else_on_the_command_topic_brakes_the_arm_and_silences_the_controller(rig):
    rig.follow(rows=200, to=1.5)
    rig.tick(30)
    rig.controller.conflict("/other also publishes on joint_command")
    assert rig.tick() is not None
    assert rig.reason == Reason.CONFLICTING_PUBLISHER
    assert rig.tick(100) is None
    rig.controller.conflict("")
    rig.tick()
    assert rig.reason == Reason.WAITING_FOR_CHUNK


def test_after_somebody_else_had_the_arm_nothing_is_commanded_before_a_motion_from_where_it_is(rig):
    rig.follow(rows=200, to=1.5)
    rig.tick(30)
    rig.controller.conflict("/other also publishes on joint_command")
    rig.tick(100)
    rig.measured = rig.measured + 0.3  # the other has moved it
    rig.controller.conflict("")
    assert rig.tick(130) is None
    assert rig.reason == Reason.WAITING_FOR_CHUNK
    rig.follow()
    np.testing.assert_allclose(rig.commands[-1][1], rig.measured, atol=1e-9)


def test_an_arm_that_takes_no_commands_is_held_and_then_moved_from_where_it_is(rig):
    rig.follow(rows=200, to=1.5)
    rig.tick(30)
    rig.controller.arm_trouble("elbow: overload")
    assert rig.tick() is not None  # it brakes
    assert (rig.reason, rig.status.detail) == (Reason.ARM_NOT_READY, "elbow: overload")
    assert rig.tick(100) is None
    rig.measured = rig.measured - 0.3  # it fell
    rig.controller.arm_trouble("")
    assert rig.tick(130) is None
    assert rig.reason == Reason.WAITING_FOR_CHUNK
    rig.follow()
    np.testing.assert_allclose(rig.commands[-1][1], rig.measured, atol=1e-9)


def test_an_internal_error_holds_until_the_next_activation(rig):
    rig.follow(rows=200, to=0.5)
    rig.controller.fail("ZeroDivisionError: division by zero")
    rig.tick(10)
    assert rig.reason == Reason.INTERNAL_ERROR
    assert "ZeroDivisionError" in rig.status.detail
    rig.activate()
    rig.tick()
    assert rig.reason == Reason.WAITING_FOR_CHUNK


def test_after_deactivation_nothing_is_commanded_and_chunks_are_refused(rig):
    rig.follow(rows=200, to=0.5)
    rig.controller.deactivate()
    assert rig.tick(5) is None
    assert rig.deliver(rig.chunk()) == Rejection.NOT_ACCEPTING


def test_halting_comes_to_rest_before_deactivation(rig):
    rig.follow(rows=50, to=1.5)
    rig.tick(100)
    assert not rig.controller.at_rest
    rig.controller.halt()
    rig.tick(30)
    assert rig.controller.at_rest


def test_reactivation_needs_an_observation_made_after_it(rig):
    rig.follow(rows=50, to=0.5)
    before = rig.chunk()
    rig.tick(3)
    rig.controller.deactivate()
    rig.activate()
    rig.tick()
    assert rig.deliver(before) == Rejection.BEFORE_HOLD
    assert rig.tick() is None


def test_an_arm_found_outside_its_limits_may_only_come_back(rig):
    rig.measured[:] = 2.2
    rig.follow(start=2.2, to=2.4, rows=30)
    rig.tick(60)
    assert rig.commands[-1][1].max() <= 2.2 + 1e-9
    rig.deliver(rig.chunk(start=2.0, to=1.0))
    rig.tick(150)
    assert rig.commands[-1][1].max() < 1.3


def test_settings_change_between_two_steps_without_a_jerk(rig):
    from dataclasses import replace

    rig.follow(rows=200, to=1.0)
    rig.tick(20)
    rig.controller.update(replace(rig.settings, merge_rule="average", interpolation="linear", ease_in_rows=2))
    rig.deliver(rig.chunk(to=1.0, rows=200))
    rig.tick(100)
    assert rig.state == ControllerState.FOLLOWING


def test_the_look_ahead_starts_with_the_present_command_and_brakes_at_the_end_of_the_plan(rig):
    rig.follow(rows=20, to=0.8)
    command = rig.tick(20)
    ahead = rig.controller.look_ahead(0.05, 30)
    np.testing.assert_array_equal(ahead[0].positions, command.positions)
    positions = np.array([point.positions for point in ahead])
    assert (np.abs(np.diff(positions, axis=0)) <= 3.0 * 0.05 + 1e-9).all()
    np.testing.assert_allclose(ahead[-1].velocities, 0.0, atol=1e-9)
