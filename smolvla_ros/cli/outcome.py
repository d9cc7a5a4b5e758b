"""Say whether the last run did what it was told: your word counts more than that of the success topic.

    smolvla-ros outcome done
    smolvla-ros outcome failed

It goes into the bag, and with it into an exported dataset.
"""

from __future__ import annotations

import argparse

from .live import CommandFailed, add_namespace, connected

_WORDS = ("unknown", "done", "failed")
_TIMEOUT_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `outcome`."""
    parser.add_argument("outcome", choices=_WORDS, help="what became of it")
    parser.add_argument("--episode", type=int, default=0, metavar="N", help="its number (default: the last one)")
    add_namespace(parser)


def run(args: argparse.Namespace) -> int:
    """Tells the node; 0 if it noted it."""
    from smolvla_ros.srv import SetOutcome

    if args.episode < 0:
        raise CommandFailed(f"--episode is {args.episode}, expected 1 or more")
    args.signals.kept = "nothing was noted"
    with connected(args) as client:
        request = SetOutcome.Request(number=args.episode, outcome=_WORDS.index(args.outcome))
        answer = client.call(SetOutcome, "episode_node/set_outcome", request, _TIMEOUT_S)
    if not answer.success:
        raise CommandFailed(answer.message)
    print(answer.message)
    return 0
