"""The robot's description: units, names, and whether it fits a checkpoint."""

import numpy as np
import pytest

from smolvla_ros.parameters.robot import RobotParameters
from smolvla_ros.robot import RobotConfig, RobotConfigError
from smolvla_ros.robot.fit import fit_problems

VALUES = {
    "cameras": ["front", "wrist"],
    "camera.wrist.transport": "compressed",
    "joints": ["pan", "gripper"],
    "joint.pan.feature": "pan.pos",
    "joint.pan.scale": 180 / np.pi,
    "joint.gripper.scale": 50.0,
    "joint.gripper.offset": 10.0,
}


def robot_config(**changes):
    return RobotConfig.from_parameters(RobotParameters.from_values({**VALUES, **changes}))


def test_cameras_and_topics_follow_the_camera_names_unless_told_otherwise():
    front, wrist = robot_config(**{"camera.front.topic": "/usb_cam/image"}).cameras
    assert (front.feature, front.topic) == ("observation.images.front", "/usb_cam/image")
    assert (wrist.feature, wrist.topic) == ("observation.images.wrist", "wrist/image_raw/compressed")


def test_units_are_converted_with_scale_and_offset_and_back():
    config = robot_config()
    np.testing.assert_allclose(config.to_policy_units([np.pi, 1.0]), [180.0, 60.0])
    np.testing.assert_allclose(config.to_ros_units([[180.0, 60.0], [0.0, 10.0]]), [[np.pi, 1.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"joint.pan.scale": 0.0}, "'joint.pan.scale' is 0"),
        ({"joints": ["pan", " "]}, "joints: a name is empty"),
        ({"joints": ["pan", "pan"]}, "joints: 'pan' stands more than once"),
        ({"cameras": ["front", "wrist", "front"]}, "cameras: 'front' stands more than once"),
        ({"camera.wrist.feature": "observation.images.front"}, "'observation.images.front' stands more than once"),
        ({"camera.wrist.topic": "front/image_raw"}, "'front/image_raw' stands more than once"),
        ({"joint.gripper.feature": "pan.pos"}, "'pan.pos' stands more than once"),
    ],
)
def test_a_contradictory_description_is_refused(changes, sentence):
    values = {name: value for name, value in VALUES.items() if not name.startswith("joint.gripper")}
    with pytest.raises(RobotConfigError, match=sentence):
        values = {**values, **changes}
        RobotConfig.from_parameters(RobotParameters.from_values(values))


CHECKPOINT = {
    "cameras": ["observation.images.front", "observation.images.wrist"],
    "state_dim": 2,
    "action_dim": 2,
    "state_names": ["pan.pos", "gripper.pos"],
    "action_names": None,
}


def test_a_fitting_checkpoint_has_no_problems():
    assert fit_problems(robot_config(), **CHECKPOINT) == []


@pytest.mark.parametrize(
    "checkpoint, sentence",
    [
        ({"cameras": ["observation.images.front"]}, "camera 'wrist' feeds 'observation.images.wrist', which the chec"),
        ({"cameras": [*CHECKPOINT["cameras"], "observation.images.top"]}, "expects observation.images.top, which no"),
        ({"state_dim": 6, "state_names": None}, "state has 6 values, the robot has 2 joints (pan, gripper)"),
        ({"action_dim": 7}, "action has 7 values"),
        ({"state_names": ["lift.pos", "gripper.pos"]}, "state 0 of the checkpoint is 'lift.pos', but joint 'pan'"),
        ({"action_names": ["lift.pos", "gripper.pos"]}, "action 0 of the checkpoint is 'lift.pos'"),
    ],
)
def test_each_misfit_is_named_with_both_sides(checkpoint, sentence):
    problems = fit_problems(robot_config(), **{**CHECKPOINT, **checkpoint})
    assert len(problems) == 1 and sentence in problems[0]


def test_missing_cameras_are_accepted_only_when_declared_and_never_all_of_them():
    blind = RobotConfig(cameras=(), joints=robot_config().joints)
    three = {**CHECKPOINT, "cameras": [*CHECKPOINT["cameras"], "observation.images.top"]}
    assert fit_problems(robot_config(), **three, allow_missing_cameras=True) == []
    assert fit_problems(blind, **CHECKPOINT, allow_missing_cameras=True) != []
