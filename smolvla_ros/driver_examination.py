"""What is right and wrong with an SO-101's bus and with cameras before any node runs; for `doctor`. Reads only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from smolvla_ros.drivers.calibration import CalibrationError, read_calibration
from smolvla_ros.drivers.servo_bus import BusError, ServoBus
from smolvla_ros.drivers.servo_check import ArmError, check_servo
from smolvla_ros.drivers.so101 import SO101
from smolvla_ros.drivers.video import CaptureSettings, VideoError, open_source
from smolvla_ros.examination_finding import Finding

# Below 7.4 V by a servo's own tolerance, and where heat begins to cost strength.
_LOW_VOLTAGE_V, _HOT_C = 6.0, 60
_PICTURES = 30
# There is no control cycle to keep up with.
_PATIENCE_MS = 100.0
_SLOW_CAMERA_HZ = 15.0


def examine_so101(port: str, calibration: Path) -> Iterator[Finding]:
    """The port, the calibration, and each servo."""
    try:
        motors = read_calibration(calibration)
        bus = ServoBus(port, cycle_latency_ms=_PATIENCE_MS)
    except CalibrationError as error:
        yield Finding("fail", "calibration", str(error), "give LeRobot's calibration of this follower arm")
        return
    except BusError as error:
        yield Finding("fail", "port", str(error))
        return
    yield Finding("ok", "port", port)
    try:
        for joint, motor in motors.items():
            try:
                check_servo(bus, motor)
            except ArmError as error:
                yield Finding("fail", joint, str(error))
        yield from _measured(SO101(bus, motors), list(motors))
    except BusError as error:
        yield Finding("fail", "port", str(error), "pull the cable and put it in again")
    finally:
        bus.close()


def _measured(arm: SO101, joints: list[str]) -> Iterator[Finding]:
    """What the servos that answer say of themselves."""
    readings = arm.cycle(time.monotonic())
    for joint in joints:
        if joint not in readings:
            continue
        one = readings[joint].present
        text = f"{readings[joint].position_rad:.2f} rad, {one.voltage_v:.1f} V, {one.temperature_c} C"
        if one.alarms:
            yield Finding("fail", joint, f"{text}: {', '.join(one.alarms)}", "let it cool, free it, look at the supply")
        elif one.voltage_v < _LOW_VOLTAGE_V:
            yield Finding("fail", joint, text, f"expected {_LOW_VOLTAGE_V:g} V or more: look at the power supply")
        elif one.temperature_c >= _HOT_C:
            yield Finding("warn", joint, text, "it is hot: let it rest")
        else:
            yield Finding("ok", joint, text)


def examine_camera(name: str, device: str, settings: CaptureSettings | None = None) -> Iterator[Finding]:
    """Whether a camera gives pictures, what kind, and how many per second."""
    about = f"camera {name}"
    try:
        source = open_source(device, settings or CaptureSettings(640, 480, 30.0))
    except VideoError as error:
        yield Finding("fail", about, str(error))
        return
    try:
        for sentence in source.refused:
            yield Finding("warn", about, sentence)
        source.read()  # the first waits for the camera to start
        begin_s = time.monotonic()
        broken = sum(source.read() is None for _ in range(_PICTURES))
        rate_hz = _PICTURES / (time.monotonic() - begin_s)
    except VideoError as error:
        yield Finding("fail", about, str(error))
        return
    finally:
        source.close()
    text = f"{source.description}; {rate_hz:.1f} per second, {broken} of {_PICTURES} broken"
    slow = rate_hz < _SLOW_CAMERA_HZ
    yield Finding("warn" if slow or broken else "ok", about, text,
                  "more light (a long exposure lowers the rate), another USB port, a smaller picture")  # fmt: skip
