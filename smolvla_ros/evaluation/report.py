"""What people see of a run: progress while it goes on, a table at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .episodes import Episode, Task


def with_progress(episodes: Iterable[Episode], tasks: Sequence[Task], console: Console) -> Iterator[Episode]:
    """Passes the episodes on, with a progress bar that counts the successes."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("starting the nodes", total=len(tasks))
        successes = 0
        for done, episode in enumerate(episodes, start=1):
            successes += episode.success
            progress.update(bar, advance=1, description=f"{successes} of {done} succeeded")
            yield episode


def table(episodes: Sequence[Episode]) -> Table:
    """One row for each episode; inference is the network's part of the latency from image to chunk."""
    result = Table("instruction", "success", "got to", "time", "inference", "latency", "idle")
    for episode in episodes:
        result.add_row(
            episode.task.instruction,
            "[green]yes[/]" if episode.success else "[red]no[/]",
            got_to(episode),
            f"{episode.time_s:.1f} s",
            _milliseconds(episode.inference_s),
            _milliseconds(episode.latency_s),
            "-" if episode.idle_fraction is None else f"{episode.idle_fraction:.0%}",
        )
    return result


def got_to(episode: Episode) -> str:
    """How far it got, in words; '-' for nowhere."""
    verdict, asked = episode.verdict, episode.task.asked
    if asked.task == "touch":
        return episode.touched or "-"
    if asked.task == "stay":
        return "moved" if verdict.moved_wrongly else "held still"
    if verdict.moved_wrongly:
        return "moved wrongly"
    if verdict.dropped:
        return "dropped"
    stages = {"placed": verdict.placed, "grasped": verdict.grasped, "reached": verdict.reached}
    return next((stage for stage, is_so in stages.items() if is_so), "-")


def _milliseconds(value_s: float | None) -> str:
    return "-" if value_s is None else f"{1000 * value_s:.0f} ms"
