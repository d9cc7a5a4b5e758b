"""The policy that ships, held against what the README says of it."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from smolvla_ros.model import SmolVLAPolicy
from smolvla_ros.policy.questions import Question
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.robot.observation import Observation, Pictures
from smolvla_ros.sim import scenarios
from smolvla_ros.sim.evaluation import controller_settings, draw_delay, evaluate_tasks
from smolvla_ros.sim.layout import PAN_AXIS_XY
from smolvla_ros.sim.policies import CheckpointPolicy
from smolvla_ros.sim.scene import PLACES
from smolvla_ros.sim.task import COLOURS
from smolvla_ros.sim.tasks import Asked
from smolvla_ros.sim.virtual_arm import VirtualArm
from smolvla_ros.sim.world import CAMERAS, HOME, World


@pytest.fixture(scope="module")
def checkpoint(repository: Path) -> Path:
    return repository / "checkpoints" / "demo"


@pytest.fixture(scope="module")
def policy(checkpoint: Path) -> CheckpointPolicy:
    return CheckpointPolicy(SmolVLAPolicy.from_checkpoint(checkpoint))


def test_it_is_small_enough_for_a_repository(checkpoint: Path) -> None:
    assert sum(file.stat().st_size for file in checkpoint.rglob("*")) < 20e6


def test_this_machine_computes_what_the_training_machine_computed(checkpoint: Path) -> None:
    difference = SmolVLAPolicy.from_checkpoint(checkpoint).golden_difference
    assert difference is not None and difference < 1e-3


@pytest.mark.parametrize(
    ("task", "episodes", "least"), [("touch", 8, 7), ("pick", 4, 3), ("place", 8, 6), ("stay", 6, 4)]
)
def test_it_does_what_it_is_told_in_worlds_it_has_not_seen(
    policy: CheckpointPolicy, task: str, episodes: int, least: int
) -> None:
    figures = evaluate_tasks(lambda world: policy, [task], episodes, seed=77)[task]
    assert figures.success >= least and figures.right_object == episodes, figures


@pytest.mark.parametrize("change", scenarios.CHANGES)
def test_an_instruction_that_changes_while_it_carries_is_followed(policy: CheckpointPolicy, change: str) -> None:
    world, outcomes = World(scene="pick_place"), []
    for index in range(4):
        rng = np.random.default_rng(index)
        world.reset(scenarios.FIRST_SEED + 500 + index)
        policy.reset(index)
        arm = VirtualArm(
            world, policy, settings=controller_settings(world), requests=RequestPolicy("continuous"),
            delay=partial(draw_delay, rng),
        )  # fmt: skip
        asked = Asked("place", COLOURS[index], PLACES[index % 2])
        outcomes.append(scenarios.changed_while_carrying(arm, asked, change, rng))
    world.close()
    assert outcomes.count(True) >= 2 and outcomes.count(False) <= 1, outcomes


def test_the_words_decide_where_it_goes(policy: CheckpointPolicy) -> None:
    world = World(11, scene="pick_place")
    images, pans, wanted = {camera: world.render(camera) for camera in CAMERAS}, [], []
    observation = Observation(0, 0, 0, {}, HOME)
    for colour in COLOURS:
        policy.reset(0)
        question = Question("", observation, Pictures(images, 0.0), f"poke the {colour} block", None)
        chunk = policy.predict([policy.prepare(question)])[0].positions
        x, y = world.cube_position(colour)[:2] - PAN_AXIS_XY
        pans.append(chunk[-1, 0])
        wanted.append(-np.arctan2(y, x))
    world.close()
    assert np.corrcoef(pans, wanted)[0, 1] > 0.9, (pans, wanted)
