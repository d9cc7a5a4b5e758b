"""Let a person command the arm, by a program that publishes goals on `person_commands`; `--end` gives it back.

    smolvla-ros takeover
    smolvla-ros takeover --end

For a gamepad or a program of your own: `smolvla-ros teleop` with a leader arm does it by itself. Until the end the
policy commands nothing, and status and bag call the time an intervention. Exit code 0 when the controller has said so.
"""

from __future__ import annotations

import argparse

from .live import CommandFailed, add_namespace, connected

_TIMEOUT_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `takeover`."""
    parser.add_argument("--end", action="store_true", help="give the arm back to the policy")
    add_namespace(parser)


def run(args: argparse.Namespace) -> int:
    """Asks the controller; 0 if it agreed."""
    from std_srvs.srv import SetBool

    args.signals.kept = "controller_node/takeover was not answered"
    with connected(args) as client:
        answer = client.call(SetBool, "controller_node/takeover", SetBool.Request(data=not args.end), _TIMEOUT_S)
    if not answer.success:
        raise CommandFailed(f"controller_node/takeover refused: {answer.message}")
    print(answer.message)
    return 0
