"""What cannot be driven: each one sentence with the remedy, and no servo is torqued."""

import errno
import json
import os
import re

import pytest

from smolvla_ros.drivers.calibration import CalibrationError, read_calibration
from smolvla_ros.drivers.servo_bus import BusError, ServoBus
from smolvla_ros.drivers.servo_check import ArmError, check_servos, write_calibration
from smolvla_ros.drivers.servo_line import ServoLine
from smolvla_ros.drivers.so101 import SO101

BAUD = 1_000_000


def changed(file, joint, fields):
    data = json.loads(file.read_text())
    data[joint] |= fields
    file.write_text(json.dumps(data))


def silence_all(bus):
    bus.misbehave(lambda faults: faults.silent.update(range(1, 7)))


# What is wrong; what the sentence finds; what it says to do.
SERVOS = {
    "a missing id": (lambda bus: bus.misbehave(lambda faults: faults.silent.add(4)),
                     r"servo 4 \(wrist_flex\) does not answer", "power supply, and whether it has this id"),
    "a doubled id": (lambda bus: bus.double(3), r"servo 3 \(elbow_flex\) gives broken answers", "give each its own"),
    "no power": (silence_all, "none of the 6 servos answers", "look at the power supply"),
    "another model": (lambda bus: bus.set_register(5, 3, [10, 5]), "is model 1290, expected 777", "cannot be driven"),
    "the offset of another arm": (lambda bus: bus.set_register(2, 31, [10, 0]),
                                  r"servo 2 \(shoulder_lift\) holds .*\(10, 808, 3185\)", "give the file of this arm"),
    "the range of another arm": (lambda bus: bus.set_register(1, 11, [0, 12]), "3072.*3292", "calibrate again"),
}  # fmt: skip
FILES = {
    "ids of another arm": ("gripper", {"id": 16}, r"servo 16 \(gripper\) does not answer", "has this id"),
    "ranges of another arm": ("elbow_flex", {"range_max": 3000}, "holds homing offset.*3000", "another arm"),
    "an id twice": ("gripper", {"id": 1}, "two joints the same servo id", "calibrate again"),
    "an offset beyond the register": ("gripper", {"homing_offset": 2500}, "-2047 to 2047", "calibrate again"),
    "a gripper backwards": ("gripper", {"range_min": 3500, "range_max": 2030}, "from 3500 to 2030", "again"),
    "a drive mode of no arm": ("gripper", {"drive_mode": 2}, "drive_mode of gripper is 2", "calibrate again"),
}


def refused(file, port, baud_rate=BAUD):
    """The one sentence of a driver that opens this arm."""
    with pytest.raises((BusError, ArmError, CalibrationError)) as caught:
        motors = read_calibration(file)
        ServoLine(port, baud_rate, motors.values(), lambda bus: SO101(bus, motors)).open()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 450, text
    return text


@pytest.fixture(autouse=True)
def no_torque(emulated):
    yield
    assert not any(emulated.torque(servo) for servo in range(1, 7))


@pytest.mark.parametrize("fault", SERVOS)
def test_servos_that_are_not_those_of_the_calibration_are_refused(fault, emulated, calibration_file):
    plant, found, remedy = SERVOS[fault]
    plant(emulated)
    text = refused(calibration_file, emulated.port)
    assert re.search(found, text), text
    assert remedy in text


@pytest.mark.parametrize("fault", FILES)
def test_a_calibration_that_is_not_this_arms_is_refused(fault, emulated, calibration_file):
    joint, fields, found, remedy = FILES[fault]
    changed(calibration_file, joint, fields)
    text = refused(calibration_file, emulated.port)
    assert re.search(found, text), text
    assert remedy in text


def test_a_port_that_is_not_there_is_refused(calibration_file):
    assert "is the arm plugged in and powered, and is this its port?" in refused(calibration_file, "/dev/ttyNotThere")


def test_a_file_that_is_no_port_is_refused(calibration_file, tmp_path):
    (tmp_path / "port").write_text("")
    assert "is this its port?" in refused(calibration_file, str(tmp_path / "port"))


def test_a_port_without_rights_is_refused_with_its_group_and_a_udev_rule(calibration_file, emulated, monkeypatch):
    """As the kernel refuses it: the tests may run as root, whom it refuses nothing."""
    opened = os.open

    def refusing(path, *arguments, **named):
        if path == emulated.port:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opened(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refusing)
    text = refused(calibration_file, emulated.port)
    assert text.startswith(f"no right to use {emulated.port}: `sudo usermod -aG ")
    assert 'ATTRS{idVendor}=="1a86"' in text


def test_a_baud_rate_that_the_servos_do_not_have_is_told_as_such(calibration_file, emulated):
    assert "answers at 500000 baud" in refused(calibration_file, emulated.port, 500_000)
    assert "baud rate 12345 is not one of the servos'" in refused(calibration_file, emulated.port, 12345)


def test_a_second_driver_on_a_port_is_refused_and_the_first_goes_on(calibration_file, emulated, bus):
    text = refused(calibration_file, emulated.port)
    assert "is used by another program" in text and "end it first" in text
    assert bus.ping(1) == 777


def test_one_lost_answer_is_no_missing_servo(calibration_file, emulated, bus, motors):
    ping, lost = bus.ping, [4]

    def once(servo):
        if servo in lost:
            lost.remove(servo)
            raise BusError(f"servo {servo}: no answer to ping", servo)
        return ping(servo)

    bus.ping = once
    check_servos(bus, motors.values())
    assert not lost


def test_every_servo_that_is_wrong_is_named_at_once(calibration_file, emulated):
    emulated.misbehave(lambda faults: faults.silent.update({2, 6}))
    text = refused(calibration_file, emulated.port)
    assert text.startswith("servo 2 (shoulder_lift)") and text.endswith("the like for servo 6 (gripper)")


def test_a_calibration_is_written_into_the_servos(bus, motors, emulated):
    emulated.set_register(5, 31, [0, 0])
    emulated.set_register(5, 40, [1])
    write_calibration(bus, motors.values())
    check_servos(bus, motors.values())


def test_a_calibration_that_the_servos_hold_already_takes_no_torque_off(bus, motors, emulated):
    """A driver that starts again with write_calibration must not let go of the arm."""
    for servo in range(1, 7):
        emulated.set_register(servo, 40, [1])
    write_calibration(bus, motors.values())
    assert all(emulated.torque(servo) for servo in range(1, 7))
    emulated.release()


def test_a_port_that_was_refused_is_free_again(calibration_file, emulated):
    emulated.misbehave(lambda faults: faults.silent.add(4))
    refused(calibration_file, emulated.port)
    emulated.misbehave(lambda faults: faults.silent.clear())
    ServoBus(emulated.port).close()
