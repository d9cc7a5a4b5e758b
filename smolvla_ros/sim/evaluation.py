"""How well a checkpoint does in closed loop, in virtual time: seeded episodes, layouts, words and latency at random.

The controller and the request rule are those of the nodes; `smolvla-ros evaluate` measures the same over ROS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.metrics import wilson_interval
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.model import SmolVLAPolicy
from smolvla_ros.policy.questions import ChunkSource
from smolvla_ros.policy.requests import RequestPolicy

from . import scenarios
from .expert import STEP_S
from .policies import CheckpointPolicy
from .referee import Verdict
from .task import COLOURS
from .tasks import TASKS, Asked
from .virtual_arm import VirtualArm
from .world import JOINTS, World

# Ticks of 1/30 s from a picture to the chunk made of it.
LATENCY_TICKS = (3, 6)
_CONTROL_PERIOD_S = 1.0 / 60.0


class ResettablePolicy(ChunkSource, Protocol):
    """A policy for many episodes. What is asked for is told to it too, for those that do not read."""

    def reset(self, seed: int) -> None: ...
    def ask(self, asked: Asked) -> None: ...


@dataclass(frozen=True)
class StageFigures:
    """Counts of the episodes of one task that got so far, see `referee.Verdict`; median time of the successes in s."""

    episodes: int
    success: int
    reached: int
    grasped: int
    right_object: int
    placed: int
    dropped: int
    moved_wrongly: int
    time_s: float

    @classmethod
    def of(cls, verdicts: Sequence[Verdict], times_s: Sequence[float]) -> StageFigures:
        counts = {f.name: sum(getattr(verdict, f.name) for verdict in verdicts) for f in fields(Verdict)}
        done = [time_s for verdict, time_s in zip(verdicts, times_s, strict=True) if verdict.success]
        return cls(episodes=len(verdicts), time_s=float(np.median(done)) if done else float("nan"), **counts)

    def __str__(self) -> str:
        low, high = wilson_interval(self.success, self.episodes)
        return (
            f"success {self.success} of {self.episodes} (95 % interval {low:.3f} to {high:.3f}), "
            f"reached {self.reached}, grasped {self.grasped}, right object {self.right_object}, "
            f"placed {self.placed}, dropped {self.dropped}, "
            f"moved wrongly {self.moved_wrongly}, median time {self.time_s:.2f} s"
        )


def evaluate_tasks(
    make_policy: Callable[[World], ResettablePolicy], names: Sequence[str], episodes: int, seed: int = 0
) -> dict[str, StageFigures]:
    """Runs `episodes` of each named task from home: colours and places in turn, the rest at random."""
    world = World(scene="pick_place")
    policy, settings = make_policy(world), controller_settings(world)
    figures = {}
    for name in names:
        verdicts, times_s = [], []
        for index in range(episodes):
            asked = asked_in_turn(name, index)
            rng = np.random.default_rng([seed, index, *name.encode()])
            world.reset(scenarios.FIRST_SEED + 100_000 * seed + index)
            policy.reset(int(rng.integers(2**31)))
            policy.ask(asked)
            arm = VirtualArm(
                world, policy, settings=settings, requests=RequestPolicy("continuous"), delay=partial(draw_delay, rng)
            )
            verdict, ticks = scenarios.watched(arm, asked, TASKS[name].say(asked, rng))
            verdicts.append(verdict)
            times_s.append(len(ticks) * STEP_S)
        figures[name] = StageFigures.of(verdicts, times_s)
    world.close()
    return figures


def evaluate_checkpoint(folder: Path, episodes: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """The figures of every task for the checkpoint in `folder`, as plain numbers."""
    model = CheckpointPolicy(SmolVLAPolicy.from_checkpoint(folder))
    return {
        name: asdict(figures) for name, figures in evaluate_tasks(lambda _: model, [*TASKS], episodes, seed).items()
    }


def asked_in_turn(name: str, index: int) -> Asked:
    """Colours in turn, and with every round of them another place."""
    task = TASKS[name]
    colour = COLOURS[index % len(COLOURS)] if task.names_cube else ""
    return Asked(name, colour, task.places[index // len(COLOURS) % len(task.places)])


def draw_delay(rng: np.random.Generator) -> int:
    """Ticks from a picture to the chunk made of it."""
    return int(rng.integers(LATENCY_TICKS[0], LATENCY_TICKS[1] + 1))


def controller_settings(world: World) -> ControllerSettings:
    """The controller of the nodes: the arm's own ranges, and speeds that the demonstrations never come near."""
    ranges = np.array([world.model.joint(name).range for name in JOINTS])
    ones = np.ones(len(JOINTS))
    limits = JointLimits(
        JOINTS, ranges[:, 0], ranges[:, 1],
        velocity=4.0 * ones, acceleration=30.0 * ones, step=2.0 * ones, jump=2.0 * ones, tracking=2.0 * ones,
    )  # fmt: skip
    return ControllerSettings(limits, _CONTROL_PERIOD_S)
