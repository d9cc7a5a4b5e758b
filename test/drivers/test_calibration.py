"""LeRobot's calibration files, and its units, held against the formulas by which LeRobot normalises ticks."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.drivers.calibration import GRIPPER, JOINTS, CalibrationError, MotorCalibration, Unit, read_calibration


def lerobots_value(motor: MotorCalibration, unit: Unit, ticks: int) -> float:
    """What LeRobot 0.4 calls a position: its three ways to normalise, worked out from their definition."""
    share = (min(motor.range_max, max(motor.range_min, ticks)) - motor.range_min) / (motor.range_max - motor.range_min)
    if motor.joint == GRIPPER:
        return 100 - 100 * share if motor.drive_mode else 100 * share
    if unit == Unit.DEGREES:
        return (ticks - (motor.range_min + motor.range_max) / 2) * 360 / 4095
    return -(200 * share - 100) if motor.drive_mode else 200 * share - 100


@given(st.sampled_from(JOINTS), st.sampled_from(list(Unit)), st.sampled_from([0, 1]), st.integers(0, 1800),
       st.integers(2200, 4095), st.floats(0.0, 1.0))  # fmt: skip
def test_a_checkpoint_hears_of_each_tick_what_lerobot_would_say(joint, unit, drive_mode, low, high, share):
    motor = MotorCalibration(joint, 1, drive_mode, 0, low, high)
    ticks = round(low + share * (high - low))
    scale, offset = motor.scale_and_offset(unit)
    assert scale * motor.to_rad(ticks) + offset == pytest.approx(lerobots_value(motor, unit, ticks), abs=1e-6)


@given(st.sampled_from(JOINTS), st.sampled_from([0, 1]), st.integers(0, 4095))
def test_ticks_survive_the_way_to_rad_and_back(joint, drive_mode, ticks):
    motor = MotorCalibration(joint, 1, drive_mode, 0, 0, 4095)
    assert motor.to_ticks(motor.to_rad(ticks)) == ticks


@given(st.floats(-100.0, 100.0))
def test_no_command_leaves_the_calibrated_range(rad):
    assert 758 <= MotorCalibration("shoulder_pan", 1, 0, 0, 758, 3292).to_ticks(rad) <= 3292


def test_the_middle_of_the_range_is_zero_and_a_turn_is_a_turn(motors):
    lower, upper = motors["shoulder_pan"].limits_rad
    assert lower == pytest.approx(-upper)
    assert upper == pytest.approx((3292 - 758) / 2 * 2 * math.pi / 4095)


def test_a_gripper_that_is_mounted_the_other_way_opens_upwards_all_the_same():
    motor = MotorCalibration("gripper", 6, 1, 0, 2000, 3500)
    assert motor.to_rad(3500) == pytest.approx(-0.175)
    assert motor.to_rad(2000) > 1.0


MUTATIONS = {
    "a missing joint": (lambda data: data.pop("elbow_flex"), "lacks elbow_flex"),
    "an id twice": (lambda data: data["gripper"].update(id=1), "same servo id"),
    "a range backwards": (lambda data: data["gripper"].update(range_min=3500, range_max=2030), "moves from 3500"),
    "an offset beyond the register": (lambda data: data["gripper"].update(homing_offset=3000), "-2047 to 2047"),
    "a number as text": (lambda data: data["gripper"].update(id="6"), "id of gripper is '6'"),
    "a float": (lambda data: data["gripper"].update(range_min=1.5), "range_min of gripper"),
    "a huge number": (lambda data: data["gripper"].update(range_max=10**5000), "range_max of gripper"),
    "a missing field": (lambda data: data["gripper"].pop("drive_mode"), "drive_mode of gripper is None"),
    "no entry": (lambda data: data.update(gripper=None), "gripper is None"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_file_that_cannot_be_is_refused_by_name(calibration_file, mutation):
    change, expected = MUTATIONS[mutation]
    data = json.loads(calibration_file.read_text())
    change(data)
    if mutation == "a huge number":
        text = json.dumps(data | {"gripper": data["gripper"] | {"range_max": 0}}).replace(
            '"range_max": 0', '"range_max": 1' + "0" * 4000
        )
    else:
        text = json.dumps(data)
    calibration_file.write_text(text)
    with pytest.raises(CalibrationError, match=expected):
        read_calibration(calibration_file)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 50_000, '{"a": 1}', "\xff"])
def test_what_is_no_calibration_is_told(tmp_path, text):
    file = tmp_path / "x.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(CalibrationError, match="x.json"):
        read_calibration(file)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CalibrationError, match="No such file"):
        read_calibration(tmp_path / "x.json")
