"""Parameter files read without a node, as rcl reads them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from smolvla_ros.parameters import ParameterError, ParameterSet, parameter, records
from smolvla_ros.parameters.files import read_parameters


@dataclass(frozen=True)
class Joint(ParameterSet):
    scale: float = parameter(1.0, "Scale.")


@dataclass(frozen=True)
class Example(ParameterSet):
    joints: tuple[str, ...] = parameter((), "Joints.")
    joint: Mapping[str, Joint] = records(Joint, over="joints")
    rate_hz: float = parameter(30.0, "Rate.", "Hz", 1.0, 100.0)


@pytest.fixture
def read(tmp_path):
    def read(text, node="/policy_node"):
        file = tmp_path / "robot.yaml"
        file.write_text(text)
        return read_parameters(file, node, Example)

    return read


def test_sections_that_match_add_up_and_the_later_one_wins(read):
    parameters = read("""
/**: {ros__parameters: {joints: [a, b], joint.a: {scale: 2.0}, rate_hz: 10}}
/**/policy_node: {ros__parameters: {rate_hz: 20}}
/**/controller_node: {ros__parameters: {rate_hz: 30}}
""")
    assert parameters == Example(("a", "b"), {"a": Joint(2.0), "b": Joint(1.0)}, 20.0)


@pytest.mark.parametrize(
    "section, node, expected",
    [
        ("/**", "/left/policy_node", True),
        ("/**/policy_node", "/policy_node", True),
        ("/**/policy_node", "/left/arm/policy_node", True),
        ("/*/policy_node", "/left/policy_node", True),
        ("/*/policy_node", "/policy_node", False),
        ("policy_node", "/policy_node", True),
        ("/left/policy_node", "/policy_node", False),
        ("/policy_nod", "/policy_node", False),
    ],
)
def test_which_sections_a_node_reads(read, section, node, expected):
    parameters = read(f"{section}: {{ros__parameters: {{rate_hz: 7}}}}", node)
    assert parameters.rate_hz == (7.0 if expected else 30.0)


def test_a_section_for_all_nodes_may_hold_the_parameters_of_others_but_the_nodes_own_may_not(read):
    assert read("/**: {ros__parameters: {something_else: 1, joint.a.limit: 3}}").rate_hz == 30.0
    with pytest.raises(ParameterError, match=r"robot\.yaml: parameter 'rate_hs' is not known, did you mean 'rate_hz'"):
        read("/**/policy_node: {ros__parameters: {rate_hs: 1}}")


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: 1", "a: {b: 1}", "{", "\x00"])
def test_what_is_no_parameter_file_is_refused_with_its_name(read, text):
    with pytest.raises(ParameterError, match=r"robot\.yaml is not a YAML file of ROS parameters"):
        read(text)


HOSTILE = {
    "anchors": "a: &a [x, x]\nb: &b [*a, *a]\n/**: {ros__parameters: {joints: *b}}",
    "digits": "/**: {ros__parameters: {rate_hz: " + "9" * 5000 + "}}",
    "hexadecimal digits": "/**: {ros__parameters: {rate_hz: 0x" + "f" * 5000 + "}}",
    "base 60": "/**: {ros__parameters: {rate_hz: " + ":".join(["59"] * 10_000) + "}}",
    "no date": "/**: {ros__parameters: {rate_hz: 2001-99-99}}",
    "a tag that lies": "/**: {ros__parameters: {rate_hz: !!bool 3}}",
    "depth": "/**: {ros__parameters: {rate_hz: " + "[" * 10_000 + "]" * 10_000 + "}}",
    "many names": "/**/policy_node: {ros__parameters: {" + ", ".join(f"rate_h{n}: 1" for n in range(2000)) + "}}",
    "many joints": "/**: {ros__parameters: {joints: [" + "x, " * 100_000 + "]}}",
    "size": "# " + "x" * 5 * 10**6,
    "an infinite number": "/**: {ros__parameters: {rate_hz: .inf}}",
    "a map in place of a number": "/**/policy_node: {ros__parameters: {rate_hz: {1: {2: 3}}}}",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_a_short_text(read, name):
    with pytest.raises(ParameterError, match=r"robot\.yaml") as caught:
        read(HOSTILE[name])
    assert len(str(caught.value)) < 3000


def test_a_section_whose_name_is_no_name_is_nobodys(read):
    assert read("? /" + "**/" * 50_000 + "x\n: {ros__parameters: {rate_hz: -1}}").rate_hz == 30.0


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "robot.yaml")
    for file in (tmp_path, tmp_path / "robot.yaml", tmp_path / "none.yaml"):
        with pytest.raises(ParameterError, match="is not a YAML file of ROS parameters"):
            read_parameters(file, "/policy_node", Example)
