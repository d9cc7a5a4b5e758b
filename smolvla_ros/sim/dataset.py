"""Training samples: pictures of random layouts with the arm anywhere it may get to, labelled by the scripted expert.

The expert knows what to do from any state, so samples need not be recordings: the arm is put at a state near some path
to some cube, both cameras are rendered, and the next actions are written down, for each cube that could be named. So
the data hold what a wrong action leads to, arms already at a cube when the instruction changes, and for every picture
four different right answers, which only the instruction tells apart.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .expert import CLOSED_GRIPPER, Goal, ScriptedExpert
from .kinematics import Kinematics
from .layout import ANGLE_RAD, PAN_AXIS_XY, RADIUS_M, Layout
from .task import COLOURS
from .world import CAMERAS, HOME, World

CHUNK_STEPS = 50
SHARD = 1000

_STATES_PER_LAYOUT = 4
_PATH_STEPS = 60
_LOWEST_TOOL_M = 0.02
# Pictures and joint states are up to some hundredths of a second apart, and encoders are not exact.
_MEASUREMENT_STD_RAD = 0.01


@dataclass(frozen=True)
class Demonstrations:
    """N samples; joints in rad, in the order of `world.JOINTS`; the second axis of the last two is that of `COLOURS`.

    images uint8 [N, cameras, H, W, 3], states [N, 6], actions [N, colours, CHUNK_STEPS, 6], goals [N, colours, 6].
    """

    images: NDArray[np.uint8]
    states: NDArray[np.float32]
    actions: NDArray[np.float32]
    goals: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.states)


def make_samples(folder: Path, count: int, seed: int, workers: int) -> Demonstrations:
    """Renders `count` samples (rounded up to whole shards) into `folder`, or takes those that are there already.

    The samples are a function of `seed` alone, not of the number of workers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"samples_{seed}_{shard:03d}.npz" for shard in range(-(-count // SHARD))]
    missing = [(path, (seed, shard)) for shard, path in enumerate(paths) if not path.exists()]
    # A forked child would inherit the parent's OpenGL state.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in [pool.submit(_write_shard, *job) for job in missing]:
            done.result()
    shards = [np.load(path) for path in paths]
    return Demonstrations(
        **{field.name: np.concatenate([shard[field.name] for shard in shards]) for field in fields(Demonstrations)}
    )


def draw_samples(count: int, seed: tuple[int, ...] | int) -> Demonstrations:
    """`count` samples from `seed`, in this process."""
    rng = np.random.default_rng(seed)
    world, expert = World(), ScriptedExpert()
    parts: list[list[NDArray[np.generic]]] = [[], [], [], []]
    while len(parts[0]) < count:
        layout = Layout.draw(rng)
        world.reset(0, layout)
        goals = Goal.stack([expert.goal(cube.xy, cube.top_m) for cube in layout.cubes])
        states = draw_states(goals, expert, rng, _STATES_PER_LAYOUT)
        parts[0].extend(_pictures(world, joints) for joints in states)
        parts[1].extend(states + rng.normal(0.0, _MEASUREMENT_STD_RAD, states.shape))
        each = np.broadcast_to(states[:, None], (len(states), *goals.touch.shape))
        parts[2].extend(expert.actions(each, goals, CHUNK_STEPS))
        parts[3].extend([goals.touch] * len(states))
    world.close()
    images, states, actions, touches = (np.stack(part[:count]) for part in parts)
    return Demonstrations(images.astype(np.uint8), *(array.astype(np.float32) for array in (states, actions, touches)))


def _pictures(world: World, joints: NDArray[np.float64]) -> NDArray[np.uint8]:
    world.place_arm(joints)
    return np.stack([world.render(camera) for camera in CAMERAS])


def draw_states(goals: Goal, expert: ScriptedExpert, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """States [count, 6] near paths to the cubes of `goals`: from home, from another cube, or from anywhere above."""
    tries = 2 * count  # some end up in the table
    pairs = np.array([rng.choice(len(COLOURS), 2, replace=False) for _ in range(tries)])
    goal = Goal(*(getattr(goals, field.name)[pairs[:, 0]] for field in fields(Goal)))
    starts = [(HOME, HOME, goals.touch[other], _anywhere(expert.kinematics, rng)) for _, other in pairs]
    start = np.stack([options[rng.integers(4)] for options in starts])
    path = np.concatenate([start[:, None], expert.actions(start, goal, _PATH_STEPS)], axis=1)
    # A tenth at the very start: every episode begins there.
    steps = np.where(rng.random(tries) < 0.1, 0, rng.integers(_PATH_STEPS, size=tries))
    spread = rng.choice([0.01, 0.04, 0.15], size=(tries, 1), p=[0.4, 0.4, 0.2])
    states = path[np.arange(tries), steps] + rng.normal(0.0, 1.0, start.shape) * spread
    states = states[expert.kinematics.tool(states)[:, 2] > _LOWEST_TOOL_M][:count]
    return states if len(states) == count else draw_states(goals, expert, rng, count)


def _anywhere(kinematics: Kinematics, rng: np.random.Generator) -> NDArray[np.float64]:
    radius, angle = rng.uniform(*RADIUS_M), rng.uniform(*ANGLE_RAD)
    xy = PAN_AXIS_XY + radius * np.array([np.cos(angle), np.sin(angle)])
    roll, gripper = rng.normal(0.0, 0.3), CLOSED_GRIPPER + abs(rng.normal(0.0, 0.3))
    return kinematics.inverse([*xy, rng.uniform(0.05, 0.12)], roll, gripper)


def _write_shard(path: Path, seed: tuple[int, int]) -> None:
    samples = draw_samples(SHARD, seed)
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **{field.name: getattr(samples, field.name) for field in fields(Demonstrations)})
    unfinished.rename(path)
