"""An emulated arm on an emulated bus, spoken to by the servo library."""

import json
import sys

import pytest

from smolvla_ros.drivers.calibration import JOINTS, read_calibration
from smolvla_ros.drivers.servo_bus import ServoBus
from smolvla_ros.drivers.servo_emulator import EmulatedBus
from smolvla_ros.drivers.so101 import SO101

CALIBRATION = {
    "shoulder_pan": {"id": 1, "drive_mode": 0, "homing_offset": -1470, "range_min": 758, "range_max": 3292},
    "shoulder_lift": {"id": 2, "drive_mode": 0, "homing_offset": 157, "range_min": 808, "range_max": 3185},
    "elbow_flex": {"id": 3, "drive_mode": 0, "homing_offset": -11, "range_min": 900, "range_max": 3090},
    "wrist_flex": {"id": 4, "drive_mode": 0, "homing_offset": 1205, "range_min": 800, "range_max": 3200},
    "wrist_roll": {"id": 5, "drive_mode": 0, "homing_offset": -2000, "range_min": 0, "range_max": 4095},
    "gripper": {"id": 6, "drive_mode": 0, "homing_offset": 902, "range_min": 2030, "range_max": 3500},
}
START = {1: 2025, 2: 1900, 3: 2000, 4: 2000, 5: 2047, 6: 2100}


@pytest.fixture
def calibration_file(tmp_path):
    file = tmp_path / "follower.json"
    file.write_text(json.dumps(CALIBRATION))
    return file


@pytest.fixture
def motors(calibration_file):
    return read_calibration(calibration_file)


@pytest.fixture(autouse=True)
def quick_threads():
    """The library polls; the emulator's thread must get the interpreter all the same."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def emulated(motors):
    with EmulatedBus(START, speed=1e6, timed=False) as bus:
        bus.calibrate(motors.values())
        yield bus


@pytest.fixture
def bus(emulated):
    bus = ServoBus(emulated.port, cycle_latency_ms=50.0)  # a test must not depend on a busy machine
    yield bus
    bus.close()


@pytest.fixture
def arm(bus, motors):
    return SO101(bus, motors)


@pytest.fixture
def here(motors):
    """Where the emulated arm stands at the start [rad], in the order of the joints."""
    return [motors[joint].to_rad(START[motors[joint].id]) for joint in JOINTS]
