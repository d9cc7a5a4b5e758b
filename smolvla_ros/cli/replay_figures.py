"""The main figures of a replay, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from smolvla_ros.bags.replay.conditions import skipped_instants

if TYPE_CHECKING:
    from rich.console import Console

    from smolvla_ros.bags.replay.result import Replay

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}
_MOST_SKIPPED = 5


def show(console: Console, replay: Replay) -> None:
    """Prints what was done, the errors by joint, what was found and what is missing."""
    seconds = (replay.end_ns - replay.start_ns) / 1e9
    console.print(
        f"{len(replay.chunks)} chunks of {replay.rows} rows over {seconds:.1f} s; requests: {replay.request}, latency: "
        f"{replay.latency}; compared with {escape(replay.reference)}"
    )
    if replay.chunks:
        console.print(_errors(replay))
        console.print(_seams(replay))
    if replay.recorded_errors is not None:
        robot = replay.recorded_errors.robot
        console.print(f"recorded chunks: differ by {robot.mean:.2g} in the mean, p95 {robot.p95:.2g}; "
                      f"{replay.recorded_unmatched} of {len(replay.chunks)} from other images")  # fmt: skip
    _show_skipped(console, replay)
    for stream in replay.streams:
        if stream.refused:
            console.print(f"{escape(stream.topic)}: {stream.refused} of {stream.messages} messages refused; the first: "
                          f"{escape(stream.refusal)}")  # fmt: skip
    for finding in replay.findings:
        console.print(f"[{_COLOURS[finding.severity]}]{finding.severity}[/] {finding.name}: {escape(finding.text)}")
    for defect in replay.defects:
        console.print(f"[bold red]partial[/]: {escape(defect)}")


def _errors(replay: Replay) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("error, rad or m")
    for column in ("mean", "p95", "mean / std", "standing still"):
        table.add_column(column, justify="right")
    errors, hold = replay.errors, replay.hold_errors
    for place, joint in enumerate(replay.joints):
        table.add_row(
            escape(joint),
            f"{errors.robot.joint_mean[place]:.4f}",
            f"{errors.robot.joint_p95[place]:.4f}",
            f"{errors.std.joint_mean[place]:.3f}",
            f"{hold.robot.joint_mean[place]:.4f}",
        )
    table.add_row(
        "all", f"{errors.robot.mean:.4f}", f"{errors.robot.p95:.4f}", f"{errors.std.mean:.3f}",
        f"{hold.robot.mean:.4f}", style="bold",
    )  # fmt: skip
    return table


def _seams(replay: Replay) -> str:
    seams = replay.seams
    return (
        f"virtual execution: {seams.switches} changes of chunks, jumps p50 {seams.jump.p50:.3f} "
        f"p95 {seams.jump.p95:.3f}, overlaps differ by {seams.overlap.p50:.3f}; "
        f"idle {100 * seams.idle_fraction:.1f} %, age p95 {seams.action_age_s.p95:.2f} s"
    )


def _show_skipped(console: Console, replay: Replay) -> None:
    reasons: dict[str, int] = {}
    for skipped in replay.skipped:
        reasons[skipped.reason] = reasons.get(skipped.reason, 0) + skipped.instants
    often = sorted(reasons.items(), key=lambda item: -item[1])
    if not replay.chunks:
        console.print("[bold red]nothing could be inferred[/]")
    elif not skipped_instants(replay):
        return
    for reason, instants in often[:_MOST_SKIPPED]:
        console.print(f"waited at {instants} instants: {escape(reason)}")
