"""The park pose and a person who takes over; the rig asserts the limits in every period."""

import numpy as np
import pytest

from smolvla_ros.execution.status import ControllerState, Reason

POSE = np.array([0.5, np.nan])


@pytest.fixture
def parking(new_rig):
    return new_rig(park=POSE)


def test_asked_in_motion_it_brakes_goes_gently_to_its_pose_and_stays_until_resume(parking):
    parking.follow(to=-0.4)
    parking.tick(20)
    elbow = parking.commands[-1][1][1]
    assert parking.controller.park() == ""
    parking.tick(300)
    assert (parking.state, parking.reason) == (ControllerState.PARKED, Reason.PARK_REQUESTED)
    assert parking.controller.parked and parking.status.parked
    shoulder, resting_elbow = parking.commands[-1][1]
    assert shoulder == pytest.approx(0.5, abs=1e-6) and abs(resting_elbow - elbow) < 0.1  # which only braked
    assert parking.deliver(parking.chunk()) == "not_accepting"
    parking.resume()
    parking.tick(10)
    parking.follow()


def test_the_way_to_the_pose_uses_a_part_of_the_limits(parking):
    parking.tick(5)
    parking.controller.park()
    parking.tick(200)
    positions = np.array([position for _, position in parking.commands])
    assert np.abs(np.diff(positions, axis=0)).max() <= 0.3 * parking.limits.velocity.max() * 0.01 + 1e-9
    assert parking.controller.parked


def test_a_stop_ends_parking_in_the_air(parking):
    parking.tick(5)
    parking.controller.park()
    parking.tick(20)
    parking.controller.stop()
    parking.tick(50)
    assert parking.state == ControllerState.STOPPED and not parking.controller.parking
    assert 0.0 < parking.commands[-1][1][0] < 0.45
    assert "resume" in parking.controller.park()


def test_what_forbids_motion_interrupts_parking_and_it_goes_on_after_that(parking):
    parking.tick(5)
    parking.controller.park()
    parking.tick(20)
    parking.silent = True
    parking.tick(60)
    assert parking.reason == Reason.JOINT_STATES_STALE and not parking.controller.parked and not parking.status.parked
    parking.silent = False
    parking.tick(300)
    assert parking.controller.parked


def test_without_a_pose_parking_is_refused(rig):
    rig.tick()
    assert "park_positions" in rig.controller.park()
    assert rig.reason == Reason.WAITING_FOR_CHUNK


def lead(rig, goal_of, periods):
    """A person's commands at 50 Hz."""
    for period in range(periods):
        if period % 2 == 0:
            rig.controller.receive_person_positions(np.full(2, goal_of(period)), rig.steady_ns)
        rig.tick()


def test_a_person_takes_over_leads_the_arm_and_gives_it_back_without_a_bump(rig):
    rig.follow(to=0.5)
    rig.tick(30)
    assert rig.controller.take_over(True) == ""
    begin = rig.commands[-1][1][0]
    lead(rig, lambda period: begin + 0.3 * np.sin(0.02 * period), 400)
    status = rig.status
    assert (status.state, status.intervention) == (ControllerState.TAKEN_OVER, True)
    assert rig.commands[-1][1][0] == pytest.approx(begin + 0.3 * np.sin(0.02 * 400), abs=0.03)
    assert rig.deliver(rig.chunk()) == "not_accepting"
    before = rig.chunk(stamp_ns=rig.now_ns - 1)
    rig.controller.take_over(False)
    rig.tick(10)
    assert rig.deliver(before) == "before_hold"
    assert rig.state == ControllerState.HOLDING and not rig.status.intervention
    rig.follow(to=0.0)


def test_a_leader_that_is_far_away_moves_nothing_and_is_told(rig):
    rig.follow()
    rig.controller.take_over(True)
    lead(rig, lambda period: 1.2, 50)
    assert "bring the leader" in rig.status.detail and rig.commands[-1][1][0] == pytest.approx(0.0, abs=0.01)


def test_a_leader_that_falls_silent_or_leaves_the_limits_leaves_the_arm_inside_them(rig):
    rig.follow()
    rig.controller.take_over(True)
    lead(rig, lambda period: min(0.01 * period, 5.0), 400)
    assert rig.commands[-1][1].max() <= rig.limits.upper.max()
    rig.tick(60)
    assert rig.state == ControllerState.TAKEN_OVER and "no command comes" in rig.status.detail
    assert not rig.speed.any()


@pytest.mark.parametrize("interrupt", ["conflict", "arm_trouble"])
def test_after_an_interruption_a_persons_goal_is_approached_gently_anew(rig, interrupt):
    rig.follow()
    rig.controller.take_over(True)
    lead(rig, lambda period: 0.3, 200)
    getattr(rig.controller, interrupt)("it is another's, or broken")
    for _ in range(40):
        lead(rig, lambda period: 0.3, 1)
        rig.measured = rig.measured - 0.01
    lead(rig, lambda period: 0.3, 5)
    getattr(rig.controller, interrupt)("")
    begin = len(rig.commands)
    lead(rig, lambda period: 0.3, 300)
    positions = np.array([position for _, position in rig.commands[begin:]])
    assert positions[0] == pytest.approx(np.full(2, -0.1), abs=1e-3)
    assert np.abs(np.diff(positions, axis=0)).max() <= 0.3 * rig.limits.velocity.max() * 0.01 + 1e-9
    assert positions[-1] == pytest.approx(np.full(2, 0.3), abs=1e-3)


def test_a_stop_ends_a_takeover(rig):
    rig.follow()
    rig.controller.take_over(True)
    lead(rig, lambda period: 0.1, 20)
    rig.controller.stop()
    lead(rig, lambda period: 0.3, 50)
    assert rig.state == ControllerState.STOPPED and not rig.status.intervention and not rig.speed.any()
    assert "resume" in rig.controller.take_over(True)
