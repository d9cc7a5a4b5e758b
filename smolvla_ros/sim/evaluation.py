"""How well a policy does in closed loop, in virtual time: seeded episodes with words, latency and layouts at random."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .expert import STEP_S
from .task import COLOURS, draw_instruction
from .units import to_checkpoint, to_radians
from .world import CAMERAS, World

Array = NDArray[np.float64]

# Pictures by camera, measured joints [6] and the instruction -> a chunk of joint commands [rows, 6]; all in rad.
Policy = Callable[[dict[str, NDArray[np.uint8]], Array, str], Array]

# Far from the seeds of training, which count from 0 in streams of their own.
FIRST_SEED = 1_000_000


def checkpoint_policy(folder: Path) -> Policy:
    """The policy in a checkpoint folder, with pictures by camera name and joints in rad."""
    from smolvla_ros.model import SmolVLAPolicy  # scripted experts can be evaluated without torch

    loaded = SmolVLAPolicy.from_checkpoint(folder)

    def policy(pictures: dict[str, NDArray[np.uint8]], joints: Array, instruction: str) -> Array:
        images = {f"observation.images.{camera}": picture for camera, picture in pictures.items()}
        return to_radians(loaded.infer(images, to_checkpoint(joints), instruction))

    return policy


@dataclass(frozen=True)
class Episode:
    """How one episode went: the colour of the first cube touched ('' = none) and when."""

    seed: int
    target: str
    touched: str
    time_s: float

    @property
    def success(self) -> bool:
        return self.touched == self.target

    @property
    def wrong_object(self) -> bool:
        return self.touched not in ("", self.target)


def evaluate(
    policy: Policy, episodes: int, seed: int = 0, latency_ticks: tuple[int, int] = (3, 6), time_limit_s: float = 6.0
) -> Iterator[Episode]:
    """Runs seeded episodes one by one; the latency of each inference is drawn from `latency_ticks`, ends included."""
    world = World()
    for index in range(episodes):
        rng = np.random.default_rng((seed, index))
        world.reset(FIRST_SEED + 100_000 * seed + index)
        target = COLOURS[rng.integers(len(COLOURS))]
        instruction = draw_instruction(target, rng)
        _run(world, policy, instruction, rng, latency_ticks, time_limit_s)
        yield Episode(FIRST_SEED + 100_000 * seed + index, target, world.touched(), world.time_s)
    world.close()


def _run(
    world: World, policy: Policy, instruction: str, rng: np.random.Generator, latency: tuple[int, int], limit_s: float
) -> None:
    """A new observation whenever the last inference is done; a new chunk replaces the old one, past rows skipped."""
    chunk, observed, arriving = world.joint_positions()[None], 0, (-1, 0, world.joint_positions()[None])
    for tick in range(round(limit_s / STEP_S)):
        if arriving[0] < tick:
            pictures = {camera: world.render(camera) for camera in CAMERAS}
            prediction = policy(pictures, world.joint_positions(), instruction)
            arriving = (tick + int(rng.integers(latency[0], latency[1] + 1)), tick, prediction)
        if arriving[0] == tick:
            observed, chunk = arriving[1:]
        world.set_targets(chunk[min(tick - observed, len(chunk) - 1)])
        world.step(STEP_S)
        if world.touched():
            return


def summary(episodes: list[Episode]) -> str:
    """One line for logs: success, wrong cubes, median time."""
    success, wrong = (sum(getattr(e, name) for e in episodes) for name in ("success", "wrong_object"))
    times = [episode.time_s for episode in episodes if episode.success]
    median = f"{np.median(times):.2f} s" if times else "-"
    return f"success {success} of {len(episodes)}, wrong cube {wrong}, median time {median}"
