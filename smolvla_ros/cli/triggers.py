"""The commands that call one service of a node and print its answer."""

from __future__ import annotations

import argparse

from .live import CommandFailed, connected

_TIMEOUT_S = 5.0


def trigger(args: argparse.Namespace, service: str) -> int:
    """Calls a `std_srvs/Trigger` of the arm; 0 if it did what it is there for."""
    from std_srvs.srv import Trigger

    args.signals.kept = f"{service} was not answered"
    with connected(args) as client:
        answer = client.call(Trigger, service, Trigger.Request(), _TIMEOUT_S)
    if not answer.success:
        raise CommandFailed(f"{service} refused: {answer.message or 'without a reason'}")
    print(answer.message or "done")
    return 0
