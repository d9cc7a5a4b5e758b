"""Draws docs/images/seams.png and prints the table of docs/explanation/execution.md: one seam under every merge rule.

    python docs/plot_seams.py

The commands are those of the real controller core in driven time: a first chunk along a sine, and 0.6 s later a
second one that disagrees by 0.12 rad and turns earlier, observed 0.2 s before it arrives. Control at 100 Hz, policy
at 30 Hz.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from smolvla_ros.execution import metrics
from smolvla_ros.execution.chunk import Chunk
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.merge import MERGE_RULES
from smolvla_ros.execution.settings import ControllerSettings

PICTURE = Path(__file__).parent / "images" / "seams.png"
PERIOD_S, STEP_S, ROWS = 0.01, 1.0 / 30.0, 30
SEAM_S, LATENCY_S, START_S = 0.6, 0.2, 1000.0
STYLES = (
    ("ease-in over 5 rows", "tab:blue", {}),
    ("no ease-in: limits only", "tab:orange", {"ease_in_rows": 0}),
    ("ease-in, linear interpolation", "tab:green", {"interpolation": "linear"}),
)


def first(times_s: np.ndarray) -> np.ndarray:
    return 0.6 * (1.0 - np.cos(1.6 * times_s))


def second(times_s: np.ndarray) -> np.ndarray:
    return 0.6 * (1.0 - np.cos(1.6 * times_s)) * np.exp(-0.5 * np.maximum(times_s - SEAM_S, 0.0)) - 0.12


def chunk(function, sequence: int, stamp_s: float) -> Chunk:
    rows = function(stamp_s + STEP_S * np.arange(ROWS))[:, None]
    return Chunk(1, sequence, round((START_S + stamp_s) * 1e9), round(STEP_S * 1e9), rows)


def commands(**changes) -> tuple[np.ndarray, np.ndarray]:
    """Instants [s] and commanded positions [rad]."""
    one = np.ones(1)
    limits = JointLimits(("joint",), -3 * one, 3 * one, 4 * one, 30 * one, one, one, one)
    controller = Controller(replace(ControllerSettings(limits, PERIOD_S), **changes))
    controller.activate(round(START_S * 1e9) - 1, 0)
    waiting = [chunk(first, 1, 0.0), chunk(second, 2, SEAM_S - LATENCY_S)]
    arrival_s = [0.0, SEAM_S]
    times, positions, position = [], [], np.zeros(1)
    for tick in range(round(1.3 / PERIOD_S)):
        at_s = tick * PERIOD_S
        now_ns = round((START_S + at_s) * 1e9)
        for _ in range(3):  # motion starts from states that agree
            controller.receive_joint_positions(position, now_ns, now_ns)
        if waiting and at_s >= arrival_s[-len(waiting)]:
            controller.receive_chunk(waiting.pop(0), now_ns, now_ns)
        command = controller.step(now_ns, now_ns)
        if command is not None:
            position = command.positions
            times.append(at_s)
            positions.append(position[0])
    return np.array(times), np.array(positions)


def draw() -> None:
    figure, axes = plt.subplots(3, len(MERGE_RULES), figsize=(17, 8), sharex=True, sharey="row")
    for column, rule in zip(axes.T, MERGE_RULES, strict=True):
        for label, colour, changes in STYLES:
            times, positions = commands(merge_rule=rule, **changes)
            for order, axis in enumerate(column):
                values = np.diff(positions, n=(0, 1, 3)[order]) / PERIOD_S ** (0, 1, 3)[order]
                axis.plot(times[len(times) - len(values) :], values, color=colour, label=label, linewidth=1.2)
        old_s, new_s = STEP_S * np.arange(ROWS), SEAM_S - LATENCY_S + STEP_S * np.arange(ROWS)
        column[0].plot(old_s, first(old_s), ".", color="0.6", markersize=4, label="first chunk")
        column[0].plot(new_s, second(new_s), "x", color="0.4", markersize=4, label="second chunk")
        column[0].set_title(rule)
        for axis in column:
            axis.axvline(SEAM_S, color="0.8", linewidth=0.8, zorder=0)
            axis.grid(alpha=0.25)
        column[2].set_xlabel("s")
    axes[0, 0].set(ylabel="position [rad]", xlim=(0.45, 1.2), ylim=(0.0, 0.7))
    axes[1, 0].set(ylabel="velocity [rad/s]", ylim=(-2.0, 2.5))
    axes[2, 0].set(ylabel="jerk [rad/s³]", ylim=(-4000, 4000))
    axes[0, 0].legend(fontsize=7, loc="upper left")
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=80)


def print_table() -> None:
    print("| merge rule | | largest step | jerk RMS | jerk p99 |\n|---|---|---:|---:|---:|")
    for rule in MERGE_RULES:
        for label, _, changes in STYLES:
            times, positions = commands(merge_rule=rule, **changes)
            part = positions[(times >= SEAM_S - 0.1) & (times <= SEAM_S + 0.4)][:, None]
            step = np.abs(np.diff(part, axis=0)).max()
            rms, p99 = metrics.jerk_rms(part, PERIOD_S)[0], metrics.jerk_percentile(part, PERIOD_S)[0]
            print(f"| {rule} | {label} | {step:.4f} rad | {rms:.0f} | {p99:.0f} rad/s³ |")


if __name__ == "__main__":
    draw()
    print_table()
