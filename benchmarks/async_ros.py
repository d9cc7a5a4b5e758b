"""Synchronous and asynchronous execution over ROS in real time, next to virtual time at the latency that was measured.

    python benchmarks/async_ros.py --episodes 12 --latency 0.25

Starts the processes of `smolvla-ros arm` with an inference that takes `--latency` seconds at least, and gives the arm
the tasks of async_execution.py. Needs a machine with time to spare: real time waits for nobody.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from async_execution import METHODS, ROOT, Cell, Options, measure
from async_report import write_agreement
from rich.console import Console
from rich.progress import track

from smolvla_ros.bringup import ArmOptions, arm_processes
from smolvla_ros.bringup.processes import NodeProcess
from smolvla_ros.bringup.supervisor import supervise
from smolvla_ros.evaluation.episodes import idle_since_motion
from smolvla_ros.evaluation.operator import Interrupted, Operator, OperatorError
from smolvla_ros.execution import metrics
from smolvla_ros.installation import find_ros_in_virtual_environment
from smolvla_ros.policy.envelope import latency_rows
from smolvla_ros.sim import scenarios
from smolvla_ros.sim.expert import STEP_S
from smolvla_ros.sim.tasks import Asked

_START_TIMEOUT_S = 60.0


class DelayedPolicyProcess(NodeProcess):
    """The policy node with an injected latency."""

    @property
    def command(self) -> list[str]:
        python, _, *arguments = super().command
        return [python, str(ROOT / "benchmarks" / "delayed_policy_node.py"), *arguments]


@dataclass(frozen=True)
class Episode:
    """How a task went. The rest is of the arm from its first command on, the cube before included."""

    success: bool
    time_s: float
    idle: float
    seams: list[float]
    latencies_s: list[float]


def run_task(operator: Operator, seed: int) -> Episode:
    """The task of `scenarios.task`, by topics and services."""
    first, second = scenarios.draw_task(seed)
    operator.set_active("controller_node", False)
    operator.reset_simulation(first.world_seed, Asked("touch", first.target))
    operator.set_active("controller_node", True)
    operator.start_collecting()
    operator.say(first.words)
    operator.wait_for_verdict(scenarios.LEAD_IN_S)
    operator.change_task(Asked("touch", second.target))
    start = time.monotonic()
    operator.say(second.words)
    touched = operator.wait_for_verdict(scenarios.TIME_LIMIT_S).touched
    time_s = time.monotonic() - start
    statuses, chunks = list(operator.statuses), list(operator.chunks)
    operator.say("")
    idle = idle_since_motion(statuses)
    seams = {status.sequence: status.seam_jump for status in statuses if status.seam_jump >= 0}
    return Episode(
        success=touched == second.target,
        time_s=time_s,
        idle=math.nan if idle is None else idle,
        seams=list(seams.values())[1:],
        latencies_s=[chunk.latency_s for chunk in chunks],
    )


def run_method(method: str, args: argparse.Namespace, console: Console) -> list[Episode]:
    """All episodes of one way of execution, on nodes started for it."""
    episodes: list[Episode] = []

    def work(stop: threading.Event) -> int:
        with Operator("", stop) as operator:
            try:
                for name in ("sim_node", "controller_node", "policy_node"):
                    operator.wait_until_active(name, _START_TIMEOUT_S)
                for seed in track(range(args.episodes), description=method, console=console):
                    episodes.append(run_task(operator, args.seed + seed))
            except (Interrupted, OperatorError) as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
        return 0

    if supervise(_processes(method, args), work) != 0:
        raise SystemExit(1)
    return episodes


def _processes(method: str, args: argparse.Namespace) -> Sequence[NodeProcess]:
    changes = {
        "policy_node": {**METHODS[method].policy, "injected_latency_s": args.latency, "torch_threads": 1, "seed": 0},
        "controller_node": METHODS[method].controller,
        "sim_node": {},
    }
    processes = []
    for process in arm_processes(ArmOptions(checkpoint=args.policy, log_level="error")):
        changed = replace(process, parameters={**process.parameters, **changes[process.name]})
        delayed = process.name == "policy_node"
        processes.append(DelayedPolicyProcess(**vars(changed)) if delayed else changed)
    return processes


def summary(method: str, episodes: list[Episode]) -> dict[str, float | str | int]:
    """The figures of `async_execution.Row` that can be had from outside."""
    done = [episode for episode in episodes if episode.success]
    low, high = metrics.wilson_interval(len(done), len(episodes))
    seams = [seam for episode in episodes for seam in episode.seams]
    return {
        "method": method,
        "clock": "real",
        "latency_s": float(np.median([latency for episode in episodes for latency in episode.latencies_s])),
        "episodes": len(episodes),
        "success": len(done) / len(episodes),
        "wilson_low": low,
        "wilson_high": high,
        "time_s": float(np.mean([episode.time_s for episode in done])) if done else math.nan,
        "idle": float(np.nanmean([episode.idle for episode in episodes])),
        "seam_p95": float(np.percentile(seams, 95)) if seams else math.nan,
    }


def virtual(method: str, latency_s: float, args: argparse.Namespace) -> dict[str, float | str | int]:
    """The same tasks in virtual time."""
    options = Options(
        policy=args.policy, episodes=args.episodes, windows=0, reactions=0, seed=args.seed, from_rest=False,
        policy_values={}, controller_values={},
    )  # fmt: skip
    delay = latency_rows(latency_s, STEP_S)
    row = asdict(measure(Cell(method, delay, 0.0), options))
    kept = ("method", "episodes", "success", "wilson_low", "wilson_high", "time_s", "idle", "seam_p95")
    return {"clock": "virtual", "latency_s": delay * STEP_S, **{name: row[name] for name in kept}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default=str(ROOT / "checkpoints" / "demo"), help="checkpoint folder")
    parser.add_argument("--methods", nargs="+", default=["sync", "ease_in"], choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--episodes", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.25, help="least time of an inference [s]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--no-docs", action="store_true", help="leave the table in docs/ as it is")
    args = parser.parse_args()
    find_ros_in_virtual_environment()
    console = Console(stderr=True)
    rows = []
    for method in args.methods:
        real = summary(method, run_method(method, args, console))
        rows += [real, virtual(method, float(real["latency_s"]), args)]
    for row in rows:
        print("  ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
                        for name, value in row.items()))  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    if not args.no_docs:
        write_agreement(rows, ROOT / "docs")


if __name__ == "__main__":
    main()
