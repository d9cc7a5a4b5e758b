"""The tables and the plot of docs/explanation/async.md, from the rows of async_execution.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Rows = Sequence[dict[str, Any]]

PAGE = "explanation/async.md"
_END = "<!-- end -->"
PLOT = "images/async_execution.png"
# Okabe and Ito: told apart by all eyes.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2")
_MARKERS = "osv^D<>"
_PANELS = (
    ("success", "success rate"),
    ("time_s", "time to completion [s]"),
    ("tasks_per_minute", "tasks done in a minute"),
    ("idle", "idle fraction"),
    ("seam_ratio", "seam jump p95 / median step"),
    ("reaction_s", "reaction to a moved cube [s]"),
)


def write_docs(rows: Rows, docs: Path) -> None:
    """Rewrites the tables of docs/explanation/async.md and its plot.

    Raises:
        ValueError: the marks are missing.
    """
    rows = [{**row, "seam_ratio": _ratio(row["seam_p95"], row["step_p50"])} for row in rows]
    plot(rows, docs / PLOT)
    _replace(docs / PAGE, "async_execution.py: comparison", _comparison(rows))
    _replace(docs / PAGE, "async_execution.py: all rows", _table(rows))


def write_agreement(rows: Rows, docs: Path) -> None:
    """Rewrites the comparison of real and virtual time in docs/explanation/async.md, from the rows of async_ros.py."""
    lines = [
        "| method | time | latency | success | time to completion | idle | seam p95 |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['method']} | {row['clock']} | {1e3 * row['latency_s']:.0f} ms | {_success(row)} "
            f"| {row['time_s']:.2f} s | {row['idle']:.1%} | {row['seam_p95']:.4f} rad |"
        )
    _replace(docs / PAGE, "async_ros.py", "\n".join(lines))


def _replace(page: Path, name: str, content: str) -> None:
    """Puts `content` between the marks of this name."""
    begin = f"<!-- begin {name} -->"
    text = page.read_text()
    if begin not in text or _END not in text.split(begin, 1)[1]:
        raise ValueError(f"{page} lacks {begin!r} followed by {_END!r}")
    before, rest = text.split(begin, 1)
    page.write_text(f"{before}{begin}\n\n{content}\n\n{_END}{rest.split(_END, 1)[1]}")


def plot(rows: Rows, file: Path) -> None:
    """Every figure against the delay, one line per method; without jitter, where there are such rows."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.5), layout="constrained")
    steady = [row for row in rows if row["jitter"] == 0] or rows
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for panel, (key, title) in zip(axes.flat, _PANELS, strict=True):
        for place, method in enumerate(methods):
            _line(panel, [row for row in steady if row["method"] == method], key, place)
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("delay [ticks of 1/30 s]")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    axes.flat[4].axhline(2.0, color="grey", linestyle=":", linewidth=1)
    axes.flat[0].legend(methods, fontsize=9, loc="lower left")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _line(panel: Axes, rows: Rows, key: str, place: int) -> None:
    style = {"color": _COLOURS[place], "marker": _MARKERS[place], "markersize": 5, "linewidth": 1.6}
    # Methods next to one another instead of on top of one another.
    delays = [row["delay"] + 0.12 * (place - 2) for row in rows]
    values = [row[key] for row in rows]
    if key == "success":
        spread = [[max(0.0, row["success"] - row["wilson_low"]) for row in rows],
                  [max(0.0, row["wilson_high"] - row["success"]) for row in rows]]  # fmt: skip
        panel.errorbar(delays, values, yerr=spread, capsize=2, elinewidth=0.8, **style)
    else:
        panel.plot(delays, values, **style)


def _comparison(rows: Rows) -> str:
    """Each method against synchronous execution at the same delay, where that was measured."""
    lines = [
        "| delay | method | success | time to completion | tasks per minute | idle | seam p95 / step | reaction |",
        "|---|---|---|---|---|---|---|---|",
    ]
    sync = {(row["delay"], row["jitter"]): row for row in rows if row["method"] == "sync"}
    for row in sorted((row for row in rows if row["jitter"] == 0), key=lambda row: row["delay"]):
        base = sync.get((row["delay"], 0.0))
        if row["delay"] not in (8, 15) or base is None:
            continue
        faster = "" if row is base else f" ({_change(row['time_s'], base['time_s'])})"
        more = "" if row is base else f" (x {row['tasks_per_minute'] / base['tasks_per_minute']:.2f})"
        lines.append(
            f"| {row['delay']} | {row['method']} | {_success(row)} | {row['time_s']:.2f} s{faster} "
            f"| {row['tasks_per_minute']:.0f}{more} | {row['idle']:.1%} | {row['seam_ratio']:.2f} "
            f"| {row['reaction_s']:.2f} s |"
        )
    return "\n".join(lines)


def _table(rows: Rows) -> str:
    columns = {
        "delay": "{}", "jitter": "{:.0%}", "method": "{}", "time_s": "{:.2f}", "tasks_per_minute": "{:.1f}",
        "idle": "{:.3f}", "seam_p50": "{:.4f}", "seam_p95": "{:.4f}", "step_p50": "{:.4f}", "jerk_rms": "{:.0f}",
        "reaction_s": "{:.2f}",
    }  # fmt: skip
    names = list(columns)
    names.insert(3, "success")
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in sorted(rows, key=lambda row: (row["delay"], row["jitter"])):
        cells = [_success(row) if name == "success" else columns[name].format(row[name]) for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _success(row: dict[str, Any]) -> str:
    return f"{row['success']:.0%} [{row['wilson_low']:.0%}, {row['wilson_high']:.0%}]"


def _change(value: float, base: float) -> str:
    return f"{value / base - 1:+.0%}"


def _ratio(value: float, unit: float) -> float:
    return value / unit if unit > 0 else math.nan
