"""Bring up an arm: policy, controller and, in simulation, the simulated SO-101.

The same nodes and arguments as `ros2 launch smolvla_ros arm.launch.py`. Ends with Ctrl-C.
"""

from __future__ import annotations

import argparse
import dataclasses

from smolvla_ros.bringup.options import LOG_LEVELS, ArmOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one option for each field of `ArmOptions`."""
    for field in dataclasses.fields(ArmOptions):
        flag = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default,
                                help=field.metadata["help"])
        else:
            choices = LOG_LEVELS if field.name == "log_level" else None
            parser.add_argument(flag, default=field.default, choices=choices, help=field.metadata["help"])


def options_from(args: argparse.Namespace) -> ArmOptions:
    """The options that were given."""
    return ArmOptions(**{field.name: getattr(args, field.name) for field in dataclasses.fields(ArmOptions)})


def run(args: argparse.Namespace) -> int:
    """Starts the processes and stays until they end."""
    from smolvla_ros.bringup.processes import arm_processes
    from smolvla_ros.bringup.supervisor import supervise

    return supervise(arm_processes(options_from(args)))
