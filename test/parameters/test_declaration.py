"""Parameters declared as fields of dataclasses: the types are those of the defaults, and every one of them is read."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.parameters import ParameterError, ParameterSet, parameter, records
from smolvla_ros.parameters.controller import ControllerParameters, JointLimitParameters
from smolvla_ros.parameters.node import NodeParameterSet
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.parameters.robot import CameraParameters, JointParameters, RobotParameters
from smolvla_ros.parameters.sim import SimParameters
from smolvla_ros.policy.requests import RULES

NODES = (PolicyParameters, ControllerParameters, SimParameters)
EVERY = (NodeParameterSet, RobotParameters, CameraParameters, JointParameters, JointLimitParameters, *NODES)


@dataclass(frozen=True)
class Joint(ParameterSet):
    gain: float = parameter(1.0, "Gain.", minimum=0.0)


@dataclass(frozen=True)
class Example(ParameterSet):
    joints: tuple[str, ...] = parameter((), "Joints.", required=True)
    joint: Mapping[str, Joint] = records(Joint, over="joints")
    mode: Literal["a", "b"] = parameter("a", "Mode.")
    cores: tuple[int, ...] = parameter((-1,), "Cores.")


def test_settings_are_typed_and_know_the_names_that_ros_has():
    example = Example.from_values({"joints": ["pan", "lift"], "joint.lift.gain": 2})
    assert example.joint["lift"].gain == 2.0 and example.joint["pan"].gain == 1.0
    assert example.joints == ("pan", "lift") and example.cores == (-1,)
    assert example.values() == {
        "joints": ["pan", "lift"], "joint.pan.gain": 1.0, "joint.lift.gain": 2.0, "mode": "a", "cores": [-1],
    }  # fmt: skip


def test_the_choices_are_those_of_the_type():
    with pytest.raises(ParameterError, match="parameter 'mode' is 'c', expected one of 'a', 'b'"):
        Example.from_values({"joints": ["a"], "mode": "c"})


@given(st.lists(st.text("abc_", min_size=1), min_size=1, unique=True), st.floats(0.0, 1e300))
def test_values_and_settings_are_two_forms_of_one_thing(joints, gain):
    example = Example.from_values({"joints": joints, f"joint.{joints[-1]}.gain": gain})
    assert Example.from_values(example.values()) == example


@pytest.mark.parametrize("kind", EVERY)
def test_a_field_has_the_type_of_its_default(kind):
    hints = get_type_hints(kind)
    for declared in kind.declared():
        if declared.over:
            continue
        hint = hints[declared.name]
        if get_origin(hint) is Literal:
            assert declared.default in get_args(hint)
        elif get_origin(hint) is tuple:
            assert declared.kind is list and get_args(hint)[0] is declared.element_kind, declared.name
        else:
            assert hint is declared.kind, declared.name


def test_the_request_rules_are_those_that_the_policy_knows():
    (rule,) = (one for one in PolicyParameters.declared() if one.name == "request_rule")
    assert rule.choices == RULES


@pytest.mark.parametrize("kind", EVERY)
def test_every_declared_parameter_is_read(kind, repository):
    """Settings are called `parameters`, or `..._parameters`, wherever they are read, in a module that names their type
    or one that inherits from it.

    Not in the YAML, not on the page of documentation: a parameter that nothing reads is a promise that is not kept.
    """
    modules = [file for file in (repository / "smolvla_ros").rglob("*.py") if file.parent.name != "parameters"]
    modules.append(repository / "smolvla_ros" / "parameters" / "controller.py")  # its properties
    own = {field.name for field in fields(kind)} - {
        field.name for base in kind.__mro__[1:] if issubclass(base, ParameterSet) for field in fields(base)
    }
    names = [one.__name__ for one in EVERY if issubclass(one, kind)]
    assert own - {name for module in modules for name in _read_names(module, names)} == set()


def _read_names(module, kinds):
    """The attributes of settings that a module reads, if it reads some of these types."""
    source = module.read_text(encoding="utf-8")
    if not any(kind in source for kind in kinds):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = node.value
            name = getattr(owner, "id", None) or getattr(owner, "attr", "")
            if name.endswith("parameters") or name == "self" and module.parent.name == "parameters":
                yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get_parameter":
            yield ast.literal_eval(node.args[0])  # by its ROS name, before the node is configured
