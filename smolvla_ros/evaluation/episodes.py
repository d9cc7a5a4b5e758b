"""The procedure of one episode, and the figures of many."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from smolvla_ros.execution.metrics import wilson_interval
from smolvla_ros.msg import ExecutionStatus
from smolvla_ros.sim.evaluation import asked_in_turn
from smolvla_ros.sim.referee import Verdict
from smolvla_ros.sim.tasks import TASKS, Asked

from .operator import Operator

START_TIMEOUT_S = 60.0
EPISODE_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Task:
    """The seed of the world, what counts, the words."""

    seed: int
    asked: Asked
    instruction: str


@dataclass(frozen=True)
class Episode:
    """How a task went. Times in s; `latency_s` (from image stamp to chunk) and `inference_s` are medians of its chunks,
    None if no chunk came."""

    task: Task
    verdict: Verdict
    touched: str
    time_s: float
    latency_s: float | None
    inference_s: float | None
    idle_fraction: float | None

    @property
    def success(self) -> bool:
        return self.verdict.success


def draw_tasks(count: int, seed: int, name: str = "touch") -> list[Task]:
    """Tasks of a kind, colours and places in turn, wordings and worlds at random; worlds are drawn where training takes
    none from."""
    rng = np.random.default_rng(seed)
    tasks = []
    for index in range(count):
        asked = asked_in_turn(name, index)
        tasks.append(Task(int(rng.integers(1_000_000_000, 2_000_000_000)), asked, TASKS[name].say(asked, rng)))
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
    operator.reset_simulation(task.seed, task.asked)
    operator.set_active("controller_node", True)
    operator.start_collecting()
    start = time.monotonic()
    operator.say(task.instruction)
    message = operator.wait_for_verdict(EPISODE_TIMEOUT_S)
    time_s = time.monotonic() - start
    chunks, statuses = list(operator.chunks), list(operator.statuses)
    operator.pause(linger_s)
    operator.say("")
    return Episode(
        task=task,
        verdict=Verdict(**{field.name: getattr(message, field.name) for field in fields(Verdict)}),
        touched=message.touched,
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
    return float(idle_ticks / (last.ticks - first.ticks))


def summary(episodes: Sequence[Episode]) -> dict[str, float | int | str | None]:
    """The figures of `smolvla-ros evaluate` for episodes of one task: rates in [0, 1], of success with its 95 % Wilson
    interval, of everything else that a `Verdict` tells, and medians.

    `time_s` is over successful episodes. A median of nothing is None.
    """
    successes = [episode for episode in episodes if episode.success]
    low, high = wilson_interval(len(successes), len(episodes))
    rates = {
        field.name: sum(getattr(episode.verdict, field.name) for episode in episodes) / len(episodes)
        for field in fields(Verdict)
    }
    return {
        "task": episodes[0].task.asked.task,
        "episodes": len(episodes),
        **rates,
        "wilson_low": low,
        "wilson_high": high,
        "time_s": _median([episode.time_s for episode in successes]),
        "latency_s": _median([episode.latency_s for episode in episodes]),
        "idle_fraction": _median([episode.idle_fraction for episode in episodes]),
    }


def _median(values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None
