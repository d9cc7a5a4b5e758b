"""The limiter holds its three promises for any motion, and URDF limits are read as they stand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolvla_ros.execution.limits import JointLimits, Limiter, LimitError
from smolvla_ros.execution.plan import Motion
from smolvla_ros.execution.urdf import UrdfError, read_limits

PERIOD_S = 0.01


def limits_of(lower=-1.0, upper=1.0, velocity=2.0, acceleration=10.0):
    one = np.ones(1)
    return JointLimits(("joint",), lower * one, upper * one, velocity * one, acceleration * one, one, one, one)


def motion(position, velocity=0.0):
    return Motion(np.array([position]), np.array([velocity]), np.zeros(1))


@settings(max_examples=200, deadline=None)
@given(
    start=st.floats(-1.0, 1.0),
    targets=st.lists(st.tuples(st.floats(-3.0, 3.0), st.floats(-9.0, 9.0), st.integers(1, 40)), min_size=1, max_size=8),
    velocity=st.floats(0.1, 5.0),
    acceleration=st.floats(1.0, 100.0),
)
def test_any_sequence_of_wishes_stays_inside_all_limits(start, targets, velocity, acceleration):
    limiter = Limiter(limits_of(velocity=velocity, acceleration=acceleration), PERIOD_S)
    last = motion(start)
    for position, speed, periods in targets:
        for _ in range(periods):
            following = limiter.step(last, motion(position, speed)).motion
            moved = following.position - last.position
            assert abs(moved[0]) <= velocity * PERIOD_S + 1e-9
            assert abs(moved[0] - last.velocity[0] * PERIOD_S) <= acceleration * PERIOD_S**2 + 1e-9
            assert -1.0 <= following.position[0] <= 1.0
            last = following
    for _ in range(1000):  # and it can always brake
        following = limiter.brake(last)
        change = following.velocity - last.velocity
        assert abs(change[0]) <= acceleration * PERIOD_S + 1e-9
        assert -1.0 - 1e-9 <= following.position[0] <= 1.0 + 1e-9
        last = following
    assert not last.velocity.any()


def test_a_distant_target_is_reached_without_overshooting():
    limiter, last = Limiter(limits_of(), PERIOD_S), motion(-0.9)
    path = []
    for _ in range(300):
        last = limiter.step(last, motion(0.9)).motion
        path.append(last.position[0])
    assert max(path) <= 0.9 + 1e-9
    assert path[-1] == pytest.approx(0.9, abs=1e-6)


def test_a_wish_inside_all_limits_is_commanded_exactly_and_counts_nothing():
    limiter, last = Limiter(limits_of(), PERIOD_S), motion(0.1, 1.0)
    limited = limiter.step(last, motion(0.1105, 1.05))
    assert limited.motion.position[0] == 0.1105
    assert limited.hits is None


@pytest.mark.parametrize(
    ("wish", "kind"), [(motion(1.5), "position"), (motion(0.98, 5.0), "velocity"), (motion(0.5), "acceleration")]
)
def test_each_limit_reports_what_it_changed(wish, kind):
    limiter, last = Limiter(limits_of(acceleration=1e4 if kind == "velocity" else 10.0), PERIOD_S), motion(0.0)
    hits = limiter.step(last, wish).hits
    assert getattr(hits, kind)[0]


@pytest.mark.parametrize("name", ["lower", "upper", "velocity", "acceleration", "step", "jump", "tracking"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_limits_that_are_not_finite_are_refused_with_the_joint(name, value):
    fields = {key: np.ones(1) for key in ("velocity", "acceleration", "step", "jump", "tracking")}
    fields |= {"lower": -np.ones(1), "upper": np.ones(1), name: np.full(1, value)}
    with pytest.raises(LimitError, match="'joint'"):
        JointLimits(joints=("joint",), **fields)


def test_inverted_position_limits_are_refused():
    with pytest.raises(LimitError, match="from 1 to -1"):
        limits_of(lower=1.0, upper=-1.0)


URDF = """<?xml version="1.0"?>
<robot name="arm">
  <joint name="fixed" type="fixed"/>
  <joint name="shoulder" type="revolute"><limit lower="-1.5" upper="1.25" effort="3" velocity="4.5"/></joint>
  <joint name="slide" type="prismatic"><limit upper="0.04" effort="3" velocity="0.2" acceleration="1.5"/></joint>
  <joint name="wheel" type="continuous"><limit effort="3" velocity="7"/></joint>
  <joint name="bare" type="continuous"/>
</robot>"""


def test_limits_of_movable_joints_are_read_from_the_description():
    limits = read_limits(URDF)
    assert set(limits) == {"shoulder", "slide", "wheel", "bare"}
    assert (limits["shoulder"].lower, limits["shoulder"].upper, limits["shoulder"].velocity) == (-1.5, 1.25, 4.5)
    assert math.isnan(limits["shoulder"].acceleration)
    assert (limits["slide"].lower, limits["slide"].acceleration) == (0.0, 1.5)
    assert math.isnan(limits["wheel"].lower)
    assert math.isnan(limits["bare"].velocity)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "well-formed"),
        ("<robot", "well-formed"),
        ("<sdf/>", "<sdf>"),
        ('<robot><joint name="a" type="revolute"><limit lower="-pi"/></joint></robot>', "lower of joint 'a'"),
        ('<robot><joint name="a" type="revolute"><limit lower="nan"/></joint></robot>', "'nan', expected a number"),
        ('<robot><joint name="a" type="revolute"><limit upper="${2*pi}"/></joint></robot>', "run xacro"),
        ('<robot xmlns:xacro="http://www.ros.org/wiki/xacro"><xacro:arm/></robot>', "a macro.*run xacro"),
        ("<robot><xacro:arm/></robot>", "well-formed.*run xacro"),
        ('<robot><joint name="a" type="revolute"/><joint name="a" type="prismatic"/></robot>', "'a' twice"),
        ('<robot><joint name="a" type="revolute"><limit lower="2" upper="1"/></joint></robot>', "from 2 to 1"),
        ('<!DOCTYPE r [<!ENTITY a "a"><!ENTITY b "&a;&a;">]><robot>&b;</robot>', "document type or entities"),
        ("<robot>" + "<link/>" * 600_000 + "</robot>", "expected at most"),
    ],
)
def test_a_description_that_cannot_be_read_is_refused(text, complaint):
    with pytest.raises(UrdfError, match=complaint):
        read_limits(text)


def test_white_space_before_the_xml_declaration_is_no_fault():
    assert "a" in read_limits('\ufeff\n <?xml version="1.0"?><robot><joint name="a" type="continuous"/></robot>')


def test_soft_limits_and_those_of_ros2_control_count_where_they_are_narrower():
    (limits,) = read_limits("""<robot>
      <joint name="a" type="revolute">
        <limit lower="-2" upper="2" velocity="3"/>
        <safety_controller soft_lower_limit="-1.5" soft_upper_limit="5" k_velocity="1"/>
      </joint>
      <ros2_control name="arm" type="system">
        <joint name="a">
          <command_interface name="position"><param name="min">-9</param><param name="max">1.2</param>
          </command_interface>
          <command_interface name="velocity"><param name="min">-0.5</param><param name="max">0.7</param>
          </command_interface>
        </joint>
        <joint name="unknown"><command_interface name="position"/></joint>
      </ros2_control>
    </robot>""").values()
    assert (limits.lower, limits.upper, limits.velocity) == (-1.5, 1.2, 0.5)


def test_infinite_limits_and_empty_soft_limits_say_nothing():
    (limits,) = read_limits("""<robot><joint name="a" type="revolute">
      <limit lower="-inf" upper="2" velocity="inf"/><safety_controller k_velocity="1"/></joint></robot>""").values()
    assert math.isnan(limits.lower) and math.isnan(limits.velocity) and limits.upper == 2.0
