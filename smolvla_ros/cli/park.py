"""Send the arm to its park pose, gently and inside the limits; it stays there until `smolvla-ros resume`.

    smolvla-ros park

Exit code 0 when the arm is there; 1 if it has no park pose, if there is no controller, or if it was stopped on the way.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from .live import CommandFailed, add_namespace, connected

if TYPE_CHECKING:
    from smolvla_ros.client import ArmClient

_ANSWER_TIMEOUT_S, _SILENT_S = 5.0, 1.0
# What interrupts parking may last; then it is for a person to look.
_LONGEST_S = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `park`."""
    add_namespace(parser)


def run(args: argparse.Namespace) -> int:
    """Parks; 0 when the arm is there."""
    args.signals.kept = "if the arm was on its way, it goes on: `smolvla-ros stop`"
    with connected(args) as client:
        park(client)
    print("parked, until `smolvla-ros resume`")
    return 0


def park(client: ArmClient) -> None:
    """Has the controller park the arm, and waits until it is there.

    Raises:
        CommandFailed: it refuses, is stopped on the way, falls silent, or takes too long.
        ClientError: there is no controller.
    """
    from std_srvs.srv import Trigger

    from smolvla_ros.msg import ExecutionStatus

    heard: list[tuple[float, ExecutionStatus]] = []
    client.node.create_subscription(
        ExecutionStatus, "execution_status", lambda status: heard.append((time.monotonic(), status)), 1
    )
    answer = client.call(Trigger, "controller_node/park", Trigger.Request(), _ANSWER_TIMEOUT_S)
    if not answer.success:
        raise CommandFailed(f"not parked: {answer.message}")
    heard.clear()
    begin_s = time.monotonic()

    def is_over() -> bool:
        now_s = time.monotonic()
        last_s, status = heard[-1] if heard else (begin_s, None)
        del heard[:-1]
        if now_s - last_s > _SILENT_S:
            raise CommandFailed("not parked: the controller has fallen silent")
        if status is None:
            return False
        if status.state in (ExecutionStatus.STOPPED, ExecutionStatus.INACTIVE):
            raise CommandFailed(f"not parked: {status.detail or 'the controller was deactivated'}")
        if now_s - begin_s > _LONGEST_S:
            raise CommandFailed(f"not parked within {_LONGEST_S:g} s: {status.detail}")
        return bool(status.parked)

    client.wait_for(is_over, 2 * _LONGEST_S)
