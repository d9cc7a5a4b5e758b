"""What the arm does and why: nodes, streams, state, reason and what to do, on one screen.

    smolvla-ros status
    smolvla-ros status --watch

Exit code 0 if policy and controller are active and the controller reports; 1 if not.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from .live import add_namespace, connected

if TYPE_CHECKING:
    from rich.console import RenderableType

    from smolvla_ros.probe import ArmProbe

_LISTEN_S, _PERIOD_S = 1.0, 0.5
_SILENT_S = 1.5
_NEEDED = ("policy_node", "controller_node")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `status`."""
    add_namespace(parser)
    parser.add_argument("--watch", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--no-images", action="store_true", help="do not listen to cameras, which takes part of a core")


def run(args: argparse.Namespace) -> int:
    """Shows the arm once, or until a signal."""
    from rich.console import Console
    from rich.live import Live

    from smolvla_ros.probe import ArmProbe

    args.signals.kept = "the arm goes on"
    console = Console()
    with connected(args) as client:
        probe = ArmProbe(client, images=not args.no_images)
        probe.look(_LISTEN_S)
        if not args.watch:
            console.print(screen(probe, time.monotonic()))
            return 0 if is_up(probe, time.monotonic()) else 1
        first = screen(probe, time.monotonic())
        with Live(first, console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                probe.look(_PERIOD_S)
                live.update(screen(probe, time.monotonic()), refresh=True)


def is_up(probe: ArmProbe, now_s: float) -> bool:
    """Whether policy and controller are active and the controller reports."""
    active = all(probe.states.get(name) == "active" for name in _NEEDED)
    return active and probe.status is not None and now_s - probe.status_at_s < _SILENT_S


def screen(probe: ArmProbe, now_s: float) -> RenderableType:
    """All of it."""
    from rich.console import Group
    from rich.markup import escape

    lines = [headline(probe, now_s), f"instruction   {escape(_instruction(probe))}"]
    if waits := probe.policy.get("message"):
        lines.append(f"policy        {escape(waits)}" + _latency(probe))
    return Group(*lines, "", _nodes(probe), "", _streams(probe, now_s))


def headline(probe: ArmProbe, now_s: float) -> str:
    """The state, why, and what to do."""
    from rich.markup import escape

    from smolvla_ros.execution.remedies import what_to_do
    from smolvla_ros.execution.status import ControllerState, Reason

    if probe.status is None:
        return (
            "[bold red]no controller reports[/]\n"
            "what to do    start one with `smolvla-ros arm`, or look at --namespace and ROS_DOMAIN_ID"
        )
    status, silent_s = probe.status, now_s - probe.status_at_s
    if silent_s > _SILENT_S:
        return (
            f"[bold red]the controller has been silent for {silent_s:.0f} s[/]\n"
            "what to do    look whether it still runs"
        )
    state = ControllerState(status.state).name.lower() if status.state in iter(ControllerState) else str(status.state)
    reason = Reason(status.reason).name.lower() if status.reason in iter(Reason) else str(status.reason)
    colour = {"following": "bold green", "holding": "bold yellow"}.get(state, "bold red")
    dry = " (dry run: nothing is sent)" if status.dry_run else ""
    if state == "following":
        return (
            f"[{colour}]{state}[/]{dry}     chunk {status.sequence}, {status.remaining_s:.2f} s ahead, action "
            f"{status.action_age_s:.2f} s old, idle {100 * status.idle_fraction:.1f} %"
        )
    detail = f": {escape(status.detail)}" if status.detail else ""
    todo = f"\nwhat to do    {escape(what_to_do(reason))}" if what_to_do(reason) else ""
    return f"[{colour}]{state}[/]{dry}       {reason}{detail}{todo}"


def _instruction(probe: ArmProbe) -> str:
    policy = probe.described.get("policy_node")
    if policy is None:
        return "unknown: no policy has described itself"
    return str(policy.get("instruction", "")) or "none"


def _latency(probe: ArmProbe) -> str:
    total = probe.policy.get("total_p50_ms")
    return f"; {total} ms from image to chunk" if total else ""


def _nodes(probe: ArmProbe) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("node", "state"):
        table.add_column(column)
    names = [*_NEEDED, *(["sim_node"] if "sim_node" in probe.states else [])]
    for name in names:
        state = probe.states.get(name)
        shown = "[bold red]not there[/]" if state is None else state or "[bold red]does not answer[/]"
        table.add_row(name, shown if state in (None, "", "active") else f"[bold yellow]{state}[/]")
    return table


def _streams(probe: ArmProbe, now_s: float) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    from smolvla_ros.probe import median

    table = Table(box=None, pad_edge=False)
    for column in ("stream", "topic"):
        table.add_column(column)
    for column in ("per second", "stamps are old"):
        table.add_column(column, justify="right")
    table.add_column("")
    for stream in probe.streams:
        silent_s = stream.silent_s(now_s)
        ages = list(stream.ages_s)
        note = ""
        if silent_s is None:
            note = "[bold red]nothing comes[/]" if stream.what != "chunks" else "none yet"
            note += "".join(f": {escape(text)}" for text in probe.mismatches(stream)[:1])
        elif silent_s > _SILENT_S:
            note = f"[yellow]silent for {silent_s:.0f} s[/]"
        age = f"{1e3 * median(ages):.0f} ms" if ages else ("not stamped" if stream.unstamped else "")
        rate = stream.rate_hz()
        table.add_row(stream.what, escape(stream.topic), f"{rate:.1f}" if rate else "", age, note)
    return table
