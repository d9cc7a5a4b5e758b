"""`smolvla-ros`: picks the command and turns user errors into one line and exit code 2."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bringup.options import BringUpError
from smolvla_ros.extras import missing_extra
from smolvla_ros.installation import find_ros_in_virtual_environment, transport_variables

from . import arm, check, demo, evaluate, export, play, record, replay, say, train_demo, view

COMMANDS = {
    "arm": arm,
    "say": say,
    "view": view,
    "demo": demo,
    "evaluate": evaluate,
    "record": record,
    "play": play,
    "replay": replay,
    "export": export,
    "check": check,
    "train-demo": train_demo,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="smolvla-ros", description="SmolVLA on ROS 2.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        module.add_arguments(commands.add_parser(name, help=summary, description=module.__doc__,
                                                 formatter_class=argparse.RawDescriptionHelpFormatter))
    parsed = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C; commands that run nodes do more
    find_ros_in_virtual_environment()
    os.environ.update(transport_variables())
    try:
        return COMMANDS[parsed.command].run(parsed)
    except (BagError, BringUpError) as error:
        print(f"smolvla-ros {parsed.command}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        sentence = missing_extra(error, f"smolvla-ros {parsed.command}")
        if not sentence:
            raise
        print(sentence, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
