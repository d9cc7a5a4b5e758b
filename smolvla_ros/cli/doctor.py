"""Look at a live arm before it moves: every topic, clock, unit and right, each line ok, warn or fail with what to do.

    smolvla-ros doctor
    smolvla-ros doctor --namespace left --seconds 5
    smolvla-ros doctor --so101 /dev/ttyACM0 --calibration FILE --camera front=/dev/video0

The third looks at an SO-101's servos and at cameras themselves, before any node runs. Only reads and listens; nothing
is published, nothing moves. Exit code 0 if nothing fails, else 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .live import CommandFailed, add_namespace, connected

if TYPE_CHECKING:
    from rich.console import Console

    from smolvla_ros.examination_finding import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `doctor`."""
    add_namespace(parser)
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="how long to listen (default: 3)")
    parser.add_argument("--so101", default="", metavar="PORT", help="look at the servos on this serial port instead")
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="with --so101: LeRobot's, of the follower")
    parser.add_argument("--camera", action="append", default=[], metavar="NAME=DEVICE",
                        help="look at this camera itself; repeatable")
    parser.add_argument("--no-units", action="store_true", help="do not read the checkpoint's statistics")


def run(args: argparse.Namespace) -> int:
    """Prints every finding; 1 if one fails."""
    from rich.console import Console

    args.signals.kept = "only looked"
    console = Console(highlight=False, soft_wrap=True)
    findings = _of_devices(args) if args.so101 or args.camera else _of_nodes(args)
    for finding in findings:
        _show(console, finding)
    failed = sum(finding.level == "fail" for finding in findings)
    warned = sum(finding.level == "warn" for finding in findings)
    console.print(f"\n{len(findings)} looked at: {failed} fail, {warned} warn")
    return 1 if failed else 0


def _of_devices(args: argparse.Namespace) -> list[Finding]:
    """The arm's servos and the cameras, by their own drivers."""
    from smolvla_ros.driver_examination import examine_camera, examine_so101
    from smolvla_ros.examination import examine_machine

    if bool(args.so101) != bool(args.calibration):
        raise CommandFailed("--so101 and --calibration go together: the servos are held against the calibration")
    if any(camera.count("=") != 1 for camera in args.camera):
        raise CommandFailed(f"cameras are {', '.join(args.camera)}, expected NAME=DEVICE for each")
    findings = list(examine_so101(args.so101, args.calibration.expanduser())) if args.so101 else []
    for camera in args.camera:
        findings += examine_camera(*camera.split("="))
    return [*findings, *examine_machine()]


def _of_nodes(args: argparse.Namespace) -> list[Finding]:
    """The arm as its nodes and topics show it."""
    from smolvla_ros.examination import examine_arm, examine_machine
    from smolvla_ros.probe import ArmProbe

    with connected(args) as client:
        probe = ArmProbe(client)
        probe.look(args.seconds)
        findings = [*examine_arm(probe), *examine_machine(probe.fifo_priority())]
        robot = probe.robot()
    if robot is not None and not args.no_units:
        findings += args.signals.wait_for(lambda: list(_units(*robot, probe.urdf_limits)))
    return findings


def _units(robot, policy, controller, urdf) -> Iterable[Finding]:  # type: ignore[no-untyped-def]
    """The checkpoint's training data against the limits of the robot."""
    import numpy as np

    from smolvla_ros.examination_finding import Finding
    from smolvla_ros.execution.urdf import UrdfLimits
    from smolvla_ros.model import CheckpointError
    from smolvla_ros.model.checkpoint.loading import read_plan
    from smolvla_ros.policy.setup import chosen_statistics
    from smolvla_ros.robot.joint_limits import joint_limits

    from .check_robot import units_found

    rows = [joint_limits(controller.joint[name], urdf.get(name, UrdfLimits())) for name in robot.joint_names]
    limits = np.array([[row[name] for row in rows] for name in ("lower", "upper")])
    try:
        plan = read_plan(policy.checkpoint, policy.revision, choices=chosen_statistics(policy))
    except CheckpointError as error:
        yield Finding("warn", "units", f"the checkpoint cannot be read on this machine: {error}",
                      "run the doctor where the policy runs")  # fmt: skip
        return
    problems, warnings = units_found(plan, robot, limits)
    for text in problems:
        yield Finding("fail", "units", text, "mend scale and offset in the robot config: docs/how_to/robots.md")
    for text in warnings:
        yield Finding("warn", "units", text, "look at `smolvla-ros check DIR --robot FILE`")
    if not problems and not warnings:
        yield Finding("ok", "units", "the training data lie inside the position limits")


def _show(console: Console, finding: Finding) -> None:
    from rich.markup import escape

    console.print(f"[{_COLOURS[finding.level]}]{finding.level:4}[/] {escape(finding.about)}: {escape(finding.text)}")
    if finding.remedy and finding.level != "ok":
        console.print(f"     {escape(finding.remedy)}")
