"""The policy that ships, held against what the README says of it."""

from pathlib import Path

import numpy as np
import pytest

from smolvla_ros.model import SmolVLAPolicy
from smolvla_ros.sim.evaluation import evaluate
from smolvla_ros.sim.units import to_checkpoint
from smolvla_ros.sim.world import CAMERAS, HOME, World


@pytest.fixture(scope="module")
def checkpoint(repository: Path) -> Path:
    return repository / "checkpoints" / "demo"


def test_it_is_small_enough_for_a_repository(checkpoint: Path) -> None:
    assert sum(file.stat().st_size for file in checkpoint.rglob("*")) < 20e6


def test_this_machine_computes_what_the_training_machine_computed(checkpoint: Path) -> None:
    difference = SmolVLAPolicy.from_checkpoint(checkpoint).golden_difference
    assert difference is not None and difference < 1e-3


def test_it_does_what_it_is_told_in_worlds_it_has_not_seen(checkpoint: Path) -> None:
    figures = evaluate(checkpoint, episodes=12, seed=77)
    assert figures.successes >= 11 and figures.wrong_cubes == 0


def test_it_turns_to_another_cube_when_the_instruction_changes(checkpoint: Path) -> None:
    figures = evaluate(checkpoint, episodes=8, seed=78, from_rest=False)
    assert figures.successes >= 7


def test_the_words_decide_where_it_goes(checkpoint: Path) -> None:
    world, policy = World(11), SmolVLAPolicy.from_checkpoint(checkpoint)
    images = {f"observation.images.{camera}": world.render(camera) for camera in CAMERAS}
    noise = np.random.default_rng(0).standard_normal((50, 32), dtype=np.float32)
    for colour in ("red", "green", "blue", "yellow"):
        chunk = policy.infer(images, to_checkpoint(HOME), f"poke the {colour} block", noise)
        x, y = world.cube_position(colour)[:2] - [0.0388, 0.0]
        assert np.radians(chunk[-1, 0]) == pytest.approx(-np.arctan2(y, x), abs=0.12), colour
    world.close()
