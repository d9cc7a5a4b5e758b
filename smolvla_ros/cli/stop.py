"""Stop the arm where it is: brakes inside the limits and holds until `smolvla-ros resume`.

    smolvla-ros stop
    smolvla-ros stop --namespace left

Exit code 0 when the controller has said so; 1 if there is none.
"""

from __future__ import annotations

import argparse

from .live import add_namespace
from .triggers import trigger


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `stop`."""
    add_namespace(parser)


def run(args: argparse.Namespace) -> int:
    """Asks the node; 0 if it agreed."""
    return trigger(args, "controller_node/stop")
