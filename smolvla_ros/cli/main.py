"""`smolvla-ros`: picks the command and turns user errors into one line and exit code 2."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Iterable, Sequence

import shtab

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bringup.options import BringUpError
from smolvla_ros.extras import missing_extra
from smolvla_ros.installation import find_ros_in_virtual_environment, transport_variables, version

from . import (
    arm,
    check,
    demo,
    doctor,
    evaluate,
    export,
    init,
    outcome,
    park,
    play,
    record,
    replay,
    reset,
    resume,
    robot_from_lerobot,
    run,
    say,
    status,
    stop,
    takeover,
    teleop,
    train_demo,
    view,
)
from .live import CommandFailed
from .signals import CommandSignals, CommandStopped

COMMANDS = {
    "arm": arm,
    "say": say,
    "run": run,
    "outcome": outcome,
    "stop": stop,
    "resume": resume,
    "park": park,
    "status": status,
    "doctor": doctor,
    "view": view,
    "reset": reset,
    "demo": demo,
    "evaluate": evaluate,
    "takeover": takeover,
    "teleop": teleop,
    "record": record,
    "play": play,
    "replay": replay,
    "export": export,
    "check": check,
    "init": init,
    "robot-from-lerobot": robot_from_lerobot,
    "train-demo": train_demo,
}
_EXAMPLES = """examples:
  smolvla-ros demo                             pictures of the simulated arm doing what it is told
  smolvla-ros arm                              the simulated arm; in another terminal:
  smolvla-ros say touch the red cube
  smolvla-ros status --watch
  smolvla-ros check DIR --robot my_arm.yaml    does a checkpoint fit this robot, units included?
  smolvla-ros doctor                           before a real arm moves

exit codes: 0 done; 1 it failed, the text says why; 2 an argument or file cannot be used; 130 and 143 after Ctrl-C and
SIGTERM. Completion: smolvla-ros --print-completion bash > ~/.local/share/bash-completion/completions/smolvla-ros"""
_FAILED, _USER_ERROR = 1, 2


def main(arguments: Sequence[str] | None = None, signals: CommandSignals | None = None) -> int:
    """Runs one command; returns the process's exit code.

    Args:
        arguments: of the command line; default: those of the process.
        signals: those listened to already; default: from here on, until the command ends.
    """
    if signals is None:
        signals = CommandSignals()
        try:
            return main(arguments, signals)
        finally:
            signals.close()
    parsed = _parse(arguments)
    signals.command = parsed.command
    find_ros_in_virtual_environment()
    os.environ.update(transport_variables())
    parsed.signals = signals
    try:
        code: int = COMMANDS[parsed.command].run(parsed)
    except (BagError, BringUpError) as error:
        print(f"smolvla-ros {parsed.command}: {error}", file=sys.stderr)
        code = _USER_ERROR
    except CommandFailed as error:
        print(f"smolvla-ros {parsed.command}: {error}", file=sys.stderr)
        code = _FAILED
    except ModuleNotFoundError as error:
        sentence = missing_extra(error, f"smolvla-ros {parsed.command}")
        if not sentence:
            raise
        print(sentence, file=sys.stderr)
        code = _USER_ERROR
    except CommandStopped:
        code = 128 + signals.number
    return signals.exit_code(code)


def command_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the command line, and that of each command."""
    parser = argparse.ArgumentParser(
        prog="smolvla-ros", description="SmolVLA on ROS 2.", epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    shtab.add_argument_to(parser, "--print-completion", help="print the completion for a shell and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    parsers = {}
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        parsers[name] = commands.add_parser(name, help=summary, description=module.__doc__,
                                            formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
        module.add_arguments(parsers[name])
    return parser, parsers


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; exits with code 2, and the name that was meant, where one is not known."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser, parsers = command_parser()
    if given and not given[0].startswith("-") and given[0] not in COMMANDS:
        parser.error(f"'{given[0]}' is no command{_meant(given[0], COMMANDS)}; there are {', '.join(COMMANDS)}")
    parsed, unknown = parser.parse_known_args(given)
    if unknown:
        command = parsers[parsed.command]
        command.error(f"'{unknown[0]}' is not known{_meant(unknown[0], command._option_string_actions)}")
    return parsed


class _Version(argparse.Action):
    """Reads the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        find_ros_in_virtual_environment()
        print(f"smolvla-ros {version()}")
        parser.exit()


def _meant(text: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(text.partition("=")[0], list(known), n=1)
    return f", did you mean '{close[0]}'?" if close else ""
