"""Make a LeRobotDataset (v3.0) of recorded bags, to train a policy on.

    smolvla-ros export session --out dataset
    smolvla-ros export monday tuesday --robot my_arm.yaml --fps 30 --out dataset

One episode per instruction; frames lie exactly on k/fps, and each has the newest images and joint state that the policy
would have had, and the command in force. Where something is missing or too old the episode is cut, never filled in, and
you are told. The folder --out appears when it is complete. Exit code 0; 1 if there is no episode; 2 if an argument or a
bag cannot be used; 3 if a bag is damaged or an episode was cut or left out (0 with --allow-partial).
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from smolvla_ros.bringup.options import BringUpError

from .bag_options import name_pairs, node_parameters, parameter_values, robot_of

if TYPE_CHECKING:
    from rich.progress import TaskID

    from smolvla_ros.bags.dataset.export import Progress, Robot


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `export`."""
    add = parser.add_argument
    add("bags", nargs="+", type=Path, metavar="BAG", help="rosbag2 folder, .mcap or .db3 file; all of one robot")
    add("--robot", default="", help="robot config: a shipped one or a YAML file; default: as recorded in the first bag")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the dataset, not there yet")
    add("--fps", type=_whole_number, default=30, metavar="N", help="frames per second (default: 30)")
    add("--episodes", choices=("instruction", "bag"), default="instruction", help="an episode for as long as an "
        "instruction is in force (default), or one per bag")
    add("--task", default="", metavar="TEXT", help="with --episodes bag: the instruction; default: that of the bag")
    add("--action", choices=("command", "chunk", "state"), default="command", help="the action of a frame: the command "
        "in force (default), the row of a chunk that was executed, or the joint state one frame later")
    add("--interventions", choices=("keep", "cut", "only"), default="keep", help="what a person commanded who had "
        "taken over: kept with the rest (default), cut out, or all that is exported")
    add("--max-gap", type=_seconds, default=0.2, metavar="S", help="an episode is cut where an image, joint state or "
        "command is older than this (default: 0.2)")
    add("--min-length", type=_seconds, default=1.0, metavar="S", help="shorter episodes are left out (default: 1)")
    add("--codec", choices=("av1", "h264", "hevc"), default="", help="of the videos; default: av1, as LeRobot's, or "
        "h264 where there is no encoder for that")
    add("--clock-offset", default="", metavar="SECONDS", help="added to the log times, where the recorder had another "
        "clock than the robot; 'auto': so that joint states come when they are stamped")
    add("--robot-type", default="", metavar="NAME", help="name of the robot in the dataset; default: that of --robot")
    add("--namespace", default="", help="namespace of the robot's nodes and topics in the bags")
    add("--remap", action="append", default=[], metavar="A:=B", help="topic A of the config is B in the bags")
    add("--param", action="append", default=[], metavar="NAME:=VALUE", help="a parameter of the policy node, such as "
        "accept_zero_stamps:=true")
    add("--allow-partial", action="store_true", help="exit code 0 where it would be 3")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Exports, and prints what is in the dataset and what is not."""
    from rich.console import Console

    from smolvla_ros.bags.dataset.export import ExportSettings, export

    from .export_figures import show

    if args.task and args.episodes != "bag":
        raise BringUpError("--task is one instruction for all, expected with --episodes bag only")
    settings = ExportSettings(
        fps=args.fps, codec=args.codec, action=args.action, whole_bags=args.episodes == "bag", task=args.task.strip(),
        max_gap_s=args.max_gap, min_length_s=args.min_length, clock_offset=args.clock_offset,
        interventions=args.interventions,
    )  # fmt: skip
    console = Console(highlight=False, soft_wrap=True)
    args.signals.kept = "nothing was written"
    try:
        with args.signals.deferred() as check, _progress(check) as progress:
            exported = export(args.bags, args.out, _robot(args), settings, progress)
            if any(survey.episodes for survey in exported.surveys):
                args.signals.kept = f"{args.out} is complete"
    except OSError as error:
        raise BringUpError(f"--out {args.out} cannot be written, nothing of it is left: {error}") from error
    show(console, exported, args.out, args.fps)
    if not any(survey.episodes for survey in exported.surveys):
        return 1
    is_partial = any(survey.is_partial for survey in exported.surveys)
    return 3 if is_partial and not args.allow_partial else 0


def _robot(args: argparse.Namespace) -> Robot:
    """The robot of --robot, or of the first bag."""
    from smolvla_ros.bags.dataset.export import Robot
    from smolvla_ros.bags.reader import open_bag
    from smolvla_ros.bags.streams import find_streams
    from smolvla_ros.policy.setup import freshness

    remaps = name_pairs("--remap", args.remap)
    overrides = {"checkpoint": "none", **parameter_values(args.param)}  # not needed, but a node has to have one
    with open_bag(args.bags[0]) as bag:
        policy_parameters, controller_parameters = node_parameters(bag, args.robot, args.namespace, overrides)
    config = robot_of(controller_parameters, args.robot)
    return Robot(
        config=config,
        name=args.robot_type or (Path(args.robot).stem if args.robot else "unknown"),
        streams=lambda bag: find_streams(bag, config, controller_parameters, args.namespace, remaps),
        freshness=freshness(policy_parameters),
    )


@contextlib.contextmanager
def _progress(check: Callable[[], None]) -> Iterator[Progress]:
    """A progress bar on a terminal; each step is a place to stop at."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, bag: Path, share: float) -> None:
            check()
            label = f"{what} {bag.name}"
            if label not in tasks:
                tasks[label] = bar.add_task(escape(label), total=1.0)
            bar.update(tasks[label], completed=share)

        yield tell


def _whole_number(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"is '{text}', expected a whole number from 1 to 1000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds <= 3600.0:
        raise argparse.ArgumentTypeError(f"is '{text}', expected seconds, more than 0 and at most 3600")
    return seconds
