"""The scripted expert that touches cubes."""

import numpy as np
import pytest

from smolvla_ros.sim.expert import MAX_SPEED, STEP_S, ScriptedExpert
from smolvla_ros.sim.task import COLOURS
from smolvla_ros.sim.world import HOME, World


def touches(world: World, expert: ScriptedExpert, colour: str) -> bool:
    goal = expert.goal(world.cube_position(colour), world.layout.cube(colour).top_m)
    for _ in range(150):
        world.set_targets(expert.step(world.joint_positions(), goal))
        world.step(STEP_S)
        if world.touched():
            break
    return world.touched() == colour


def test_it_touches_the_named_cube_and_then_another_one_in_every_layout(world: World, expert: ScriptedExpert) -> None:
    failures = []
    for seed in range(50):
        world.reset(seed)
        for colour in (COLOURS[seed % 4], COLOURS[(seed + 1) % 4]):
            if not touches(world, expert, colour):
                failures.append((seed, colour, world.touched()))
            world.step(0.2)
            world.forget_touch()
    assert not failures


def test_it_never_moves_a_joint_faster_than_it_may(expert: ScriptedExpert) -> None:
    goal = expert.goal((0.25, 0.1), 0.04)
    rows = expert.actions(HOME, goal, 80)
    steps = np.diff(np.concatenate([HOME[None], rows]), axis=0)
    assert np.abs(steps).max() <= MAX_SPEED * STEP_S + 1e-9
    assert np.abs(rows[-1] - goal.touch).max() < 1e-3


def test_it_answers_many_states_as_it_answers_each_one(expert: ScriptedExpert) -> None:
    goal = expert.goal((0.22, -0.12), 0.04)
    states = HOME + np.random.default_rng(0).normal(0, 0.2, (3, 2, 6))
    together = expert.actions(states, goal, 20)
    assert together.shape == (3, 2, 20, 6)
    assert np.allclose(together[1, 1], expert.actions(states[1, 1], goal, 20))


@pytest.mark.parametrize("colour", COLOURS)
def test_holding_on_the_cube_is_where_the_way_ends(expert: ScriptedExpert, world: World, colour: str) -> None:
    cube = world.layout.cube(colour)
    goal = expert.goal(cube.xy, cube.top_m)
    assert np.allclose(expert.actions(goal.touch, goal, 50), goal.touch, atol=1e-6)
