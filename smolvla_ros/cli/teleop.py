"""A person moves a leader arm, and the follower is where the leader is, under the follower's limits.

    smolvla-ros teleop --leader /dev/ttyACM1 --calibration leader.json \\
        --follower /dev/ttyACM0 --robot my_arm.yaml --camera front=/dev/video0 --bag session
    smolvla-ros teleop --leader /dev/ttyACM1 --calibration leader.json --sim     the simulated arm follows
    smolvla-ros teleop --leader /dev/ttyACM1 --calibration leader.json           take over an arm that is up

The follower comes to the leader slowly at first. With --follower or --sim it is brought up, without a policy, and
brought down again at the end; without, the end hands the arm back. --bag records what `smolvla-ros export` makes a
dataset of. Two arms: once with --namespace left, once with right.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from smolvla_ros.bringup.options import ArmOptions, BringUpError

from .arm import bring_up
from .bringup_options import add_options
from .live import connected

_ARM = ("camera", "dry_run", "view", "bag", "params", "remap")
_SHARED = ("robot", "namespace", "log_level", *_ARM)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `teleop`."""
    parser.add_argument("--leader", required=True, metavar="PORT", help="serial port of the leader arm")
    parser.add_argument("--calibration", required=True, metavar="FILE", help="LeRobot's, of the leader")
    parser.add_argument("--follower", default="", metavar="PORT",
                        help="bring up the SO-101 on this serial port; needs --robot")
    parser.add_argument("--sim", action="store_true", help="bring up the simulated arm")
    others = {field.name for field in dataclasses.fields(ArmOptions)} - set(_SHARED)
    add_options(parser, ArmOptions, leave_out=others)


def run(args: argparse.Namespace) -> int:
    """Leads until Ctrl-C."""
    from smolvla_ros.bringup.processes import arm_processes, teleop_process

    given: dict[str, Any] = {name: getattr(args, name) for name in _SHARED}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    options = ArmOptions(
        **given,
        sim=args.sim, so101=args.follower, policy=False, leader=args.leader, leader_calibration=args.calibration,
    )  # fmt: skip
    then = "move the leader; Ctrl-C lets go"
    if args.follower or args.sim:
        return bring_up(args, options, arm_processes(options), then)
    unused = [f"--{name.replace('_', '-')}" for name in _ARM if given[name]]
    if unused:
        raise BringUpError(f"{', '.join(unused)}: of an arm that is brought up here: give --follower or --sim, too")
    _refuse_without_an_arm(args)
    return bring_up(args, options, [teleop_process(options)], then)


def _refuse_without_an_arm(args: argparse.Namespace) -> None:
    """Nobody would hear the leader."""
    from .live import CommandFailed

    with connected(args) as client:
        there = client.nodes_there()
    if not any(name.rpartition("/")[2] == "controller_node" for name in there):
        raise CommandFailed("no controller_node is up that could follow: start `smolvla-ros arm`, or give --follower "
                            "PORT or --sim to bring the follower up here")  # fmt: skip
