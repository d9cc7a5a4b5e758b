"""What the doctor says of an SO-101 and of cameras before any node runs."""

import cv2
import numpy as np
import pytest

from smolvla_ros.driver_examination import examine_camera, examine_so101


def told(findings):
    return [(finding.level, finding.about, finding.text + " " + finding.remedy) for finding in findings]


def test_a_sound_arm_is_told_servo_by_servo_and_nothing_is_written(emulated, calibration_file):
    found = told(examine_so101(emulated.port, calibration_file))
    assert [level for level, _, _ in found] == ["ok"] * 7
    assert found[1][1] == "shoulder_pan"
    assert "7.4 V, 31 C" in found[1][2]
    assert not any(emulated.torque(servo) for servo in range(1, 7))


@pytest.mark.parametrize(("break_it", "about", "text"), [
    (lambda bus: bus.misbehave(lambda faults: faults.silent.add(3)), "elbow_flex", "does not answer"),
    (lambda bus: bus.misbehave(lambda faults: faults.alarms.update({4: 4})), "wrist_flex", "too hot"),
    (lambda bus: bus.misbehave(lambda faults: setattr(faults, "voltage_v", 5.1)), "gripper", "power supply"),
    (lambda bus: bus.set_register(2, 31, [10, 0]), "shoulder_lift", "file of another arm"),
])  # fmt: skip
def test_what_is_wrong_with_a_servo_is_told_by_name_and_the_others_all_the_same(
    emulated, calibration_file, break_it, about, text
):
    break_it(emulated)
    found = told(examine_so101(emulated.port, calibration_file))
    assert any(level == "fail" and name == about and text in words for level, name, words in found), found
    assert {name for _, name, _ in found} >= {"shoulder_pan", "wrist_roll"}


def test_a_port_that_is_not_there_and_a_file_that_is_no_calibration_are_one_line(calibration_file, tmp_path):
    assert told(examine_so101(str(tmp_path / "none"), calibration_file))[0][:2] == ("fail", "port")
    assert told(examine_so101("/dev/null", tmp_path / "none.json"))[0][:2] == ("fail", "calibration")


def test_a_camera_is_told_with_its_rate_and_one_that_is_not_there_with_what_to_do(tmp_path):
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (64, 48))
    writer.write(np.full((48, 64, 3), 120, np.uint8))
    writer.release()
    (found,) = told(examine_camera("front", str(clip)))
    assert found[1] == "camera front"
    assert "per second, 0 of 30 broken" in found[2]
    (missing,) = told(examine_camera("wrist", str(tmp_path / "video9")))
    assert missing[0] == "fail"
    assert "plugged in" in missing[2]
