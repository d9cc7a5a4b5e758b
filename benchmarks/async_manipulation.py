"""Ways of executing chunks, compared in virtual time where contact decides: picking up and placing, by latency.

    python benchmarks/async_manipulation.py [--task place] [--methods sync ease_in] [--delays 0 8 15] [--episodes 100]

The policy that ships, the request rules and the controller run as in the nodes. `--image-lag` makes pictures older than
joint positions; `--look-every` asks the policy after so many executed actions instead of by the method's own rule.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from async_execution import DEFAULT_METHODS, METHODS, ROOT, Cell, Executed, Options, make_arm, motion
from machine import machine
from rich.console import Console
from rich.table import Table

from smolvla_ros.execution.metrics import wilson_interval
from smolvla_ros.sim import World, scenarios
from smolvla_ros.sim.evaluation import asked_in_turn
from smolvla_ros.sim.expert import STEP_S
from smolvla_ros.sim.tasks import TASKS


@dataclass(frozen=True)
class ManipulationRow(Executed):
    """Rates are of `episodes`; `tasks_per_minute` is what one after the other would give, failures included."""

    task: str
    grasped: float
    dropped: float
    moved_wrongly: float
    seam_p95: float


def measure(task: str, cell: Cell, options: Options) -> ManipulationRow:
    """Runs all episodes of one row; in a process of its own."""
    world, verdicts, runs = World(scene="pick_place"), [], []
    for index in range(options.episodes):
        asked, seed = asked_in_turn(task, index), options.seed + index
        rng = np.random.default_rng([seed, *task.encode()])
        world.reset(scenarios.FIRST_SEED + seed)
        verdict, ticks = scenarios.watched(make_arm(cell, options, world, seed), asked, TASKS[task].say(asked, rng))
        verdicts.append(verdict)
        runs.append(ticks)
    world.close()
    done = [len(ticks) * STEP_S for verdict, ticks in zip(verdicts, runs, strict=True) if verdict.success]
    low, high = wilson_interval(len(done), len(verdicts))
    told = ("grasped", "dropped", "moved_wrongly")
    rates = {name: float(np.mean([getattr(verdict, name) for verdict in verdicts])) for name in told}
    moved = motion(runs)
    return ManipulationRow(
        **asdict(cell), **rates, task=task, episodes=len(verdicts), success=len(done) / len(verdicts), wilson_low=low,
        wilson_high=high, time_s=float(np.mean(done)) if done else float("nan"), idle=moved["idle"],
        tasks_per_minute=60 * len(done) / (STEP_S * sum(map(len, runs))), seam_p95=moved["seam_p95"],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("touch", "pick", "place"), default="place")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=DEFAULT_METHODS)
    parser.add_argument("--delays", nargs="+", type=int, default=(0, 4, 8, 15, 20), metavar="TICKS")
    parser.add_argument("--jitter", type=float, default=0.25, help="part of the delay, both ways (default: 0.25)")
    parser.add_argument("--image-lag", type=int, default=0, metavar="TICKS")
    parser.add_argument("--look-every", type=int, default=0, metavar="ACTIONS")
    parser.add_argument("--episodes", type=int, default=100, help="of each row (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    every = {"request_rule": "every_n", "request_every_n": args.look_every} if args.look_every else {}
    options = Options(
        policy=str(ROOT / "checkpoints" / "demo"), episodes=args.episodes, windows=0, reactions=0, seed=args.seed,
        from_rest=True, image_lag=args.image_lag, policy_values=every, controller_values={},
    )  # fmt: skip
    cells = [Cell(method, delay, args.jitter) for delay in args.delays for method in args.methods]
    console = Console(width=130)
    console.print(f"{machine()}, virtual time")
    table = Table("method", "delay", "success", "95 %", "grasped", "dropped", "time", "tasks/min", "idle", "seam p95")
    rows = []
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(measure, args.task, cell, options) for cell in cells]:
            row = future.result()
            rows.append(asdict(row))
            table.add_row(
                row.method, f"{row.delay}", f"{row.success:.2f}", f"{row.wilson_low:.2f} to {row.wilson_high:.2f}",
                f"{row.grasped:.2f}", f"{row.dropped:.2f}", f"{row.time_s:.1f} s", f"{row.tasks_per_minute:.1f}",
                f"{row.idle:.0%}", f"{row.seam_p95:.3f}",
            )  # fmt: skip
    console.print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
