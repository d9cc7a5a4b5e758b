"""Bring up an arm: policy, controller and, in simulation, the simulated SO-101.

    smolvla-ros arm                                              the simulated arm
    smolvla-ros arm --so101 /dev/ttyACM0 --camera front=/dev/video0 --camera wrist=/dev/video2 --robot my_arm.yaml \\
        --checkpoint org/name --dry-run                          an SO-101, see docs/how_to/so101.md
    smolvla-ros arm --no-sim --checkpoint DIR --robot my_arm.yaml --dry-run      any arm that is driven already

The same nodes and arguments as `ros2 launch smolvla_ros arm.launch.py`. Says when all are ready and what to type; ends
with Ctrl-C, or with exit code 1 if a node cannot start or dies.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from smolvla_ros.bringup.options import ArmOptions

from .bringup_options import add_options, options_from
from .live import CommandFailed
from .park import park

if TYPE_CHECKING:
    import threading

    from smolvla_ros.bringup.processes import CommandProcess, NodeProcess
    from smolvla_ros.client import ArmClient

# An error is logged a moment before the state is told, but may arrive after it [s].
_ERROR_TIMEOUT_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one option for each field of `ArmOptions`."""
    add_options(parser, ArmOptions)


def run(args: argparse.Namespace) -> int:
    """Starts the processes and stays until they end."""
    from smolvla_ros.bringup.processes import arm_processes

    options = options_from(args, ArmOptions)
    return bring_up(args, options, arm_processes(options), _what_next(options))


def bring_up(
    args: argparse.Namespace, options: ArmOptions, processes: Sequence[NodeProcess | CommandProcess], then: str
) -> int:
    """Runs the processes until they end; when all nodes are up, says so and `then`."""
    from smolvla_ros.bringup.processes import NodeProcess
    from smolvla_ros.bringup.supervisor import supervise

    nodes = [_name_within(options, process) for process in processes if isinstance(process, NodeProcess)]
    failures: list[str] = []
    parks: list[bool] = []

    def work(stop: threading.Event) -> int:
        failures.extend(_start_failures(nodes, options, then, stop, parks))
        if failures:
            return 1
        stop.wait()
        if any(parks):
            _park(options)
        return 0

    args.signals.kept = "the arm was brought down in order"
    exit_code = supervise(processes, work, parts=lambda: any(parks))
    if failures and exit_code == 1:
        raise CommandFailed("; ".join(failures))
    return exit_code


def _name_within(options: ArmOptions, process: NodeProcess) -> str:
    """The node's name as the arm's namespace knows it, such as front/camera_node."""
    inside = process.namespace.strip("/").removeprefix(options.namespace.strip("/")).strip("/")
    return f"{inside}/{process.name}" if inside else process.name


class _Stopped(Exception):
    """The processes are ending."""


def _park(options: ArmOptions) -> None:
    """Before the processes end."""
    from smolvla_ros.client import ArmClient, ClientError

    print("parking before the end; Ctrl-C again ends at once", file=sys.stderr, flush=True)
    try:
        with ArmClient("smolvla_ros_arm", options.namespace) as client:
            park(client)
    except (ClientError, CommandFailed) as error:
        print(error, file=sys.stderr, flush=True)


def _start_failures(
    nodes: Sequence[str], options: ArmOptions, then: str, stop: threading.Event, parks: list[bool]
) -> list[str]:
    """Waits until every node is up and says so; what is wrong with those that cannot start.

    `parks` is told whether the arm is to be parked at the end.
    """
    from smolvla_ros.client import ArmClient

    def check() -> None:
        if stop.is_set():
            raise _Stopped

    try:
        with ArmClient("smolvla_ros_arm", options.namespace, check) as client:
            client.collect_errors()
            found = [_failure(client, node) for node in nodes]
            if "controller_node" in nodes and not options.dry_run:
                parks.append(bool(client.parameter("controller_node", "park_on_shutdown")))
    except _Stopped:
        return []
    failures = [text for text in found if text]
    if not failures:
        where = named(options)
        shown = f"smolvla-ros status{where} shows what it does"
        shown += "" if options.view else f", smolvla-ros view{where} in a browser"
        dry = " in a dry run, nothing is sent to the arm" if options.dry_run else ""
        print(f"ready{dry}: {', '.join(nodes)}; {then}; {shown}", flush=True)
    return failures


def named(options: ArmOptions) -> str:
    """The option that says which arm, for commands to type."""
    namespace = f" --namespace {options.namespace}" if options.namespace else ""
    return f"{namespace} --arm {options.arm_names[0]}" if options.arms else namespace


def _what_next(options: ArmOptions) -> str:
    if options.leader:
        return "move the leader"
    if options.instruction:
        return f"told '{options.instruction}'"
    return f"next, in another terminal: smolvla-ros say{named(options)} touch the red cube"


def _failure(client: ArmClient, node: str) -> str:
    """Why a node is not active after its automatic start; empty if it is, or is left to a lifecycle manager."""
    # It answers when it has loaded, which may take a download.
    state = client.lifecycle_state(node, math.inf)
    if state == "active" or client.parameter(node, "autostart") is False:
        return ""
    client.wait_for(lambda: client.errors(node), _ERROR_TIMEOUT_S)
    told = client.errors(node) or ["its log says why"]
    return f"{node} is {state}: " + "; ".join(told)
