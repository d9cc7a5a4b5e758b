"""Write the robot YAML of an SO-100 or SO-101 out of LeRobot's calibration file.

    smolvla-ros robot-from-lerobot --calibration my_arm.json --unit degrees --camera front --camera wrist \\
        --out my_arm.yaml

Scales, offsets and limits come out of the calibration: the checkpoint hears of each posture what LeRobot would have
told it. --camera names the checkpoint's cameras; --unit is what the checkpoint counts the arm's joints in.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

# Below what the servos can do, as in config/so101.yaml.
_VELOCITY, _ACCELERATION = 2.0, 10.0
_GRIPPER = {"max_velocity": 3.0, "max_acceleration": 20.0, "max_step": 2.0, "max_jump": 2.0, "tracking_tolerance": 2.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `robot-from-lerobot`."""
    parser.add_argument("--calibration", type=Path, required=True, metavar="FILE", help="LeRobot's, of the follower")
    parser.add_argument("--unit", choices=("degrees", "-100..100"), default="degrees",
                        help="of the checkpoint's joints: LeRobot's use_degrees, or its range (default: degrees)")
    parser.add_argument("--camera", action="append", default=[], metavar="NAME[=TOPIC]",
                        help="repeatable; without a topic that of `smolvla-ros arm --camera`")
    parser.add_argument("--port", default="/dev/ttyACM0", help="serial port of the arm (default: /dev/ttyACM0)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write the YAML")


def run(args: argparse.Namespace) -> int:
    """Writes the file; 1 if the calibration cannot be used or the file exists."""
    import yaml

    from smolvla_ros.drivers.calibration import CalibrationError

    if args.out.exists():
        print(f"smolvla-ros robot-from-lerobot: {args.out} exists already; expected a new file", file=sys.stderr)
        return 1
    try:
        robot = robot_parameters(args.calibration, args.unit, args.camera, args.port)
    except CalibrationError as error:
        print(f"smolvla-ros robot-from-lerobot: {error}", file=sys.stderr)
        return 1
    head = f"# An SO-100 or SO-101, out of {args.calibration.name}. The checkpoint counts in {args.unit}.\n"
    args.out.write_text(head + yaml.safe_dump(robot, sort_keys=False), encoding="utf-8")
    print(f"{args.out}: hold it against your checkpoint with `smolvla-ros check CHECKPOINT --robot {args.out}`")
    return 0


def robot_parameters(calibration: Path, unit: str, cameras: list[str], port: str) -> dict[str, Any]:
    """The parameter file as nested dictionaries. Raises CalibrationError."""
    from smolvla_ros.drivers.calibration import GRIPPER, JOINTS, CalibrationError, Unit, read_calibration

    motors = read_calibration(calibration)
    if any(camera.count("=") > 1 or not all(camera.split("=")) for camera in cameras):
        raise CalibrationError(f"cameras are {', '.join(cameras)}, expected NAME or NAME=TOPIC for each")
    given = (camera.partition("=") for camera in cameras)
    names = {name: topic or f"{name}/image_raw/compressed" for name, _, topic in given}
    shared: dict[str, Any] = {"cameras": list(names)}
    for name, topic in names.items():
        shared[f"camera.{name}"] = {"feature": f"observation.images.{name}", "topic": topic, "transport": "compressed"}
    shared["joints"] = list(JOINTS)
    controller: dict[str, Any] = {"command_type": "joint_state"}
    for joint in JOINTS:
        scale, offset = motors[joint].scale_and_offset(Unit(unit))
        shared[f"joint.{joint}"] = {"feature": f"{joint}.pos", "scale": scale, "offset": offset}
        lower, upper = motors[joint].limits_rad
        limits = _GRIPPER if joint == GRIPPER else {"max_velocity": _VELOCITY, "max_acceleration": _ACCELERATION}
        controller[f"joint.{joint}"] = {"min_position": round(lower, 4), "max_position": round(upper, 4), **limits}
    driver = {"port": port, "calibration": str(calibration.absolute())}
    return {
        "/**": {"ros__parameters": shared},
        "/**/policy_node": {"ros__parameters": {"step_s": 1 / 30}},
        "/**/controller_node": {"ros__parameters": controller},
        "/**/so101_node": {"ros__parameters": driver},
        "/**/teleop_node": {"ros__parameters": {"gripper_open_rad": round(motors[GRIPPER].limits_rad[1], 4)}},
    }
