"""The documentation of the parameters is the one that the tables give."""

import importlib.util

import pytest

from smolvla_ros.parameters import controller, policy, robot, sim


@pytest.fixture
def generator(repository):
    spec = importlib.util.spec_from_file_location("generate_parameters", repository / "docs" / "generate_parameters.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator):
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page(), "run python docs/generate_parameters.py"


def test_the_page_has_every_parameter_once(generator):
    for section in generator.page().split("\n## ")[1:]:
        title = section.splitlines()[0]
        module = {"Robot": robot, "policy_node": policy, "controller_node": controller, "sim_node": sim}[title]
        for parameter in module.PARAMETERS:
            assert section.count(f"\n| `{parameter.name}`") == 1, parameter.name


@pytest.mark.parametrize("module", [robot, policy, controller, sim])
def test_every_parameter_is_described_in_a_sentence(module):
    for parameter in module.PARAMETERS:
        assert parameter.description[0].isupper() or parameter.description[0] in "'.", parameter.name
        assert parameter.description.endswith((".", "...")), parameter.name
