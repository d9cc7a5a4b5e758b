"""How well a checkpoint does in closed loop, in virtual time: seeded episodes, layouts, words and latency at random.

The controller and the request rule are those of the nodes; `smolvla-ros evaluate` measures the same over ROS.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.metrics import wilson_interval
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.model import SmolVLAPolicy
from smolvla_ros.policy.requests import RequestPolicy

from .policies import CheckpointPolicy
from .scenarios import Outcome, task
from .virtual_arm import VirtualArm
from .world import JOINTS, World

# Ticks of 1/30 s from a picture to the chunk made of it.
LATENCY_TICKS = (3, 6)
_CONTROL_PERIOD_S = 1.0 / 60.0


@dataclass(frozen=True)
class Figures:
    """Counts of episodes, and the median time of the successful ones in s."""

    episodes: int
    successes: int
    wrong_cubes: int
    time_s: float

    def __str__(self) -> str:
        low, high = wilson_interval(self.successes, self.episodes)
        return (
            f"success {self.successes} of {self.episodes} (95 % interval {low:.3f} to {high:.3f}), "
            f"wrong cube {self.wrong_cubes}, median time {self.time_s:.2f} s"
        )


def evaluate(folder: Path, episodes: int, seed: int = 0, from_rest: bool = True) -> Figures:
    """Runs episodes from home (or, not `from_rest`, from the cube touched before) with the checkpoint in `folder`."""
    world, policy = World(), CheckpointPolicy(SmolVLAPolicy.from_checkpoint(folder))
    settings = ControllerSettings(_limits(world), _CONTROL_PERIOD_S)

    def make_arm(world: World, arm_seed: int) -> VirtualArm:
        delays = np.random.default_rng(arm_seed)
        policy.reset(arm_seed)
        return VirtualArm(
            world,
            policy,
            settings=settings,
            requests=RequestPolicy("continuous"),
            delay=lambda: int(delays.integers(LATENCY_TICKS[0], LATENCY_TICKS[1] + 1)),
        )

    outcomes = [task(world, make_arm, 100_000 * seed + index, from_rest) for index in range(episodes)]
    world.close()
    return _figures(outcomes)


def _figures(outcomes: list[Outcome]) -> Figures:
    done = [outcome for outcome in outcomes if outcome.success]
    wrong = [outcome for outcome in outcomes if outcome.touched and not outcome.success]
    times = [outcome.time_s for outcome in done]
    return Figures(len(outcomes), len(done), len(wrong), float(np.median(times)) if times else float("nan"))


def _limits(world: World) -> JointLimits:
    """The arm's own ranges, and speeds that the demonstrations never come near."""
    ranges = np.array([world.model.joint(name).range for name in JOINTS])
    ones = np.ones(len(JOINTS))
    return JointLimits(
        JOINTS, ranges[:, 0], ranges[:, 1],
        velocity=4.0 * ones, acceleration=30.0 * ones, step=2.0 * ones, jump=2.0 * ones, tracking=2.0 * ones,
    )  # fmt: skip
