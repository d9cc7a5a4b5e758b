"""What `smolvla-ros export` prints: the episodes, and everything that a user should know about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smolvla_ros.bags.dataset.episodes import RecordedEpisode
from smolvla_ros.bags.dataset.export import Exported, Survey

_MOST_EPISODES = 40
_MANY_REPEATS = 0.2
_LONG_WAIT_S = 1.0
_STILL_RAD = 1e-3


def show(console: Console, exported: Exported, out: Path, fps: int) -> None:
    """Prints a summary of an export to `out`."""
    episodes = [episode for survey in exported.surveys for episode in survey.episodes]
    if episodes:
        console.print(_table(exported.surveys, fps))
    for survey in exported.surveys:
        for note in _notes(survey):
            console.print(f"[yellow]{escape(survey.path.name)}[/]: {escape(note)}")
    for note in _repeat_notes(episodes, fps):
        console.print(f"[yellow]note[/]: {escape(note)}")
    for note in _still_notes(episodes, exported.joints):
        console.print(f"[yellow]note[/]: {escape(note)}")
    for feature in sorted(exported.cropped):
        console.print(f"[yellow]note[/]: '{feature}' lost its last row or column: videos have an even number of both")
    if not episodes:
        console.print("[bold red]no episode[/]: nothing was written")
        return
    frames = sum(len(episode.times_ns) for episode in episodes)
    megabytes = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6
    tasks = len({episode.task for episode in episodes})
    console.print(
        f"written to {escape(str(out))}: episodes {len(episodes)}, tasks {tasks}, frames {frames} "
        f"({frames / fps:.1f} s at {fps}/s), video {exported.codec}, {megabytes:.1f} MB"
    )


def _table(surveys: list[Survey], fps: int) -> Table:
    table = Table("episode", "bag", "from", "length", "task", "repeated", box=None, header_style="bold")
    rows = [(survey, episode) for survey in surveys for episode in survey.episodes]
    for number, (survey, episode) in enumerate(rows[:_MOST_EPISODES]):
        table.add_row(
            str(number), escape(survey.path.name), f"{(episode.times_ns[0] - survey.start_ns) / 1e9:.2f} s",
            f"{len(episode.times_ns) / fps:.2f} s", escape(episode.task), _repeats(episode),
        )  # fmt: skip
    if len(rows) > _MOST_EPISODES:
        table.add_row("...", f"and {len(rows) - _MOST_EPISODES} more")
    return table


def _repeats(episode: RecordedEpisode) -> str:
    """How many frames have what the frame before had, by stream."""
    shares = {name: count / len(episode.times_ns) for name, count in sorted(episode.repeats.items())}
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= 0.005) or "-"


def _repeat_notes(episodes: list[RecordedEpisode], fps: int) -> list[str]:
    """Streams that are slower than the frames."""
    frames = sum(len(episode.times_ns) for episode in episodes)
    total = sum((Counter(episode.repeats) for episode in episodes), Counter())
    return [
        f"{count / frames:.0%} of the frames repeat '{name}' of the frame before: about "
        f"{fps * (1 - count / frames):.0f} new ones come in a second; a smaller --fps would suit them"
        for name, count in sorted(total.items())
        if count > _MANY_REPEATS * frames
    ]


def _still_notes(episodes: list[RecordedEpisode], joints: Sequence[str]) -> list[str]:
    """Joints whose deviation is nothing that a policy should be scaled by."""
    if not episodes:
        return []
    lowest = np.min([episode.states.min(axis=0) for episode in episodes], axis=0)
    highest = np.max([episode.states.max(axis=0) for episode in episodes], axis=0)
    still = [joint for joint, span in zip(joints, highest - lowest, strict=True) if span < _STILL_RAD]
    if not still:
        return []
    return [
        f"no movement of {', '.join(still)}: a policy that normalises by the standard deviation of these data "
        "magnifies the slightest one; add episodes with movement"
    ]


def _notes(survey: Survey) -> list[str]:
    """What is not in the dataset."""
    notes = [f"damaged: {defect}" for defect in survey.defects]
    notes += [
        f"{topic}: {refused.messages} messages were refused, the first because {refused.first}"
        for topic, refused in survey.refused.items()
    ]
    for part in survey.left_out:
        start_s, end_s = ((time_ns - survey.start_ns) / 1e9 for time_ns in (part.start_ns, part.end_ns))
        if part.kind == "waiting" and end_s - start_s < _LONG_WAIT_S:
            continue
        verb = {"waiting": "begins after", "unwanted": "leaves out", "lost": "lacks"}[part.kind]
        notes.append(f"'{part.task}' {verb} {start_s:.2f} to {end_s:.2f} s: {part.reason}")
    if not survey.episodes and not survey.left_out:
        notes.append("no instruction is in force at any time")
    return notes
