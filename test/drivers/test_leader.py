"""A leader arm: what it measures is where the follower is to be. Time is driven."""

import numpy as np
import pytest

from smolvla_ros.drivers.calibration import GRIPPER_CLOSED_RAD, JOINTS
from smolvla_ros.drivers.glide import GLIDE_RAD_S
from smolvla_ros.drivers.leader import Leader
from smolvla_ros.drivers.servo_emulator import EmulatedBus

PERIOD_S = 0.02
OPEN_RAD = 1.745
CENTRE = dict.fromkeys(JOINTS, 0.0)


@pytest.fixture
def leader(bus, motors):
    return Leader(bus, motors, OPEN_RAD)


def lead(leader, emulated, motors, rad, follower, ticks, start=0):
    """Goals of some cycles while the person keeps the leader at `rad` and the follower stands still."""
    emulated.place({motors[joint].id: (motors[joint].ticks_at(rad[joint]), 0.0) for joint in JOINTS})
    goals = []
    for tick in range(start, start + ticks):
        leader.hear_follower(follower, tick * PERIOD_S)
        goals.append(leader.cycle(tick * PERIOD_S))
    return goals


@pytest.fixture
def emulated(motors):
    """Stands where it is put, as an arm in a hand does."""
    with EmulatedBus(dict.fromkeys(range(1, 7), 2048), speed=None, timed=False) as bus:
        bus.calibrate(motors.values())
        yield bus


def test_the_leader_is_free_of_torque(emulated, bus, motors):
    for servo in range(1, 7):
        emulated.set_register(servo, 40, [1])
    Leader(bus, motors, OPEN_RAD)
    assert not any(emulated.torque(servo) for servo in range(1, 7))


def test_the_follower_is_led_from_where_it_stands_and_slowly(leader, emulated, motors):
    there = dict.fromkeys(JOINTS, 0.3)
    goals = lead(leader, emulated, motors, there, CENTRE, 60)
    pan = np.array([goal["shoulder_pan"] for goal in goals])
    assert abs(pan[0]) < 1e-9
    assert np.diff(pan).max() <= GLIDE_RAD_S * PERIOD_S + 1e-9
    assert pan[-1] == pytest.approx(0.3, abs=0.002)
    assert leader.glide_left_s == 0.0


def test_once_there_the_follower_is_where_the_leader_is_at_once(leader, emulated, motors):
    lead(leader, emulated, motors, CENTRE, CENTRE, 60)
    (goal,) = lead(leader, emulated, motors, CENTRE | {"wrist_roll": -0.8}, CENTRE, 1, start=60)
    assert goal["wrist_roll"] == pytest.approx(-0.8, abs=0.002)


@pytest.mark.parametrize(("share", "expected"), [(0.0, GRIPPER_CLOSED_RAD), (1.0, OPEN_RAD), (0.5, 0.785)])
def test_the_grippers_agree_in_their_share_of_the_way(leader, emulated, motors, share, expected):
    """The leader's trigger turns less far than the follower's jaw."""
    low, high = motors["gripper"].limits_rad
    there = CENTRE | {"gripper": low + share * (high - low)}
    goal = lead(leader, emulated, motors, there, CENTRE, 250)[-1]
    assert goal["gripper"] == pytest.approx(expected, abs=0.003)


def test_without_a_follower_there_are_no_goals(leader):
    assert leader.cycle(0.0) == {}
    assert "no joint states of the follower" in leader.trouble


def test_a_follower_that_falls_silent_is_not_led_and_then_anew_from_where_it_is(leader, emulated, motors):
    lead(leader, emulated, motors, CENTRE, CENTRE, 10)
    assert leader.cycle(10 * PERIOD_S + 0.5) == {}
    (goal,) = lead(leader, emulated, motors, CENTRE, dict.fromkeys(JOINTS, -0.4), 1, start=100)
    assert goal["elbow_flex"] == pytest.approx(-0.4, abs=0.002)


def test_a_leader_that_falls_silent_gives_no_goals_and_leads_anew_from_where_the_follower_is(leader, emulated, motors):
    lead(leader, emulated, motors, CENTRE, CENTRE, 10)
    emulated.misbehave(lambda faults: faults.silent.add(2))
    goals = lead(leader, emulated, motors, CENTRE | {"shoulder_lift": 0.5}, CENTRE, 20, start=10)
    assert goals[0]  # one lost answer is no fault
    assert goals[-1] == {}
    assert "the leader is silent: shoulder_lift (servo 2: no answer" in leader.trouble
    emulated.misbehave(lambda faults: faults.silent.clear())
    (goal,) = lead(leader, emulated, motors, CENTRE | {"shoulder_lift": 0.5}, CENTRE, 1, start=30)
    assert goal["shoulder_lift"] == pytest.approx(0.0, abs=0.002)


def test_positions_of_the_follower_that_are_none_say_nothing(leader, emulated, motors):
    leader.hear_follower(CENTRE | {"gripper": float("nan"), "wheel": 3.0}, 0.0)
    assert leader.cycle(0.0) == {}
