"""Units of a checkpoint against the limits of the robot: wrong by 57, by 100, or right."""

import numpy as np
import pytest

from smolvla_ros.parameters.robot import RobotParameters
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.unit_fit import TrainingRange, unit_verdict

LOWER, UPPER = [-1.92, -1.66], [1.92, 1.66]
DEGREES = 180 / np.pi


def robot(scale):
    values = {"joints": ["pan", "wrist_flex"], "joint.pan.scale": scale, "joint.wrist_flex.scale": scale}
    return RobotConfig.from_parameters(RobotParameters.from_values(values))


def verdict(scale, low, high, **options):
    training = TrainingRange(np.array(low), np.array(high), "q01 to q99")
    return unit_verdict(robot(scale), training, LOWER, UPPER, **options)


def test_degrees_taken_for_radians_are_told_by_joint_with_the_scale_that_is_missing():
    (pan, wrist) = verdict(1.0, [-60.0, 12.7], [60.0, 90.0]).problems
    assert wrist == "wrist_flex would need 12.7 to 90 rad or m, limits +-1.66: degrees? scale 57.3"
    assert "degrees? scale 57.3" in pan


def test_radians_with_a_scale_for_degrees_would_hardly_move_anything():
    (problem,) = verdict(DEGREES, [-1.5, -1.2], [1.6, 1.5]).problems
    assert "radians, with a scale for degrees?" in problem


def test_values_of_minus_100_to_100_are_told_as_such():
    (problem, _) = verdict(1.0, [-98.3, -97.0], [99.2, 99.0], normalised=True).problems
    assert "LeRobot's -100 to 100? scale 52.1" in problem


@pytest.mark.parametrize("scale", [DEGREES, -DEGREES])
def test_right_units_are_no_problem_whatever_the_sign_and_a_little_outside_is_a_warning(scale):
    assert verdict(scale, [-80.0, -60.0], [90.0, 80.0]) == verdict(1.0, [-1.0, -1.0], [1.5, 1.5])
    warned = verdict(scale, [-140.0, -60.0], [140.0, 60.0])
    assert not warned.problems and "pan would need -2.44 to 2.44" in warned.warnings[0]


def test_joints_without_limits_are_not_judged():
    training = TrainingRange(np.array([-60.0, -60.0]), np.array([60.0, 60.0]), "min to max")
    found = unit_verdict(robot(1.0), training, [np.nan, -1.66], [np.nan, 1.66])
    assert [problem.split()[0] for problem in found.problems] == ["wrist_flex"]


def test_the_range_is_taken_from_quantiles_then_extremes_then_the_spread():
    statistics = {"mean": [0.0], "std": [1.0]}
    assert TrainingRange.of(statistics).high == 1.5
    assert TrainingRange.of({**statistics, "min": [-9.0], "max": [9.0]}).high == 9.0
    assert TrainingRange.of({**statistics, "min": [-9.0], "max": [9.0], "q01": [-3.0], "q99": [3.0]}).high == 3.0
    assert TrainingRange.of({"mean": [0.0]}) is None
