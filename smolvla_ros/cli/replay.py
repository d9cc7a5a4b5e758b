"""Ask a policy what it would have done in recorded sessions, and compare with what the robot did.

    smolvla-ros replay session --out report
    smolvla-ros replay session --checkpoint DIR --robot my_arm.yaml --out report

Needs no ROS and no robot, and takes no longer than the inferences. The folder --out gets report.html, replay.json and
the rows; for many bags (several, a folder of bags, or with --against) report.html and replays.json of all, and the
files of each in bags/NAME. Exit codes, the first that holds: 130 and 143 after Ctrl-C and SIGTERM, what was found until
then is written; 2 if an argument, the bag or every bag cannot be used; 1 if a --fail-if holds or nothing could be
inferred in a bag; 3 if a bag is damaged or one of many cannot be used, and so the results are partial (0 with
--allow-partial); with --against 4 if the checkpoint is farther from what the robot did, 5 if the bags do not tell; 0.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smolvla_ros.bringup.options import BringUpError

from .bag_options import name_pairs, parameter_values
from .replay_task import ReplayTask, load, prepare, replayed, with_threads, write

if TYPE_CHECKING:
    from smolvla_ros.bags.reader import Bag
    from smolvla_ros.bags.replay.conditions import Condition
    from smolvla_ros.bags.replay.result import Replay
    from smolvla_ros.bags.replay.run import ReplaySettings
    from smolvla_ros.parameters import Value

_REQUESTS = ("synchronous", "threshold", "every_n", "continuous", "recorded")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `replay`; --remap, --param and --fail-if may be given more than once."""
    add = parser.add_argument
    add("bags", nargs="+", metavar="BAG", help="rosbag2 folder, .mcap or .db3 file, or a folder with bags below it")
    add("--robot", default="", help="robot config: a shipped one or a YAML file; default: as recorded in the bag")
    add("--checkpoint", default="", help="folder or hub id of the policy; default: as recorded, or as in the config")
    add("--against", default="", metavar="CHECKPOINT", help="another policy, asked the same: which is nearer to what "
        "the robot did?")
    add("--margin", type=_margin, default=0.0, metavar="RAD", help="with --against: so much farther in the mean still "
        "counts as near enough (default: 0)")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the results, made if need be")
    _add_conditions(parser)
    _add_results(parser)


def _add_conditions(parser: argparse.ArgumentParser) -> None:
    """Under which the policy is asked, and of which part of the bag."""
    add = parser.add_argument
    add("--instruction", default="", metavar="TEXT", help="in place of those in the bag")
    add("--request", default="", choices=_REQUESTS, help="when the policy is asked: a rule of the policy node, or "
        "'recorded' for when it was asked on the robot; default: request_rule of the robot config")
    add("--latency", default="", metavar="SECONDS", help="from an image to its chunk; 'measured': as it is here; "
        "'recorded': as it was (default, where the bag has chunks, else 0)")
    add("--seed", type=int, default=0, metavar="N", help="of the policy's noise, and of the interval (default: 0)")
    add("--reference", default="", choices=("command", "state"), help="what the chunks are compared with: what the arm "
        "was told, or where it was; default: what it was told, where the bag has commands")
    add("--start", type=float, default=0.0, metavar="S", help="seconds of the bag to leave out at the beginning")
    add("--duration", type=float, default=0.0, metavar="S", help="seconds to replay; default: to the end")
    add("--namespace", default="", help="namespace of the robot's nodes and topics in the bag")
    add("--remap", action="append", default=[], metavar="A:=B", help="topic A of the config is B in the bag")
    add("--param", action="append", default=[], metavar="NAME:=VALUE", help="a parameter of the policy node, such as "
        "device:=cuda or rtc:=lerobot")
    add("--clock-offset", default="", metavar="SECONDS", help="added to the log times, where the recorder had another "
        "clock than the robot; 'auto': so that joint states come when they are stamped")


def _add_results(parser: argparse.ArgumentParser) -> None:
    """What is written, what fails, and how many bags are spread."""
    add = parser.add_argument
    add("--rows", default="parquet", choices=("parquet", "csv", "none"), help="every number as a table")
    add("--fail-if", action="append", default=[], metavar="COND", help="exit code 1 if this holds (of many bags: in "
        "any), such as 'mae>0.1' or 'p95:gripper>0.2'; the metrics are listed in docs/how_to/bags.md")
    add("--allow-partial", action="store_true", help="exit code 0 for a damaged bag, and where one of many cannot be "
        "used")
    add("--jobs", type=_jobs, default=0, metavar="N", help="many bags: how many at a time, each in a process of its "
        "own; default: as many as the CPUs and the memory that this process may use allow, one on a GPU")
    add("--executor", default="processes", choices=("processes", "ray"), help="many bags: processes of this machine "
        "(default), or tasks of a Ray cluster, whose nodes see bags, checkpoints and --out under the same paths")


def run(args: argparse.Namespace) -> int:
    """Replays, writes the results, and prints the main figures."""
    from smolvla_ros.bags.many.finding import find_bags

    if args.margin and not args.against:
        raise BringUpError("--margin is for a comparison with another checkpoint: give --against too")
    _make_folder(args.out)
    args.signals.kept = "nothing was written"
    bags = find_bags(args.bags)
    if len(args.bags) > 1 or args.against or [str(bag) for bag in bags.values()] != [str(Path(args.bags[0]))]:
        from .replay_many import replay_many

        return replay_many(args, [_task(args, name, bag) for name, bag in bags.items()])
    return _replay_one(args, _task(args, "", Path(args.bags[0])))


def _task(args: argparse.Namespace, name: str, bag: Path) -> ReplayTask:
    """What the arguments ask for with one bag; without a name its results go into --out itself."""
    from smolvla_ros.bags.replay.run import ReplaySettings

    settings = ReplaySettings(args.request, args.latency, args.instruction, args.reference, args.start, args.duration,
                              args.clock_offset)  # fmt: skip
    return ReplayTask(
        name=name, bag=str(bag), folder=args.out / "bags" / name if name else args.out, settings=settings,
        robot=args.robot, namespace=args.namespace, remaps=name_pairs("--remap", args.remap),
        checkpoint=args.checkpoint, against=args.against, parameters=_parameters(args), fail_if=tuple(args.fail_if),
        rows=args.rows,
    )  # fmt: skip


def _parameters(args: argparse.Namespace) -> dict[str, Value]:
    """What the arguments say of the policy node's parameters."""
    parameters: dict[str, Value] = {"seed": args.seed}
    if args.request and args.request != "recorded":
        parameters["request_rule"] = args.request
    return {**parameters, **parameter_values(args.param)}


def _replay_one(args: argparse.Namespace, task: ReplayTask) -> int:
    """A bag with a report of its own."""
    from smolvla_ros.bags.reader import open_bag
    from smolvla_ros.parallel.capacity import usable_cpus

    task = with_threads(task, usable_cpus())
    with args.signals.deferred(), open_bag(task.bag) as bag:
        prepared = prepare(bag, task, task.checkpoint)
        setup = args.signals.wait_for(lambda: load(prepared, task, task.checkpoint))
        with _progress(bag, task.settings, args.signals.check) as tell:
            found = replayed(prepared, setup, task.settings, tell)
        write(found, task.folder, task.rows)
        code = _finish(found, args, prepared.conditions)
        args.signals.kept = f"what was replayed until then is in {args.out}"
    return code


@contextlib.contextmanager
def _progress(bag: Bag, settings: ReplaySettings, check: Callable[[], None]) -> Iterator[Callable[[float], None]]:
    """A progress bar on a terminal; `check` raises where a signal ends the replay."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from smolvla_ros.bags.replay.run import section

    start_ns, end_ns = section(bag, settings)
    console = Console(stderr=True)
    columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("replay", total=(end_ns - start_ns) / 1e9)

        def tell(done_s: float) -> None:
            check()
            bar.update(task, completed=done_s)

        yield tell


def _finish(found: Replay, args: argparse.Namespace, conditions: Sequence[Condition]) -> int:
    """Shows what was found; the exit code."""
    from rich.console import Console
    from rich.markup import escape

    from .replay_figures import show

    console = Console(highlight=False, soft_wrap=True)
    show(console, found)
    console.print(f"\nwritten to {escape(str(args.out))}: report.html, replay.json" + (f", rows.{args.rows}"
                  if args.rows != "none" else ""))  # fmt: skip
    broken = [text for condition in conditions if (text := condition.broken(found))]
    for text in broken:
        console.print(f"[bold red]failed[/]: {escape(text)}")
    if broken or not found.chunks:
        return 1
    return 3 if found.defects and not args.allow_partial else 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BringUpError(f"--out {folder} cannot be made: {error.strerror}") from error


def _jobs(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"is '{text}', expected a whole number from 1 to 1024")
    return int(text)


def _margin(text: str) -> float:
    try:
        margin = float(text)
    except ValueError:
        margin = math.nan
    if not 0.0 <= margin < math.inf:
        raise argparse.ArgumentTypeError(f"is '{text}', expected a number of rad, 0 or more")
    return margin
