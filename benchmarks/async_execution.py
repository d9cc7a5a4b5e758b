"""Ways of executing chunks, compared in virtual time: success, speed, idle time, smoothness and reaction by latency.

    python benchmarks/async_execution.py                          # everything; rewrites the table and plots in docs/
    python benchmarks/async_execution.py --policy expert --episodes 5 --delays 0 8 --no-docs --json result.json

The simulated arm, the shipped policy, the request rules and the controller run as in the nodes, one tick per action
period, so the results do not depend on the speed of the machine. See docs/explanation/async.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from async_report import write_docs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from smolvla_ros.execution import metrics
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.nodes import controller_settings
from smolvla_ros.parameters import ParameterSet, Value
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.robot.joint_limits import limits_from
from smolvla_ros.sim import JOINTS, World, scenarios
from smolvla_ros.sim.expert import STEP_S
from smolvla_ros.sim.policies import CheckpointPolicy, ExpertPolicy
from smolvla_ros.sim.virtual_arm import Tick, VirtualArm

ROOT = Path(__file__).resolve().parents[1]
# 90 Hz: what fits into an action period and is next to the 100 Hz of the controller node.
CONTROL_STEPS = 3
WINDOW_S = 60.0


@dataclass(frozen=True)
class Method:
    """A way of execution: what differs from the defaults of the nodes' parameters."""

    policy: dict[str, Value] = field(default_factory=dict)
    controller: dict[str, Value] = field(default_factory=dict)


METHODS = {
    "sync": Method({"request_rule": "synchronous"}),
    "latest": Method(controller={"ease_in_rows": 0}),
    "weighted_average": Method(controller={"ease_in_rows": 0, "merge_rule": "weighted_average"}),
    "ease_in": Method(),
    "rtc": Method({"rtc": "lerobot"}, {"ease_in_rows": 0}),
    "rtc_paper": Method({"rtc": "paper"}, {"ease_in_rows": 0}),
    "rtc_ease_in": Method({"rtc": "lerobot"}),
}
DEFAULT_METHODS = ("sync", "latest", "weighted_average", "ease_in", "rtc", "rtc_paper")


@dataclass(frozen=True)
class Cell:
    """One row to be measured; delays are drawn from `delay` * (1 +- `jitter`), in ticks."""

    method: str
    delay: int
    jitter: float


@dataclass(frozen=True)
class Executed:
    """The figures of one cell that every task has, see `Row`."""

    method: str
    delay: int
    jitter: float
    episodes: int
    success: float
    wilson_low: float
    wilson_high: float
    time_s: float
    tasks_per_minute: float
    idle: float


@dataclass(frozen=True)
class Row(Executed):
    """The figures of one cell.

    Attributes:
        success, wilson_low, wilson_high: of `episodes`; `time_s`: mean over the successful ones.
        tasks_per_minute: done right in windows of 60 s.
        idle: part of the ticks without an action, from the first chunk on.
        seam_p50, seam_p95: largest joint step from the last command of a chunk to the first of the next [rad].
        step_p50: median of that step within chunks [rad].
        jerk_rms: over time and joints [rad/s^3].
        reaction_s: mean time from a cube being moved to the first command that knows.
    """

    seam_p50: float
    seam_p95: float
    step_p50: float
    jerk_rms: float
    reaction_s: float


@dataclass(frozen=True)
class Options:
    """What is measured in every cell; `policy_values` and `controller_values` replace defaults of the parameters.

    `image_lag`: ticks by which pictures are older than joint positions.
    """

    policy: str
    episodes: int
    windows: int
    reactions: int
    seed: int
    from_rest: bool
    image_lag: int
    policy_values: dict[str, Value]
    controller_values: dict[str, Value]


def measure(cell: Cell, options: Options) -> Row:
    """Runs everything for one row; in a process of its own."""
    world = _world(options.policy)
    prepared = partial(make_arm, cell, options)
    seeds = range(options.seed, options.seed + options.episodes)
    episodes = [scenarios.task(world, prepared, seed, options.from_rest) for seed in seeds]
    tasks = [scenarios.tasks_for(world, prepared, options.seed + i, WINDOW_S) for i in range(options.windows)]
    reactions = [scenarios.reaction_s(world, prepared, options.seed + i) for i in range(options.reactions)]
    done = [episode for episode in episodes if episode.success]
    low, high = metrics.wilson_interval(len(done), len(episodes))
    return Row(
        **asdict(cell),
        episodes=len(episodes),
        success=len(done) / len(episodes),
        wilson_low=low,
        wilson_high=high,
        time_s=_mean([episode.time_s for episode in done]),
        tasks_per_minute=_mean([sum(task.success for task in window) * 60.0 / WINDOW_S for window in tasks]),
        reaction_s=_mean(reactions),
        **motion([episode.ticks for episode in episodes]),
    )


def motion(runs: list[list[Tick]]) -> dict[str, float]:
    """Idle time, seams and jerk of the motion from the first command on."""
    idle, seams, steps, squared_jerk = [], [], [], []
    for run in runs:
        moving = [tick for tick in run if len(tick.commands) == CONTROL_STEPS]
        idle += [tick.idle for tick in moving]
        commands = np.concatenate([tick.commands for tick in moving])
        for index, tick in enumerate(moving[1:], start=1):
            before, first = moving[index - 1].commands[-1], tick.commands[0]
            if tick.merged:
                seams.append(metrics.seam_jump(before, first))
            elif not tick.idle:
                steps.append(metrics.seam_jump(before, first))
        squared_jerk.append((metrics.jerk(commands, STEP_S / CONTROL_STEPS) ** 2).ravel())
    return {
        "idle": metrics.idle_fraction(~np.array(idle)),
        "seam_p50": _percentile(seams, 50),
        "seam_p95": _percentile(seams, 95),
        "step_p50": _percentile(steps, 50),
        "jerk_rms": float(np.sqrt(np.concatenate(squared_jerk).mean())),
    }


def make_arm(cell: Cell, options: Options, world: World, seed: int) -> VirtualArm:
    method = METHODS[cell.method]
    parameters = PolicyParameters.from_values(
        {"checkpoint": options.policy, "joints": list(JOINTS), **options.policy_values, **method.policy}
    )
    asked = _policy(parameters)
    asked.reset(seed)
    delays = np.random.default_rng((seed, cell.delay))
    low, high = round(cell.delay * (1 - cell.jitter)), round(cell.delay * (1 + cell.jitter))
    return VirtualArm(
        world,
        asked,
        settings=_settings(tuple(sorted({**options.controller_values, **method.controller}.items()))),
        requests=policy_setup.request_policy(parameters),
        delay=lambda: int(delays.integers(low, high + 1)),
        loop=replace(policy_setup.loop_settings(parameters, session=1), max_failures=1),
        image_lag=options.image_lag,
    )


@cache
def _world(policy: str) -> World:
    """The scene that the policy knows."""
    return World(scene="touch" if policy == "expert" else "pick_place")


def _policy(parameters: PolicyParameters) -> ExpertPolicy | CheckpointPolicy:
    if parameters.checkpoint == "expert":
        return ExpertPolicy(_world("expert"))
    return CheckpointPolicy(_model(parameters.checkpoint), policy_setup.guide(parameters))


@cache
def _model(checkpoint: str) -> Any:
    import torch

    from smolvla_ros.model import SmolVLAPolicy

    torch.set_num_threads(1)
    return SmolVLAPolicy.from_checkpoint(checkpoint)


@cache
def _settings(changed: tuple[tuple[str, Value], ...]) -> ControllerSettings:
    """The controller of the simulated arm, as configured for its node."""
    sections = yaml.safe_load((ROOT / "config" / "so101_sim.yaml").read_text())
    given = dict(_flat(sections["/**"]["ros__parameters"]) | _flat(sections["/**/controller_node"]["ros__parameters"]))
    given |= {"control_rate_hz": CONTROL_STEPS / STEP_S, **dict(changed)}
    parameters = ControllerParameters.from_values(given)
    return controller_settings.settings_from(parameters, limits_from(parameters, None))


def _flat(section: dict[str, Any], prefix: str = "") -> dict[str, Value]:
    flat: dict[str, Value] = {}
    for name, value in section.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _percentile(values: list[float], p: float) -> float:
    return float(np.percentile(values, p)) if values else math.nan


def run(cells: list[Cell], options: Options, workers: int, console: Console) -> Iterator[Row]:
    """All rows, in the order of the cells."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
    ):
        bar = progress.add_task("starting", total=len(cells))
        futures = {pool.submit(measure, cell, options): cell for cell in cells}
        rows = {}
        for future in as_completed(futures):
            cell = futures[future]
            rows[cell] = future.result()
            progress.update(bar, advance=1, description=f"{cell.method}, {cell.delay} ticks")
    yield from (rows[cell] for cell in cells)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--policy", default=str(ROOT / "checkpoints" / "demo"), help="checkpoint folder, or 'expert' (no network)")
    add("--methods", nargs="+", default=list(DEFAULT_METHODS), choices=list(METHODS), metavar="METHOD")
    add("--delays", nargs="+", type=int, default=[0, 1, 2, 4, 8, 15, 20], metavar="TICKS")
    add("--jitter", nargs="+", type=float, default=[0.0, 0.5], help="delays vary by this part of themselves")
    add("--episodes", type=int, default=24, help="tasks for the success rate and the time")
    add("--windows", type=int, default=3, help="minutes of tasks, one after the other")
    add("--reactions", type=int, default=10, help="cubes that are moved")
    add("--seed", type=int, default=0)
    add("--from-rest", action="store_true", help="tasks begin with the arm at home instead of at another cube")
    add("--image-lag", type=int, default=0, metavar="TICKS", help="pictures are older than the joint positions")
    add("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of the policy or controller node")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    add("--json", type=Path, metavar="FILE", help="write the rows there")
    add("--rows", type=Path, nargs="+", metavar="FILE", help="measure nothing: docs from the rows of earlier --json")
    add("--no-docs", action="store_true", help="leave the table and plots in docs/ as they are")
    return parser.parse_args(arguments)


def _chosen(kind: type[ParameterSet], pairs: list[str]) -> dict[str, Value]:
    names = {parameter.name for parameter in kind.declared()}
    given = dict(pair.split("=", 1) for pair in pairs)
    return {name: yaml.safe_load(text) for name, text in given.items() if name in names}


def main() -> None:
    args = parse()
    if args.rows:
        write_docs([row for file in args.rows for row in _read(file)], ROOT / "docs")
        return
    options = Options(
        policy=args.policy,
        episodes=args.episodes,
        windows=args.windows,
        reactions=args.reactions,
        seed=args.seed,
        from_rest=args.from_rest,
        image_lag=args.image_lag,
        policy_values=_chosen(PolicyParameters, args.set),
        controller_values=_chosen(ControllerParameters, args.set),
    )
    every = itertools.product(args.methods, args.delays, args.jitter)
    cells = [Cell(method, delay, jitter) for method, delay, jitter in every if delay > 0 or jitter == 0]
    rows = list(run(cells, options, args.workers, Console(stderr=True)))
    table = [asdict(row) for row in rows]
    if args.json:
        args.json.write_text(json.dumps([{k: _json(v) for k, v in row.items()} for row in table], indent=1) + "\n")
    if not args.no_docs:
        write_docs(table, ROOT / "docs")
    for row in table:
        print("  ".join(f"{name}={_short(row[name])}" for name in (f.name for f in fields(Row))))


def _read(file: Path) -> list[dict[str, Any]]:
    rows = json.loads(file.read_text())
    return [{name: math.nan if value is None else value for name, value in row.items()} for row in rows]


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
