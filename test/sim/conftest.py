from collections.abc import Iterator

import pytest

from smolvla_ros.sim.expert import ScriptedExpert
from smolvla_ros.sim.world import World


@pytest.fixture
def world() -> Iterator[World]:
    world = World(seed=7)
    yield world
    world.close()


@pytest.fixture(scope="session")
def expert() -> ScriptedExpert:
    return ScriptedExpert()
