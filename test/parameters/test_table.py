"""The declarative parameter table: what it accepts and the sentence for each refusal."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.parameters import Parameter, ParameterError, check_values, expand

TABLE = (
    Parameter("joints", [], "Joints.", required=True),
    Parameter("joint.<joint>.scale", 1.0, "Scale.", over="joints"),
    Parameter("rate_hz", 30.0, "Rate.", "Hz", 1.0, 100.0, live=True),
    Parameter("rows", 0, "Rows.", minimum=0),
    Parameter("mode", "a", "Mode.", choices=("a", "b")),
    Parameter("on", True, "Switch."),
    Parameter("gains", [1.0, 2.0], "Gains.", minimum=0.0),
)
GOOD = {"joints": ["pan", "lift"]}


def test_missing_values_are_filled_with_defaults_and_templates_with_every_joint():
    assert check_values(TABLE, GOOD) == {
        "joints": ["pan", "lift"],
        "joint.pan.scale": 1.0,
        "joint.lift.scale": 1.0,
        "rate_hz": 30.0,
        "rows": 0,
        "mode": "a",
        "on": True,
        "gains": [1.0, 2.0],
    }


def test_an_integer_is_accepted_where_a_double_is_expected():
    values = check_values(TABLE, {**GOOD, "rate_hz": 50, "gains": [1, 2.5], "joint.pan.scale": 2})
    assert values["rate_hz"] == 50.0 and type(values["rate_hz"]) is float
    assert values["gains"] == [1.0, 2.5]
    assert values["joint.pan.scale"] == 2.0


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"rate_hz": 0.5}, "parameter 'rate_hz' is 0.5, expected 1 to 100 Hz"),
        ({"rate_hz": math.nan}, "parameter 'rate_hz' is nan, expected finite numbers"),
        ({"rate_hz": math.inf}, "parameter 'rate_hz' is inf, expected finite numbers"),
        ({"rate_hz": "fast"}, "parameter 'rate_hz' is 'fast', expected a double"),
        ({"rate_hz": True}, "parameter 'rate_hz' is True, expected a double"),
        ({"rows": 1.5}, "parameter 'rows' is 1.5, expected an integer"),
        ({"rows": -1}, "parameter 'rows' is -1, expected at least 0"),
        ({"mode": "c"}, "parameter 'mode' is 'c', expected one of 'a', 'b'"),
        ({"on": 1}, "parameter 'on' is 1, expected a bool"),
        ({"gains": [1.0, -2.0]}, "parameter 'gains' is [1.0, -2.0], expected at least 0"),
        ({"gains": "x"}, "parameter 'gains' is 'x', expected a double array"),
        ({"joints": []}, "parameter 'joints' must be set (Joints)"),
        ({"joint.elbow.scale": 1.0}, "parameter 'joint.elbow.scale' is not known"),
        ({"rate": 30.0}, "parameter 'rate' is not known, did you mean 'rate_hz'?"),
    ],
)
def test_a_wrong_value_is_refused_with_name_value_and_what_is_allowed(change, sentence):
    with pytest.raises(ParameterError) as refusal:
        check_values(TABLE, {**GOOD, **change})
    assert sentence in refusal.value.problems[0]


def test_all_problems_are_named_at_once():
    with pytest.raises(ParameterError) as refusal:
        check_values(TABLE, {"rate_hz": 0.0, "mode": "c", "colour": "red"})
    assert len(refusal.value.problems) == 4


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_bounded_double_is_accepted_exactly_inside_its_range(value):
    accepted = TABLE[2].problem(value) is None
    assert accepted == (1.0 <= value <= 100.0)


def test_templates_of_absent_joints_expand_to_nothing():
    names = [parameter.name for parameter in expand(TABLE, {})]
    assert not any("joint." in name for name in names)


def test_names_that_are_no_texts_are_the_only_thing_told_as_all_else_follows_from_them():
    with pytest.raises(ParameterError) as refusal:
        check_values(TABLE, {"joints": [1, 2], "joint.1.scale": 2.0, "joint.2.scale": 2.0})
    assert list(refusal.value.problems) == ["parameter 'joints' is [1, 2], expected a string array"]
