"""The page of commands is generated, complete and current."""

import importlib.util
from pathlib import Path

import pytest

from smolvla_ros.cli.main import COMMANDS, command_parser


@pytest.fixture(scope="module")
def generator():
    path = Path(__file__).parents[2] / "docs" / "generate_commands.py"
    spec = importlib.util.spec_from_file_location("generate_commands", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generator):
    assert generator.PAGE.read_text(encoding="utf-8") == generator.page(), "run python docs/generate_commands.py"


def test_every_command_has_a_section_with_all_its_options(generator):
    sections = dict(section.split("\n", 1) for section in generator.page().split("\n## ")[1:])
    assert [name.removeprefix("smolvla-ros ") for name in sections] == list(COMMANDS)
    for name, command in command_parser()[1].items():
        for option in command._option_string_actions:
            assert option in ("-h", "--help") or f"`{option}" in sections[f"smolvla-ros {name}"], (name, option)
