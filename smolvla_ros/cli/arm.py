"""Bring up an arm: policy, controller and, in simulation, the simulated SO-101.

The same nodes and arguments as `ros2 launch smolvla_ros arm.launch.py`. Ends with Ctrl-C.
"""

from __future__ import annotations

import argparse

from smolvla_ros.bringup.options import ArmOptions

from .bringup_options import add_options, options_from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one option for each field of `ArmOptions`."""
    add_options(parser, ArmOptions)


def run(args: argparse.Namespace) -> int:
    """Starts the processes and stays until they end."""
    from smolvla_ros.bringup.processes import arm_processes
    from smolvla_ros.bringup.supervisor import supervise

    processes = arm_processes(options_from(args, ArmOptions))
    args.signals.kept = "the arm was brought down in order"
    return supervise(processes)
