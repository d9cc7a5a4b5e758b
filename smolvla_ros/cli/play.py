"""Play a bag to the policy and the controller, which run by its time and send no command.

    smolvla-ros play session
    smolvla-ros play session --rate 0.5 --start 12 --checkpoint DIR

The same nodes and arguments as `ros2 launch smolvla_ros replay.launch.py`. The space key pauses and goes on; so do the
services `player_node/pause` and `player_node/resume`. Ends with the bag, or with Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smolvla_ros.bringup.options import ReplayOptions

from .bringup_options import add_options, options_from
from .live import refuse_beside_another_arm

if TYPE_CHECKING:
    import threading

    from smolvla_ros.nodes.player_node import Played, PlayerNode

# How often the position is shown [s].
_SHOWN_S = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the bag and one option for each other field of `ReplayOptions`."""
    parser.add_argument("bag", help="folder or file of the bag")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC",
                        help="topics to play; default: all that the robot said")
    parser.add_argument("--remap", action="append", default=[], metavar="A:=B",
                        help="play topic A of the bag as B; repeatable")
    add_options(parser, ReplayOptions, leave_out=["bag", "topics", "remap"])


def run(args: argparse.Namespace) -> int:
    """Plays the bag; 0 at its end, 1 if a node failed, 3 if the bag is damaged."""
    from smolvla_ros.bringup.processes import arm_processes
    from smolvla_ros.bringup.replay import plan_replay
    from smolvla_ros.bringup.supervisor import supervise

    args.topics, args.remap = " ".join(args.topics), " ".join(args.remap)
    options = options_from(args, ReplayOptions)
    if not options.topics_only:
        refuse_beside_another_arm(args)
    with args.signals.deferred(), tempfile.TemporaryDirectory(prefix="smolvla_ros_") as folder:
        plan = plan_replay(options, Path(folder))
        processes = () if plan.arm is None else arm_processes(plan.arm)
        names = tuple(process.name for process in processes)
        args.signals.kept = "nothing was sent to an arm, the bag is as it was"
        return supervise(processes, lambda stop: _play(options, plan.topics, names, stop), lambda: args.signals.number)


def _play(options: ReplayOptions, topics: tuple[str, ...], wait_for: tuple[str, ...], stop: threading.Event) -> int:
    from smolvla_ros.bags.reader import open_bag
    from smolvla_ros.nodes.player_node import Player, PlayError, PlaySettings

    settings = PlaySettings(
        topics=topics, rate=options.rate, start_s=options.start, loop=options.loop, paused=options.start_paused,
        wait_for=wait_for, remap=options.remap.split(),
    )  # fmt: skip
    with open_bag(options.bag) as bag, Player(bag, settings, options.namespace) as player:
        try:
            toggle = {" ": lambda: player.resume() if player.paused else player.pause()}
            with keys(toggle), _position(player, (bag.end_ns - bag.start_ns) * 1e-9):
                player.play(stop)
        except PlayError as error:
            print(f"smolvla-ros play: {error}", file=sys.stderr)
            return 1
        _report(player.played)
        for defect in bag.defects:
            print(f"smolvla-ros play: {defect}", file=sys.stderr)
        return 3 if bag.defects else 0


def _report(played: Played) -> None:
    laps = f" in {played.laps} laps" if played.laps > 1 else ""
    print(f"played {played.messages} messages{laps}; none was more than {1e3 * played.latest_s:.0f} ms late")


@contextmanager
def _position(player: PlayerNode, length_s: float) -> Iterator[None]:
    """Shows on a terminal where in the bag it is, and whether it is paused; elsewhere only a pause, once."""
    import threading

    terminal, ended = sys.stderr.isatty(), threading.Event()

    def text() -> str:
        state = "paused, space goes on" if player.paused else "space pauses"
        return f"{max(0.0, player.position_s):.1f} of {length_s:.1f} s ({state})"

    def show() -> None:
        while not ended.wait(_SHOWN_S):
            print(f"\r\x1b[K{text()}", end="", file=sys.stderr, flush=True)
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    if not terminal:
        if player.paused:
            print("paused: the service player_node/resume goes on", flush=True)
        yield
        return
    thread = threading.Thread(target=show, name="position", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def keys(actions: Mapping[str, Callable[[], object]]) -> Iterator[None]:
    """Calls an action for each key pressed meanwhile, in a thread; does nothing without a terminal."""
    import select
    import termios
    import threading
    import tty

    if not sys.stdin.isatty():
        yield
        return
    terminal, ended = sys.stdin.fileno(), threading.Event()

    def listen() -> None:
        while not ended.is_set():
            if select.select([terminal], [], [], 0.1)[0]:
                actions.get(os.read(terminal, 1).decode(errors="ignore"), lambda: None)()

    before = termios.tcgetattr(terminal)
    thread = threading.Thread(target=listen, name="keys", daemon=True)
    try:
        tty.setcbreak(terminal)
        thread.start()
        yield
    finally:
        ended.set()
        thread.join()
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
