"""What an arm in virtual time is asked to do: one task, tasks for a minute, and a task whose cube is moved.

Everything follows from a seed: layout, colours, words and noise are the same for every way of execution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from .expert import STEP_S
from .labels import Things
from .layout import REGIONS
from .referee import Referee, Verdict
from .scene import PLACES
from .task import COLOURS, draw_instruction
from .tasks import TASKS, Asked
from .virtual_arm import Tick, VirtualArm
from .world import World

# Far from the seeds of training, which count from 0.
FIRST_SEED = 2_000_000_000

LEAD_IN_S = 5.0
TIME_LIMIT_S = 8.0
EPISODE_LIMIT_S = 12.0  # where something is picked up
CHANGES = ("another place", "another cube", "stop")
_STILL_RAD = 0.10
# When the cube is moved: some time after the first motion, while the arm is still on its way.
_MOVED_AFTER_S = (0.1, 0.8)

MakeArm = Callable[[World, int], VirtualArm]


@dataclass(frozen=True)
class Outcome:
    """How a task went: the cube asked for, the one touched ('' = none), the time [s], and every tick of the run."""

    target: str
    touched: str
    time_s: float
    ticks: list[Tick] = field(repr=False)

    @property
    def success(self) -> bool:
        return self.touched == self.target


@dataclass(frozen=True)
class TouchTask:
    """What is asked for: seed of the world, colour that counts, words."""

    world_seed: int
    target: str
    words: str


def draw_task(seed: int) -> tuple[TouchTask, TouchTask]:
    """What the arm is doing when a task comes, and the task."""
    rng = np.random.default_rng(seed)
    first, second = (str(colour) for colour in rng.permutation(COLOURS)[:2])
    world_seed = FIRST_SEED + seed
    return (
        TouchTask(world_seed, first, draw_instruction(first, rng)),
        TouchTask(world_seed, second, draw_instruction(second, rng)),
    )


def task(world: World, make_arm: MakeArm, seed: int, from_rest: bool = False) -> Outcome:
    """One task for an arm at work: it has just touched another cube, its instruction changes now.

    Args:
        world: is reset.
        make_arm: gives an arm in the world; its second argument seeds noise and delays.
        seed: decides the rest.
        from_rest: leave out the first cube: the arm stands at home, switched on just now.
    """
    first, second = draw_task(seed)
    world.reset(first.world_seed)
    arm = make_arm(world, seed)
    ticks = []
    if not from_rest:
        ticks += _until_touch(arm, first.words, LEAD_IN_S)
        world.forget_touch()
    counted = _until_touch(arm, second.words, TIME_LIMIT_S)
    return Outcome(second.target, world.touched(), len(counted) * STEP_S, ticks + counted)


def watched(arm: VirtualArm, asked: Asked, words: str) -> tuple[Verdict, list[Tick]]:
    """One task, until it is decided or the time is up: how far it got, and every tick of it."""
    referee = Referee(arm.world, asked)
    ticks: list[Tick] = []
    while len(ticks) < round(EPISODE_LIMIT_S / STEP_S) and not referee.decided:
        ticks.append(arm.step(words))
        referee.watch()
    return referee.verdict(), ticks


def changed_while_carrying(arm: VirtualArm, asked: Asked, change: str, rng: np.random.Generator) -> bool | None:
    """The instruction changes as soon as the cube of `asked` hangs in the hand.

    Args:
        asked: to place something.
        change: one of `CHANGES`.
        rng: draws words, and the other cube.

    Returns:
        Whether what was asked for last is so in the end: the cube in the other place; the other cube placed and the
        first put down, not dropped out of reach; the arm at rest with the cube in its hand. None: nothing was lifted.
    """
    world, first = arm.world, Referee(arm.world, asked)
    words = TASKS["place"].say(asked, rng)
    for _ in range(round(EPISODE_LIMIT_S / STEP_S)):
        arm.step(words)
        first.watch()
        if (verdict := first.verdict()).grasped or first.decided:
            break
    if not verdict.grasped or first.decided:
        return None
    if change == "stop":
        return _holds(arm, asked.colour)
    if change == "another place":
        then = Asked("place", asked.colour, next(place for place in PLACES if place != asked.place))
    else:
        other = str(rng.choice([colour for colour in COLOURS if colour != asked.colour]))
        then = Asked("place", other, asked.place)
    verdict, _ = watched(arm, then, TASKS["place"].say(then, rng))
    put_down = asked.colour not in world.pressed() and Things.of(world).reachable
    return verdict.success and (put_down or change == "another place")


def _holds(arm: VirtualArm, colour: str) -> bool:
    """Told to stop: after half a second the arm rests for two more, the cube still in its hand."""
    for _ in range(round(0.5 / STEP_S)):
        arm.step("stop")
    before = arm.world.joint_positions()
    for _ in range(round(2.0 / STEP_S)):
        arm.step("stop")
    still = np.abs(arm.world.joint_positions() - before).max() < _STILL_RAD
    return bool(still and colour in arm.world.pressed())


def tasks_for(world: World, make_arm: MakeArm, seed: int, duration_s: float) -> list[Outcome]:
    """One task after the other, each given when the one before is done or failed, until the time is over.

    The other cubes are put back where they lay at first, as a person would: pushed together in the course of a minute,
    they would be a scene that no policy was trained for. The cube touched last is left alone, the fingers are on it.
    """
    arm, rng = _start(world, make_arm, seed)
    outcomes: list[Outcome] = []
    left_s, target = duration_s, ""
    while left_s > STEP_S / 2:
        target = str(rng.choice([colour for colour in COLOURS if colour != target]))
        words = draw_instruction(target, rng)
        for cube in world.layout.cubes:
            if cube.colour != world.touched():
                world.move_cube(cube.colour, cube.xy)
        world.forget_touch()
        ticks = _until_touch(arm, words, min(left_s, TIME_LIMIT_S))
        outcomes.append(Outcome(target, world.touched(), len(ticks) * STEP_S, ticks))
        left_s -= len(ticks) * STEP_S
    return outcomes


def reaction_s(world: World, make_arm: MakeArm, seed: int) -> float:
    """Time from the moment a cube is moved, in the middle of the motion, to the first command that knows of it."""
    arm, rng = _start(world, make_arm, seed)
    target = str(rng.choice(COLOURS))
    words = draw_instruction(target, rng)
    moved_tick = -1
    to_go = round(rng.uniform(*_MOVED_AFTER_S) / STEP_S)
    for _ in range(round(TIME_LIMIT_S / STEP_S)):
        if to_go == 0:
            world.move_cube(target, _free_place(world, target, rng))
        tick = arm.step(words)
        if to_go == 0:
            moved_tick = tick.tick
        if 0 <= moved_tick <= tick.observation_tick and not tick.idle:
            return (tick.tick - moved_tick) * STEP_S
        to_go -= tick.sequence > 0
    raise RuntimeError(f"no command knew of the moved cube within {TIME_LIMIT_S} s")


def _start(world: World, make_arm: MakeArm, seed: int) -> tuple[VirtualArm, np.random.Generator]:
    world.reset(FIRST_SEED + seed)
    return make_arm(world, seed), np.random.default_rng(seed)


def _until_touch(arm: VirtualArm, words: str, limit_s: float) -> list[Tick]:
    return list(_steps(arm, words, round(limit_s / STEP_S)))


def _steps(arm: VirtualArm, words: str, limit: int) -> Iterator[Tick]:
    for _ in range(limit):
        yield arm.step(words)
        if arm.world.touched():
            return


def _free_place(world: World, moved: str, rng: np.random.Generator) -> tuple[float, float]:
    """Somewhere within reach, clear of the other cubes."""
    region = REGIONS[world.scene]
    others = [world.cube_position(colour)[:2] for colour in COLOURS if colour != moved]
    others += [np.asarray(place) for place in world.layout.places.values()]
    while True:
        place = region.draw_xy(rng)
        if all(np.linalg.norm(place - other) >= region.spacing_m for other in others):
            return float(place[0]), float(place[1])
