"""The documentation of the parameters is the one that the tables give."""

import importlib.util

import pytest

from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.parameters.robot import RobotParameters
from smolvla_ros.parameters.sim import SimParameters
from smolvla_ros.parameters.so101 import SO101Parameters

SETS = (RobotParameters, PolicyParameters, ControllerParameters, SimParameters, SO101Parameters)


@pytest.fixture
def generator(repository):
    spec = importlib.util.spec_from_file_location("generate_parameters", repository / "docs" / "generate_parameters.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator):
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page(), "run python docs/generate_parameters.py"


def test_the_page_has_every_parameter_once(generator):
    page = generator.page()
    sections = dict(section.split("\n", 1) for section in page.split("\n## ")[1:])
    nodes = ["policy_node", "controller_node", "sim_node", "so101_node", "camera_node", "teleop_node", "episode_node"]
    assert list(sections) == ["All nodes", "Robot", *nodes]
    for title, _, kind in generator.SECTIONS:
        for parameter in generator.own_parameters(kind):
            assert sections[title].count(f"\n| `{parameter.name}`") == 1, parameter.name
    for kind in SETS:
        for parameter in kind.declared():
            assert f"\n| `{parameter.name}`" in page, parameter.name


@pytest.mark.parametrize("kind", SETS)
def test_every_parameter_is_described_in_a_sentence(kind):
    for parameter in kind.declared():
        assert parameter.description[0].isupper() or parameter.description[0] in "'.", parameter.name
        assert parameter.description.endswith((".", "...")), parameter.name
