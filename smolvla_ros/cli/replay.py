"""Ask a policy what it would have done in a recorded session, and compare with what the robot did.

    smolvla-ros replay session --out report
    smolvla-ros replay session --checkpoint DIR --robot my_arm.yaml --out report

Needs no ROS and no robot, and takes no longer than the inferences. The folder --out gets report.html, replay.json and
the rows. Exit code 0; 1 if a --fail-if holds or nothing could be inferred; 2 if an argument or the bag cannot be used;
3 if the bag is damaged, and so the results are partial (0 with --allow-partial). Ctrl-C
writes what was found until then and ends with 130.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smolvla_ros.bringup.options import ArmOptions, BringUpError

from .bag_options import name_pairs, node_parameters, parameter_values, robot_of

if TYPE_CHECKING:
    from smolvla_ros.bags.reader import Bag
    from smolvla_ros.bags.replay.conditions import Condition
    from smolvla_ros.bags.replay.node import Setup
    from smolvla_ros.bags.replay.result import Replay
    from smolvla_ros.bags.replay.run import ReplaySettings
    from smolvla_ros.bags.streams import Streams
    from smolvla_ros.parameters import Value
    from smolvla_ros.parameters.policy import PolicyParameters
    from smolvla_ros.robot import RobotConfig

_REQUESTS = ("synchronous", "threshold", "every_n", "continuous", "recorded")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `replay`; --remap, --param and --fail-if may be given more than once."""
    add = parser.add_argument
    add("bag", help="rosbag2 folder, .mcap or .db3 file")
    add("--robot", default="", help="robot config: a shipped one or a YAML file; default: as recorded in the bag")
    add("--checkpoint", default="", help="folder or hub id of the policy; default: as recorded, or as in the config")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the results, made if need be")
    add("--instruction", default="", metavar="TEXT", help="in place of those in the bag")
    add(
        "--request",
        default="",
        choices=_REQUESTS,
        help="when the policy is asked: a rule of the policy node, or "
        "'recorded' for when it was asked on the robot; default: request_rule of the robot config",
    )
    add(
        "--latency",
        default="",
        metavar="SECONDS",
        help="from an image to its chunk; 'measured': as it is here; "
        "'recorded': as it was (default, where the bag has chunks, else 0)",
    )
    add("--seed", type=int, default=0, metavar="N", help="of the policy's noise (default: 0)")
    add(
        "--reference",
        default="",
        choices=("command", "state"),
        help="what the chunks are compared with: what the arm "
        "was told, or where it was; default: what it was told, where the bag has commands",
    )
    add("--start", type=float, default=0.0, metavar="S", help="seconds of the bag to leave out at the beginning")
    add("--duration", type=float, default=0.0, metavar="S", help="seconds to replay; default: to the end")
    add("--namespace", default="", help="namespace of the robot's nodes and topics in the bag")
    add("--remap", action="append", default=[], metavar="A:=B", help="topic A of the config is B in the bag")
    add(
        "--param",
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="a parameter of the policy node, such as device:=cuda or rtc:=lerobot",
    )
    add("--clock-offset", default="", metavar="SECONDS", help="added to the log times, where the recorder had another "
        "clock than the robot; 'auto': so that joint states come when they are stamped")
    add("--rows", default="parquet", choices=("parquet", "csv", "none"), help="every number as a table")
    add(
        "--fail-if",
        action="append",
        default=[],
        metavar="COND",
        help="exit code 1 if this holds, such as 'mae>0.1' "
        "or 'p95:gripper>0.2'; the metrics are listed in docs/how_to/bags.md",
    )
    add("--allow-partial", action="store_true", help="exit code 0 for a damaged bag too")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Replays, writes the results, and prints the main figures."""
    from smolvla_ros.bags.reader import open_bag
    from smolvla_ros.bags.replay.conditions import parse_condition
    from smolvla_ros.bags.replay.run import ReplaySettings
    from smolvla_ros.bags.streams import find_streams

    _make_folder(args.out)
    args.signals.kept = "nothing was written"
    options = ReplaySettings(args.request, args.latency, args.instruction, args.reference, args.start, args.duration,
                      args.clock_offset)  # fmt: skip
    remaps = name_pairs("--remap", args.remap)
    with args.signals.deferred(), open_bag(args.bag) as bag:
        policy_parameters, controller_parameters = node_parameters(bag, args.robot, args.namespace, _overrides(args))
        robot = robot_of(policy_parameters, args.robot)
        conditions = [parse_condition(text, robot.joint_names) for text in args.fail_if]
        streams = find_streams(bag, robot, controller_parameters, args.namespace, remaps)
        setup = args.signals.wait_for(lambda: _setup(policy_parameters, robot, args))
        found = _replay(bag, streams, setup, options, args.signals.check)
        code = _finish(found, args, conditions)
        args.signals.kept = f"what was replayed until then is in {args.out}"
    return code


def _overrides(args: argparse.Namespace) -> dict[str, Value]:
    """What the arguments say of the policy node's parameters."""
    overrides: dict[str, Value] = {"torch_threads": os.cpu_count() or 1, "seed": args.seed}
    if args.checkpoint:
        overrides["checkpoint"] = ArmOptions(checkpoint=args.checkpoint).checkpoint_source
    if args.request and args.request != "recorded":
        overrides["request_rule"] = args.request
    return {**overrides, **parameter_values(args.param)}


def _setup(policy_parameters: PolicyParameters, robot: RobotConfig, args: argparse.Namespace) -> Setup:
    """Loads the policy."""
    from smolvla_ros.bags.replay.node import Setup
    from smolvla_ros.parameters import ParameterError
    from smolvla_ros.policy.setup import load_policy

    def warn(text: str) -> None:
        print(f"smolvla-ros replay: {text}", file=sys.stderr)

    try:
        policy = load_policy(policy_parameters, robot, warn)
    except ParameterError as error:
        raise BringUpError(str(error)) from error
    return Setup(
        robot, policy_parameters, policy, args.checkpoint or policy_parameters.checkpoint, args.robot or "of the bag"
    )


def _replay(
    bag: Bag, streams: Streams, setup: Setup, options: ReplaySettings, check: Callable[[], None]
) -> Replay:
    """Replays and diagnoses, with a progress bar on a terminal; `check` raises where a signal ends the replay."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from smolvla_ros.bags.diagnosis import diagnose
    from smolvla_ros.bags.replay.run import replay, section
    from smolvla_ros.policy.setup import freshness

    start_ns, end_ns = section(bag, options)
    console = Console(stderr=True)
    columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("replay", total=(end_ns - start_ns) / 1e9)

        def tell(done_s: float) -> None:
            check()
            bar.update(task, completed=done_s)

        found = replay(bag, streams, setup, options, tell)
    return dataclasses.replace(found, findings=(*found.findings, *diagnose(found, freshness(setup.parameters))))


def _finish(replay: Replay, args: argparse.Namespace, conditions: Sequence[Condition]) -> int:
    """Writes and shows what was found; the exit code."""
    from rich.console import Console
    from rich.markup import escape

    from smolvla_ros.bags.replay.rows import write_rows
    from smolvla_ros.bags.replay.summary import write_summary
    from smolvla_ros.bags.report import write_report

    from .replay_figures import show

    write_report(replay, args.out / "report.html")
    write_summary(replay, args.out)
    write_rows(replay, args.out, args.rows)
    console = Console(highlight=False, soft_wrap=True)
    show(console, replay)
    console.print(f"\nwritten to {escape(str(args.out))}: report.html, replay.json" + (f", rows.{args.rows}"
                  if args.rows != "none" else ""))  # fmt: skip
    broken = [text for condition in conditions if (text := condition.broken(replay))]
    for text in broken:
        console.print(f"[bold red]failed[/]: {escape(text)}")
    if broken or not replay.chunks:
        return 1
    return 3 if replay.defects and not args.allow_partial else 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BringUpError(f"--out {folder} cannot be made: {error.strerror}") from error
