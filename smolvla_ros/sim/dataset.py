"""Training samples: pictures of random layouts with the arm anywhere it may get to, labelled by the scripted expert.

The expert knows what to do from any state, so samples need not be recordings. They come from three sources: states set
by hand (`states`), the expert's own episodes with errors added, and episodes of a checkpoint, whose states are those
that its mistakes lead to (DAgger, Ross et al. 2011). Every picture is labelled for everything that could be asked for,
so only the instruction tells the right answers apart.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.policy.requests import RequestPolicy

from .evaluation import controller_settings, draw_delay
from .labels import Labeller, Things
from .layout import Layout
from .policies import CheckpointPolicy, ManipulatorPolicy
from .states import StateDrawer
from .task import COLOURS
from .tasks import TASKS, Asked
from .virtual_arm import VirtualArm
from .world import CAMERAS, World

CHUNK_STEPS = 32
SHARD = 1000
# Everything that could be asked for, in the order of a sample's actions.
ASKED = tuple(
    Asked(task.name, colour, place)
    for task in TASKS.values()
    for place in task.places
    for colour in (COLOURS if task.names_cube else ("",))
)
THINGS = (*COLOURS, "plate", "bin")
AIMED_JOINTS = 4  # the joints that decide where the grasp point is

_STATES_PER_LAYOUT = 6
# Pictures and joint states are up to some hundredths of a second apart, and encoders are not exact.
_MEASUREMENT_STD_RAD = 0.004
_AIM_HEIGHT_M = 0.03
_EPISODE_STEPS, _EVERY = 300, 4
_ERRORS_RAD = (0.0, 0.02, 0.05)
_DONE_STEPS = 12
_NICENESS = 3  # training goes first


@dataclass(frozen=True)
class LabelledStates:
    """N samples; joints in rad, in the order of `world.JOINTS`.

    images uint8 [N, cameras, H, W, 3]; states [N, 6]; actions [N, asked, CHUNK_STEPS, 6] in the order of `ASKED`;
    aims [N, things, 4]: joints over each of `THINGS`; near [N, things, 2]: how far each is from the grasp point,
    outward and sideways, m; held [N]: 1 if a cube is in the hand; focus [N]: index of the colour that it is about.
    """

    images: NDArray[np.uint8]
    states: NDArray[np.float32]
    actions: NDArray[np.float32]
    aims: NDArray[np.float32]
    near: NDArray[np.float32]
    held: NDArray[np.float32]
    focus: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.states)


@dataclass(frozen=True)
class Seen:
    """One state before it is labelled: pictures [cameras, H, W, 3], joints [6], things, index of the colour."""

    pictures: NDArray[np.uint8]
    joints: NDArray[np.float64]
    things: Things
    focus: int


def label(seen: Sequence[Seen], labeller: Labeller, rng: np.random.Generator) -> LabelledStates:
    """What was seen, with labels, in its order."""
    joints = np.stack([one.joints for one in seen])
    xy = np.stack([_positions(one.things) for one in seen])
    above = np.concatenate([xy, np.full((*xy.shape[:2], 1), _AIM_HEIGHT_M)], axis=-1)
    return LabelledStates(
        images=np.stack([one.pictures for one in seen]),
        states=(joints + rng.normal(0.0, _MEASUREMENT_STD_RAD, joints.shape)).astype(np.float32),
        actions=labeller.chunks([(one.joints, one.things) for one in seen], ASKED, CHUNK_STEPS).astype(np.float32),
        aims=labeller.manipulator.kinematics.joints(above, 0.0)[..., :AIMED_JOINTS].astype(np.float32),
        near=np.stack([labeller.near(one.joints, one.things) for one in seen]).astype(np.float32),
        held=np.array([bool(labeller.held(one.joints, one.things)) for one in seen], np.float32),
        focus=np.array([one.focus for one in seen]),
    )


def _positions(things: Things) -> NDArray[np.float64]:
    return np.concatenate([things.cubes[:, :2], [things.places["plate"], things.places["bin"]]])


def drawn_states(seed: Sequence[int]) -> Iterator[Seen]:
    """States set by hand, without end."""
    rng = np.random.default_rng(seed)
    world, labeller = World(scene="pick_place"), Labeller()
    while True:
        layout = Layout.draw(rng, world.scene)
        world.reset(0, layout)
        drawer = StateDrawer(labeller.manipulator.kinematics, layout, rng)
        for _ in range(_STATES_PER_LAYOUT):
            state = drawer.draw()
            for colour, cube, yaw in zip(COLOURS, state.things.cubes, state.yaws, strict=True):
                world.place_cube(colour, cube, yaw)
            world.place_arm(state.joints)
            yield Seen(_pictures(world), world.joint_positions(), state.things, COLOURS.index(state.colour))


def met_states(seed: Sequence[int], checkpoint: Path | None) -> Iterator[Seen]:
    """States that a checkpoint meets in the physics (None: the expert, disturbed), without end."""
    from smolvla_ros.model import SmolVLAPolicy

    rng = np.random.default_rng(seed)
    world = World(scene="pick_place")
    model = CheckpointPolicy(SmolVLAPolicy.from_checkpoint(checkpoint)) if checkpoint else None
    settings = controller_settings(world)
    while True:
        world.reset(0, Layout.draw(rng, world.scene))
        asked, words = draw_asked(rng)
        policy = model or ManipulatorPolicy(world, float(rng.choice(_ERRORS_RAD)))
        policy.reset(int(rng.integers(2**31)))
        policy.ask(asked)
        arm = VirtualArm(
            world, policy, settings=settings, requests=RequestPolicy("continuous"), delay=lambda: draw_delay(rng)
        )
        yield from _episode(arm, asked, words, int(rng.integers(_EVERY)))


def draw_asked(rng: np.random.Generator) -> tuple[Asked, str]:
    """Something to ask for, and the words: mostly to place, which is hardest."""
    name = str(rng.choice(["place", "pick", "touch", "stay"], p=[0.6, 0.2, 0.12, 0.08]))
    task = TASKS[name]
    colour = str(rng.choice(COLOURS)) if task.names_cube else ""
    asked = Asked(name, colour, str(rng.choice(task.places)))
    return asked, task.say(asked, rng)


def _episode(arm: VirtualArm, asked: Asked, words: str, first: int) -> Iterator[Seen]:
    world, done = arm.world, 0
    focus = COLOURS.index(asked.colour) if asked.colour else 0
    for step in range(_EPISODE_STEPS if asked.colour else _EPISODE_STEPS // 4):
        if step % _EVERY == first:
            things = Things.of(world)
            if not things.reachable:
                return
            yield Seen(_pictures(world), world.joint_positions(), things, focus)
        arm.step(words)
        done = done + 1 if asked.colour and TASKS[asked.task].is_done(world, asked) else 0
        if done > _DONE_STEPS:
            return


def make_samples(source: Iterator[Seen], count: int, seed: Sequence[int]) -> LabelledStates:
    """The first `count` of a source, labelled."""
    labeller, rng = Labeller(), np.random.default_rng([*seed, 1])
    parts = []
    while count > 0:
        seen = list(islice(source, min(100, count)))
        parts.append(label(seen, labeller, rng))
        count -= len(seen)
    return LabelledStates(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(LabelledStates)))


@dataclass(frozen=True)
class SampleSource:
    """A part of the samples: its name in file names, how many shards, and the checkpoint that meets the states."""

    name: str
    shards: int
    checkpoint: Path | None = None


class ShardFactory:
    """Makes shards in processes of its own, or takes those that are there already.

    Shards are a function of the seed (and of the checkpoint) alone, not of the number of workers.
    """

    def __init__(self, folder: Path, seed: int, workers: int):
        self._folder, self._seed, self._workers = folder, seed, workers
        self._pool: ProcessPoolExecutor | None = None

    def start(self, source: SampleSource) -> list[tuple[Path, Future[None] | None]]:
        """Begins to make what is missing of a source."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._pool is None:
            # A forked child would inherit the parent's OpenGL state and torch's threads.
            self._pool = ProcessPoolExecutor(self._workers, mp_context=multiprocessing.get_context("spawn"))
        paths = [self._folder / f"{source.name}_{self._seed}_{index:03d}.npz" for index in range(source.shards)]
        return [
            (path, None if path.exists() else self._pool.submit(_write_shard, path, source, (self._seed, index)))
            for index, path in enumerate(paths)
        ]

    def finish(self, started: list[tuple[Path, Future[None] | None]]) -> list[LabelledStates]:
        """Waits for what was started and loads it."""
        for _, future in started:
            if future is not None:
                future.result()
        return [load(path) for path, _ in started]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def load(path: Path) -> LabelledStates:
    with np.load(path) as shard:
        return LabelledStates(**{field.name: shard[field.name] for field in fields(LabelledStates)})


def _write_shard(path: Path, source: SampleSource, seed: tuple[int, int]) -> None:
    import torch

    torch.set_num_threads(1)
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    tagged = (*seed, *source.name.encode())
    states = drawn_states(tagged) if source.name == "drawn" else met_states(tagged, source.checkpoint)
    samples = make_samples(states, SHARD, tagged)
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **{field.name: getattr(samples, field.name) for field in fields(LabelledStates)})
    unfinished.rename(path)


def _pictures(world: World) -> NDArray[np.uint8]:
    return np.stack([world.render(camera) for camera in CAMERAS])
