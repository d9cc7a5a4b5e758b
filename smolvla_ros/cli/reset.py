"""Put the simulated world back to its start.

    smolvla-ros reset

Not there for a real arm. Exit code 1 if no simulation runs.
"""

from __future__ import annotations

import argparse

from .live import add_namespace
from .triggers import trigger


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `reset`."""
    add_namespace(parser)


def run(args: argparse.Namespace) -> int:
    """Asks the node; 0 if it agreed."""
    return trigger(args, "sim_node/reset")
