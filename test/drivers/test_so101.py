"""When the arm may be torqued and moved; faults on the bus at random. Time is driven."""

import numpy as np
import pytest

from smolvla_ros.drivers.calibration import JOINTS
from smolvla_ros.drivers.servo_bus import PortLostError, ServoBus
from smolvla_ros.drivers.servo_check import ArmError
from smolvla_ros.drivers.so101 import ENGAGE_RAD, PATIENCE_S, QUIET_S, SO101

PERIOD_S = 0.01


def torqued(emulated):
    return [servo for servo in range(1, 7) if emulated.torque(servo)]


def test_until_a_command_comes_the_arm_is_only_read(arm, emulated, here):
    for tick in range(5):
        readings = arm.cycle(tick * PERIOD_S)
    assert [readings[joint].position_rad for joint in JOINTS] == pytest.approx(here)
    assert torqued(emulated) == []


def test_a_first_command_where_the_arm_is_takes_the_torque_on_without_a_move(arm, emulated, here):
    before = [emulated.position(servo) for servo in range(1, 7)]
    arm.command(JOINTS, here, 0.0)
    arm.cycle(0.0)
    assert arm.engaged
    assert torqued(emulated) == [1, 2, 3, 4, 5, 6]
    assert [emulated.position(servo) for servo in range(1, 7)] == pytest.approx(before, abs=1.0)


def test_a_first_command_elsewhere_is_refused_with_its_figures(arm, emulated, here):
    arm.command(JOINTS, [here[0] + ENGAGE_RAD + 0.05, *here[1:]], 0.0)
    arm.cycle(0.0)
    assert not arm.engaged
    assert torqued(emulated) == []
    assert arm.trouble.startswith("shoulder_pan is commanded")


def test_a_command_that_leaves_out_joints_moves_nothing_before_all_were_commanded(arm, emulated, here):
    arm.command(JOINTS[:5], here[:5], 0.0)
    arm.cycle(0.0)
    assert torqued(emulated) == []
    arm.command(JOINTS[5:], here[5:], PERIOD_S)
    arm.cycle(PERIOD_S)
    assert torqued(emulated) == [1, 2, 3, 4, 5, 6]


def test_commands_beyond_the_calibrated_range_stop_at_it(arm, emulated, here, motors):
    arm.command(JOINTS, here, 0.0)
    arm.cycle(0.0)
    arm.command(JOINTS, [9.0, *here[1:]], PERIOD_S)
    arm.cycle(PERIOD_S)
    arm.cycle(2 * PERIOD_S)
    assert emulated.goal(1) == motors["shoulder_pan"].range_max


@pytest.mark.parametrize(
    ("joints", "positions", "expected"),
    [(("wheel",), (0.0,), "wheel"), (("gripper",), (float("nan"),), "not finite"), (("gripper",), (), "one for each")],
)
def test_a_command_that_cannot_be_is_refused(arm, joints, positions, expected):
    with pytest.raises(ArmError, match=expected):
        arm.command(joints, positions, 0.0)


def test_an_alarm_is_named_and_ends_the_motion_until_it_is_over(arm, emulated, here):
    arm.command(JOINTS, here, 0.0)
    arm.cycle(0.0)
    emulated.misbehave(lambda faults: faults.alarms.update({4: 32}))
    arm.cycle(PERIOD_S)
    assert (arm.engaged, arm.trouble) == (False, "wrist_flex (servo 4): overload")
    goal = emulated.goal(1)
    arm.command(JOINTS, [here[0] + 0.05, *here[1:]], 2 * PERIOD_S)
    arm.cycle(2 * PERIOD_S)
    assert emulated.goal(1) == goal
    emulated.misbehave(lambda faults: faults.alarms.clear())
    arm.command(JOINTS, here, 3 * PERIOD_S)
    arm.cycle(3 * PERIOD_S)
    assert arm.engaged
    assert arm.trouble == ""
    assert torqued(emulated) == [1, 2, 3, 4, 5, 6]  # an alarm takes no torque off: nothing falls


def test_an_alarm_of_all_servos_is_one_short_sentence(arm, emulated):
    emulated.misbehave(lambda faults: faults.alarms.update(dict.fromkeys(range(1, 7), 1)))
    arm.cycle(0.0)
    assert arm.trouble == "all servos: voltage out of range"


def test_after_a_fault_commands_begin_at_the_arm_again(arm, emulated, here):
    arm.command(JOINTS, here, 0.0)
    arm.cycle(0.0)
    emulated.misbehave(lambda faults: faults.alarms.update({4: 32}))
    arm.cycle(PERIOD_S)
    emulated.misbehave(lambda faults: faults.alarms.clear())
    goal = emulated.goal(1)
    arm.command(JOINTS, [here[0] + 3 * ENGAGE_RAD, *here[1:]], 2 * PERIOD_S)
    arm.cycle(2 * PERIOD_S)
    assert not arm.engaged
    assert arm.trouble.startswith("shoulder_pan is commanded")
    assert emulated.goal(1) == goal


def test_a_refusal_stands_until_nobody_commands_or_a_command_lies_at_the_arm(arm, here):
    far = [here[0] + 3 * ENGAGE_RAD, *here[1:]]
    arm.command(JOINTS, far, 0.0)
    for now_s in (0.0, 0.5 * QUIET_S, 0.9 * QUIET_S):
        arm.cycle(now_s)
        assert arm.trouble
    arm.cycle(1.1 * QUIET_S)
    assert not arm.trouble
    arm.command(JOINTS, far, 1.0)
    arm.cycle(1.0)
    assert arm.trouble
    arm.command(JOINTS, here, 1.0 + PERIOD_S)
    arm.cycle(1.0 + PERIOD_S)
    assert (arm.engaged, arm.trouble) == (True, "")


def test_what_was_commanded_long_ago_engages_nothing(arm, emulated, here):
    arm.command(JOINTS[:5], here[:5], 0.0)
    arm.cycle(0.0)
    arm.command(JOINTS[5:], here[5:], 2 * QUIET_S)
    arm.cycle(2 * QUIET_S)
    assert torqued(emulated) == []


def test_a_servo_that_vanishes_is_missing_from_the_joint_states_and_recovers(arm, emulated, here):
    arm.command(JOINTS, here, 0.0)
    arm.cycle(0.0)
    emulated.misbehave(lambda faults: faults.silent.add(3))
    readings = arm.cycle(PERIOD_S)
    assert set(readings) == set(JOINTS) - {"elbow_flex"}
    assert arm.engaged  # one lost answer is no fault
    arm.cycle(PERIOD_S + 2 * PATIENCE_S)
    assert not arm.engaged
    assert "elbow_flex (servo 3)" in arm.trouble
    emulated.misbehave(lambda faults: faults.silent.clear())
    arm.command(JOINTS, here, 1.0)
    arm.cycle(1.0)
    assert arm.engaged
    assert arm.trouble == ""


def test_a_released_arm_stays_free_of_torque_until_the_release_is_taken_back(arm, emulated, here):
    arm.command(JOINTS, here, 0.0)
    arm.cycle(0.0)
    arm.release(True)
    for tick in range(1, 4):  # a controller that holds the arm commands it where it is
        arm.command(JOINTS, here, tick * PERIOD_S)
        arm.cycle(tick * PERIOD_S)
        assert torqued(emulated) == []
        assert "released" in arm.trouble
    arm.release(False)
    arm.command(JOINTS, here, 1.0)
    arm.cycle(1.0)
    assert (arm.engaged, arm.trouble) == (True, "")


def test_a_driver_that_starts_again_finds_the_goals_and_moves_nothing(bus, motors, emulated, here):
    first = SO101(bus, motors)
    first.command(JOINTS, here, 0.0)
    first.cycle(0.0)
    goals = [emulated.goal(servo) for servo in range(1, 7)]
    second = SO101(bus, motors)  # the first was killed
    second.cycle(0.0)
    assert [emulated.goal(servo) for servo in range(1, 7)] == goals
    assert torqued(emulated) == [1, 2, 3, 4, 5, 6]


def test_no_servo_is_sent_back_to_where_it_was_last_heard(arm, emulated, here, motors):
    arm.command(JOINTS, here, 0.0)
    arm.cycle(0.0)
    emulated.misbehave(lambda faults: faults.alarms.update({4: 32}))
    arm.cycle(PERIOD_S)
    emulated.misbehave(lambda faults: (faults.alarms.clear(), faults.silent.add(1)))
    moved = emulated.goal(1) + 60
    emulated.set_register(1, 42, [moved & 0xFF, moved >> 8])  # as one that coasts on
    for tick in (2, 3):
        arm.command(JOINTS, here, tick * PERIOD_S)
        arm.cycle(tick * PERIOD_S)
    assert not arm.engaged
    assert emulated.goal(1) == moved
    emulated.misbehave(lambda faults: faults.silent.clear())
    arm.command(JOINTS, here, 4 * PERIOD_S)
    arm.cycle(4 * PERIOD_S)
    assert arm.engaged
    assert emulated.goal(1) == moved


def test_through_hundreds_of_faults_every_goal_is_safe_and_every_fault_is_counted(emulated, here, motors):
    bus = ServoBus(emulated.port, cycle_latency_ms=5.0)
    arm = SO101(bus, motors)
    rng = np.random.default_rng(3)
    wanted, last, planted = np.array(here), {}, 0
    for tick in range(600):
        kind = rng.choice(["silent", "wrong_checksum", "cut_short"])
        broken = set(rng.choice(6, rng.integers(1, 3), replace=False) + 1) if rng.random() < 0.4 else set()

        def plant(faults, kind=kind, broken=broken):
            for name in ("silent", "wrong_checksum", "cut_short"):
                getattr(faults, name).clear()
            getattr(faults, kind).update(int(servo) for servo in broken)

        emulated.misbehave(plant)
        planted += len(broken)
        wanted = wanted + rng.uniform(-0.01, 0.01, 6)
        arm.command(JOINTS, wanted, tick * PERIOD_S)
        arm.cycle(tick * PERIOD_S)
        for motor in motors.values():
            goal = emulated.goal(motor.id)
            if emulated.torque(motor.id):
                assert motor.range_min <= goal <= motor.range_max
                assert abs(goal - last.get(motor.id, goal)) * 0.00153 <= ENGAGE_RAD + 0.02
                last[motor.id] = goal
    assert bus.failures >= planted
    bus.close()


def test_a_pulled_cable_is_told_as_such(bus, arm, emulated, monkeypatch):
    def gone(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(bus._port.ser, "write", gone)
    with pytest.raises(PortLostError, match="was the cable pulled"):
        arm.cycle(0.0)
    assert not arm.engaged
