"""Whether commands stay on their plan: two random chunks after each other, at the limits of the configurations.

    python benchmarks/plan_quality.py --json plan.json

The real controller core in driven time at its own rate; the arm does what it is told. The first chunk is followed for a
while, then a second one arrives that begins elsewhere and goes its own way, as far and as fast as the limits and
`max_jump` of the configuration let it. What is measured, over all joints and pairs:

- off the plan: the largest distance between a command and what the plan wanted at that instant [mrad];
- overshoot: how far a command went past a second chunk that stands still, less what braking at the limit would [mrad];
- from the last row: the largest distance to it when the plan has ended [mrad];
- settled: time until commands stay within 1 mrad of the path through the rows, rounded; arrived: of the last row [s];
- clamped: how often a limit changed a command.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import yaml

from smolvla_ros.execution.chunk import Chunk, ChunkError
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.rounding import rounded
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.status import ControllerState
from smolvla_ros.execution.time_law import HEADROOM

CONFIGS = ("so101", "so101_sim")
PERIOD_NS, STEP_NS = 10_000_000, 33_333_333
SETTLED = 1e-3


def limits_of(config: str) -> JointLimits:
    """The limits that a controller node would have with this configuration."""
    path = Path(__file__).parent.parent / "config" / f"{config}.yaml"
    sections = yaml.safe_load(path.read_text())
    joints = sections["/**"]["ros__parameters"]["joints"]
    given = sections["/**/controller_node"]["ros__parameters"]
    defaults = {"max_step": 0.5, "max_jump": 0.5, "tracking_tolerance": 0.5}
    names = ("min_position", "max_position", "max_velocity", "max_acceleration", *defaults)
    table = [[(defaults | given[f"joint.{joint}"])[name] for joint in joints] for name in names]
    return JointLimits(tuple(joints), *np.array(table, dtype=np.float64))


def rows_of(random: np.random.Generator, limits: JointLimits, start: np.ndarray) -> np.ndarray:
    """A chunk from `start` inside all limits: standing, straight on, or swinging, at up to their full speed."""
    t = STEP_NS * 1e-9 * np.arange(random.integers(10, 60))[:, None]
    joints = len(limits.joints)
    rows = np.empty((len(t), joints))
    kind = random.integers(0, 3)
    share = random.choice([1.0, random.uniform(0.2, 1.0)])
    if kind == 0:
        rows[:] = start
    elif kind == 1:
        rows[:] = start + share * limits.velocity * random.uniform(-1.0, 1.0, joints) * t
    else:
        frequency = random.uniform(1.0, 8.0, joints)
        amplitude = share * np.minimum(limits.velocity / frequency, limits.acceleration / frequency**2)
        phase = random.uniform(0.0, 2.0 * np.pi, joints)
        rows[:] = start + amplitude * (np.sin(frequency * t + phase) - np.sin(phase))
    # Scaled towards the start until it fits between the position limits, the curve between its rows included.
    reach = np.where(rows > start, limits.upper - start, start - limits.lower) / np.maximum(np.abs(rows - start), 1e-12)
    return start + (rows - start) * np.minimum(0.97 * reach.min(axis=0), 1.0)


def pair(random: np.random.Generator, limits: JointLimits) -> dict[str, float] | None:
    """Follows two chunks; None if the second one was refused."""
    period_s = PERIOD_NS * 1e-9
    controller = Controller(ControllerSettings(limits, period_s))
    now_ns, middle, span = 10**12, 0.5 * (limits.lower + limits.upper), limits.upper - limits.lower
    position = middle + 0.3 * span * random.uniform(-1.0, 1.0, len(middle))
    controller.activate(now_ns, now_ns)
    commands, sequence, switch = [], 0, random.integers(20, 100)
    worst, follows = 0.0, 0

    def deliver(start: np.ndarray) -> np.ndarray | None:
        nonlocal sequence
        sequence += 1
        rows = rows_of(random, limits, np.clip(start, limits.lower + 0.02, limits.upper - 0.02))
        try:
            controller.receive_chunk(Chunk(1, sequence, now_ns, STEP_NS, rows), now_ns, now_ns)
        except ChunkError:
            return None
        return rows

    def tick() -> None:
        nonlocal now_ns, position, follows, worst
        now_ns += PERIOD_NS
        controller.receive_joint_positions(position, now_ns, now_ns)
        command = controller.step(now_ns, now_ns)
        if command is None:
            return
        position = command.positions
        commands.append(position)
        if controller.status().state == ControllerState.FOLLOWING:
            follows += 1
            planned = controller._machine.timeline.plan.sample(now_ns).position
            worst = max(worst, float(np.abs(position - planned).max()))

    for _ in range(5):
        tick()
    if deliver(position) is None:
        return None
    for _ in range(switch):
        tick()
    seam, speed = len(commands) - 1, controller._machine.commander.last.velocity
    jump = random.choice([0.0, 1.0]) * np.minimum(limits.jump, 0.3 * span) * random.uniform(-0.95, 0.95, len(middle))
    if (rows := deliver(position + jump)) is None:
        return None
    for _ in range(2000):
        tick()
        if controller.at_rest and controller.status().state == ControllerState.HOLDING:
            break
    counters = controller.status().counters
    return _measured(np.array(commands), seam, speed, rows, limits) | {
        "off_plan": worst,
        "clamped": counters.position.ticks + counters.velocity.ticks + counters.acceleration.ticks,
        "followed": follows,
    }


def _measured(
    commands: np.ndarray, seam: int, speed: np.ndarray, rows: np.ndarray, limits: JointLimits
) -> dict[str, float]:
    from scipy.interpolate import CubicSpline

    period_s = PERIOD_NS * 1e-9
    smooth = rounded(rows, STEP_NS * 1e-9, HEADROOM * limits.acceleration, np.broadcast_to(limits.path, rows[0].shape))
    path = CubicSpline(np.arange(len(rows)), smooth, bc_type="natural")(np.linspace(0, len(rows) - 1, 8 * len(rows)))
    after = commands[seam:]
    begin, along = path[:-1], path[1:] - path[:-1]
    length = np.maximum((along**2).sum(axis=1), 1e-18)
    away = after[:, None] - begin[None]
    place = np.clip((away * along).sum(axis=2) / length, 0.0, 1.0)
    distance = np.sqrt(((away - place[..., None] * along) ** 2).sum(axis=2).min(axis=1))
    arriving = np.abs(after - rows[-1]).max(axis=1)
    return {
        "overshoot": _beyond(after, speed, rows, limits),
        "at_rest": float(arriving[-1]),
        "settled_s": _last(distance > SETTLED) * period_s,
        "arrived_s": _last(arriving > SETTLED) * period_s,
    }


def _beyond(after: np.ndarray, speed: np.ndarray, rows: np.ndarray, limits: JointLimits) -> float:
    """How far a command went past a second chunk that stands still, which says without doubt what is past it.

    `speed` is that of the motion at the seam: where it speeds up, the mean of the period before is less.
    """
    if np.ptp(rows, axis=0).any():
        return 0.0
    offset = after - rows[-1]
    side = np.sign(np.where(np.abs(offset[0]) > SETTLED, offset[0], speed))
    approach = np.where(side * speed < 0.0, speed**2 / (2.0 * limits.acceleration), 0.0)
    unavoidable = np.maximum(approach - np.abs(offset[0]), 0.0)
    return float(np.maximum((-side * offset).max(axis=0) - unavoidable, 0.0).max())


def _last(flags: np.ndarray) -> int:
    """Samples up to the last one that is set."""
    return int(np.flatnonzero(flags)[-1]) + 1 if flags.any() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="of each configuration (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    print(
        "| config | pairs | off the plan | overshoot p99 | max | from the last row "
        "| settled p50 | p95 | arrived p50 | p95 | clamped |\n"
        "|---|" + "---:|" * 10
    )
    rows = []
    for config in CONFIGS:
        random, limits = np.random.default_rng(0), limits_of(config)
        measured: list[dict[str, float]] = []
        while len(measured) < arguments.pairs:
            if (one := pair(random, limits)) is not None:
                measured.append(one)
        column = {name: np.array([one[name] for one in measured]) for name in measured[0]}
        row = {"config": config, "pairs": len(measured), "off_plan_mrad": 1e3 * column["off_plan"].max()}
        row |= {"overshoot_p99_mrad": 1e3 * float(np.percentile(column["overshoot"], 99))}
        row |= {"overshoot_max_mrad": 1e3 * column["overshoot"].max(), "at_rest_mrad": 1e3 * column["at_rest"].max()}
        for name in ("settled_s", "arrived_s"):
            row |= {f"{name}_p{p}": float(np.percentile(column[name], p)) for p in (50, 95)}
        row["clamped_ticks"] = int(column["clamped"].sum())
        rows.append(row)
        figures = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()]
        print("| " + " | ".join(figures) + " |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
