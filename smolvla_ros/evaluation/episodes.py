"""The procedure of one episode, and the figures of many."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from smolvla_ros.execution.metrics import wilson_interval
from smolvla_ros.msg import ExecutionStatus
from smolvla_ros.sim.task import COLOURS, draw_instruction

from .operator import Operator

START_TIMEOUT_S = 60.0
EPISODE_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class Task:
    """What is asked for: the seed of the world, the colour that counts, the words."""

    seed: int
    target: str
    instruction: str


@dataclass(frozen=True)
class Episode:
    """How a task went. Times in s; `latency_s` (from image stamp to chunk) and `inference_s` are medians of its chunks,
    None if no chunk came."""

    task: Task
    success: bool
    touched: str
    time_s: float
    latency_s: float | None
    inference_s: float | None
    idle_fraction: float | None


def draw_tasks(count: int, seed: int) -> list[Task]:
    """Tasks with colours in turn, wordings and worlds at random; worlds are drawn where training takes none from."""
    rng = np.random.default_rng(seed)
    tasks = []
    for i in range(count):
        colour = COLOURS[i % len(COLOURS)]
        tasks.append(Task(int(rng.integers(1_000_000_000, 2_000_000_000)), colour, draw_instruction(colour, rng)))
    return tasks


def run_episodes(operator: Operator, tasks: Sequence[Task], linger_s: float = 0.0) -> Iterator[Episode]:
    """Waits for the nodes, then does one task after the other; each goes on for `linger_s` after it is decided.

    Raises:
        OperatorError: a node did not come up or stopped answering.
        Interrupted: the operator was told to stop.
    """
    for node_name in ("sim_node", "controller_node", "policy_node"):
        operator.wait_until_active(node_name, START_TIMEOUT_S)
    for task in tasks:
        yield _run_episode(operator, task, linger_s)


def _run_episode(operator: Operator, task: Task, linger_s: float) -> Episode:
    operator.set_active("controller_node", False)
    operator.reset_simulation(task.seed, task.target)
    operator.set_active("controller_node", True)
    operator.start_collecting()
    start = time.monotonic()
    operator.say(task.instruction)
    touched = operator.wait_for_touch(EPISODE_TIMEOUT_S)
    time_s = time.monotonic() - start
    chunks, statuses = list(operator.chunks), list(operator.statuses)
    operator.pause(linger_s)
    operator.say("")
    return Episode(
        task=task,
        success=operator.succeeded,
        touched=touched,
        time_s=time_s,
        latency_s=_median([chunk.latency_s for chunk in chunks]),
        inference_s=_median([chunk.inference_s for chunk in chunks]),
        idle_fraction=idle_since_motion(statuses),
    )


def idle_since_motion(statuses: Sequence[ExecutionStatus]) -> float | None:
    """Part of the control periods without an action, counted from the first motion on; None if there was none."""
    first = next((status for status in statuses if status.state == ExecutionStatus.FOLLOWING), None)
    if first is None or statuses[-1].ticks == first.ticks:
        return None
    last = statuses[-1]
    idle_ticks = round(last.idle_fraction * last.ticks) - round(first.idle_fraction * first.ticks)
    return idle_ticks / (last.ticks - first.ticks)


def summary(episodes: Sequence[Episode]) -> dict[str, float | int | None]:
    """The figures of `smolvla-ros evaluate`: rates in [0, 1], of success with its 95 % Wilson interval, and medians.

    `time_s` is over successful episodes; `wrong_object` is the rate of episodes in which another cube was touched
    first. A median of nothing is None.
    """
    successes = [episode for episode in episodes if episode.success]
    wrong = [episode for episode in episodes if episode.touched not in ("", episode.task.target)]
    low, high = wilson_interval(len(successes), len(episodes))
    return {
        "episodes": len(episodes),
        "success": len(successes) / len(episodes),
        "wilson_low": low,
        "wilson_high": high,
        "wrong_object": len(wrong) / len(episodes),
        "time_s": _median([episode.time_s for episode in successes]),
        "latency_s": _median([episode.latency_s for episode in episodes]),
        "idle_fraction": _median([episode.idle_fraction for episode in episodes]),
    }


def _median(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None
