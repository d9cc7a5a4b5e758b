"""`replay` of several bags, and of two checkpoints on the same bags: spreads them, and puts everything on one page."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bringup.options import BringUpError

from .replay_task import BagReplayer, ReplayTask, prepare, with_threads
from .signals import CommandStopped

if TYPE_CHECKING:
    from smolvla_ros.bags.many.result import FailedBag, ManyReplays, ReplayedBag

_BASE_BYTES = 900 << 20  # of a process with torch and a bag, measured with the policy that ships: 0.6 GB
_LOADING = 3  # while weights are loaded they are there once as a file and once or twice as tensors
_UNKNOWN_BYTES = 4 << 30  # a checkpoint of the hub, at SmolVLA's size


def replay_many(args: argparse.Namespace, tasks: Sequence[ReplayTask]) -> int:
    """Replays all of them, writes the page and replays.json, and shows the table; the exit code."""
    from rich.console import Console

    from smolvla_ros.bags.many.summary import write_many_summary
    from smolvla_ros.bags.report.many import write_many_report

    from .replay_many_figures import show_many

    results: dict[int, ReplayedBag | FailedBag] = {}
    with args.signals.deferred():
        try:
            for place, result in _with_progress(tasks, _results(args, tasks)):
                results[place] = result
                args.signals.kept = f"the bags that were done by then are in {args.out}"
        except CommandStopped:
            if not results:
                raise
        found = _gathered(args, tasks, results)
        write_many_report(found, args.out / "report.html")
        write_many_summary(found, args.out)
    show_many(Console(highlight=False, soft_wrap=True), found, args.out)
    return exit_code(found, args.allow_partial)


def exit_code(found: ManyReplays, allow_partial: bool) -> int:
    """See `smolvla_ros.cli.replay`."""
    if not found.bags:
        return 2
    if any(bag.broken or not bag.chunks for bag in found.bags):
        return 1
    if not allow_partial and (found.failed or any(bag.defects for bag in found.bags)):
        return 3
    if found.against:
        verdict = found.comparison.verdict if found.comparison else "open"
        return {"nearer": 0, "farther": 4, "open": 5}[verdict]
    return 0


def _gathered(
    args: argparse.Namespace, tasks: Sequence[ReplayTask], results: dict[int, ReplayedBag | FailedBag]
) -> ManyReplays:
    from smolvla_ros.bags.many.result import FailedBag, ManyReplays, of_one_robot
    from smolvla_ros.bags.many.verdict import compare_checkpoints

    in_order = [results[place] for place in sorted(results)]
    failed = [result for result in in_order if isinstance(result, FailedBag)]
    bags, others = of_one_robot([result for result in in_order if not isinstance(result, FailedBag)])
    pairs = [bag.pairs for bag in bags if bag.pairs is not None]
    return ManyReplays(
        bags=bags,
        failed=(*failed, *others),
        stopped=tuple(task.name for place, task in enumerate(tasks) if place not in results),
        against=args.against,
        comparison=compare_checkpoints(pairs, args.margin, args.seed) if args.against else None,
    )


def _results(args: argparse.Namespace, tasks: Sequence[ReplayTask]) -> Iterator[tuple[int, ReplayedBag | FailedBag]]:
    """The result of each task as it comes, over one process, several, or a cluster."""
    from smolvla_ros.bags.many.result import FailedBag
    from smolvla_ros.parallel.capacity import usable_cpus
    from smolvla_ros.parallel.outcome import Lost
    from smolvla_ros.parallel.processes import over_processes

    check: Callable[[], None] = args.signals.check
    jobs = min(args.jobs or _default_jobs(tasks), len(tasks))
    cpus = max(1, usable_cpus() // jobs)
    shared = [with_threads(task, cpus) for task in tasks]
    came: Iterator[tuple[int, Any]]
    if args.executor == "ray":
        from smolvla_ros.parallel.ray_cluster import over_ray

        came = over_ray(BagReplayer(), shared, cpus, check)
    elif jobs == 1:
        replayer = BagReplayer(check)
        came = ((place, replayer(task)) for place, task in enumerate(shared))
    else:
        came = over_processes(BagReplayer(), shared, jobs, check)
    for place, result in came:
        lost = isinstance(result, Lost)
        yield place, FailedBag(tasks[place].name, tasks[place].bag, result.reason) if lost else result


def _default_jobs(tasks: Sequence[ReplayTask]) -> int:
    """As many as fit CPUs and memory, by the first bag that can be used; one where the policy runs on a GPU."""
    from smolvla_ros.bags.reader import open_bag
    from smolvla_ros.parallel.capacity import available_bytes, fitting_jobs, usable_cpus

    for task in tasks:
        try:
            with open_bag(task.bag) as bag:
                parameters = prepare(bag, task, task.checkpoint).parameters
        except (BagError, BringUpError, OSError):
            continue  # told when its turn comes
        if parameters.device != "cpu":
            return 1
        checkpoints = [parameters.checkpoint, *([task.against] if task.against else [])]
        bytes_each = _BASE_BYTES + _LOADING * sum(_weights_bytes(Path(checkpoint)) for checkpoint in checkpoints)
        return fitting_jobs(len(tasks), bytes_each, usable_cpus(), available_bytes())
    return 1


def _weights_bytes(folder: Path) -> int:
    if not folder.is_dir():
        return _UNKNOWN_BYTES
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))


def _with_progress(
    tasks: Sequence[ReplayTask], results: Iterator[tuple[int, ReplayedBag | FailedBag]]
) -> Iterator[tuple[int, ReplayedBag | FailedBag]]:
    """The same, with a bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total:.0f} bags"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("replay", total=len(tasks))
        for told in results:
            bar.advance(task)
            yield told
