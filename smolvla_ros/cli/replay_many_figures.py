"""The main figures of many replays, for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from smolvla_ros.bags.many.result import mean_error
from smolvla_ros.bags.many.words import comparison_sentence

if TYPE_CHECKING:
    from rich.console import Console

    from smolvla_ros.bags.many.result import ManyReplays
    from smolvla_ros.bags.many.verdict import Comparison, Difference

_MOST_PLACES = 3


def show_many(console: Console, found: ManyReplays, out: Path) -> None:
    """Prints a line for each bag, the comparison, and what could not be replayed."""
    if found.bags:
        console.print(_bags(found))
    if found.comparison:
        _show_comparison(console, found.comparison)
    for bag in found.bags:
        for defect in bag.defects:
            console.print(f"[bold red]partial[/] {escape(bag.name)}: {escape(defect)}")
        if not bag.chunks:
            console.print(f"[bold red]failed[/] {escape(bag.name)}: nothing could be inferred; its report says why")
        for text in bag.broken:
            console.print(f"[bold red]failed[/] {escape(bag.name)}: {escape(text)}")
    for failure in found.failed:
        console.print(f"[bold red]not replayed[/] {escape(failure.name)}: {escape(failure.reason)}")
    for name in found.stopped:
        console.print(f"[bold red]not replayed[/] {escape(name)}: it was stopped before")
    if found.against:
        console.print(f"[bold]{escape(comparison_sentence(found))}[/]")
    console.print(f"\nwritten to {escape(str(out))}: report.html, replays.json, and bags/ with the files of each")


def _bags(found: ManyReplays) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("bag")
    columns = ("seconds", "chunks", "mean error", "p95", "standing still", *(["against"] if found.against else []))
    for column in (*columns, "hardest joint"):
        table.add_column(column, justify="right")
    beside = found.comparison.bags if found.comparison else {}
    for bag in found.bags:
        other = [f"{beside[bag.name].theirs:.4f}" if bag.name in beside else "-"] if found.against else []
        table.add_row(
            escape(bag.name), f"{bag.duration_s:.1f}", str(bag.chunks), f"{bag.errors_mean:.4f}",
            f"{bag.errors_p95:.4f}", f"{bag.hold_mean:.4f}", *other, escape(bag.hardest),
        )  # fmt: skip
    table.add_row("all", "", "", f"{mean_error(found.bags):.4f}", style="bold")
    return table


def _show_comparison(console: Console, comparison: Comparison) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("joint", "mean error", "against", "difference", "95 % interval"):
        table.add_column(column, justify="left" if column == "joint" else "right")
    for name, joint in comparison.joints.items():
        table.add_row(escape(name), *_cells(joint))
    table.add_row("all", *_cells(comparison.total), style="bold")
    console.print(table)
    for place in comparison.places[:_MOST_PLACES]:
        console.print(
            f"differ much: {escape(place.bag)} from {place.time_s:.1f} s on, {escape(place.joint)}: "
            f"{place.ours:.3f} against {place.theirs:.3f}"
        )


def _cells(found: Difference) -> tuple[str, str, str, str]:
    interval = f"{found.low:+.4f} to {found.high:+.4f}" if found.low == found.low else "-"
    return f"{found.ours:.4f}", f"{found.theirs:.4f}", f"{found.difference:+.4f}", interval
