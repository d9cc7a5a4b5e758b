"""The first version of a robot's YAML: what is matched, what is guessed, what is asked for, and what is refused."""

import argparse
import json
from math import nan, pi

import numpy as np
import pytest
import yaml

from smolvla_ros.cli import init
from smolvla_ros.cli.live import CommandFailed
from smolvla_ros.cli.signals import CommandSignals
from smolvla_ros.draft.expected import ExpectedFeatures, expected_by_dataset
from smolvla_ros.draft.found import CommandTopic, FoundRobot, ImageTopic
from smolvla_ros.draft.matching import matched_cameras, matched_commands, matched_joints
from smolvla_ros.draft.questions import DraftError, Questions
from smolvla_ros.draft.units import JointEvidence, arm_unit, draft_joint

NOBODY = Questions()


def expecting(*names, cameras=(), low=0.0, high=1.0):
    size = len(names)
    return ExpectedFeatures(cameras, names, size, np.full(size, low), np.full(size, high), 30.0, "a test")


def arms(**topics):
    return FoundRobot(joint_states={topic: tuple(names) for topic, names in topics.items()})


# Joints.


def test_joints_are_matched_by_name_through_the_suffixes_of_both_worlds_and_others_are_left_out():
    expected = expecting("shoulder_pan.pos", "main_elbow", "gripper.pos")
    found = arms(joint_states=["wheel", "elbow_joint", "shoulder_pan_joint", "robotiq_85_left_knuckle_joint"])
    joints = matched_joints(expected, found, (), NOBODY)
    assert joints == ("shoulder_pan_joint", "elbow_joint", "robotiq_85_left_knuckle_joint")


def test_a_joint_that_nobody_can_match_is_asked_for_and_without_a_person_refused_with_the_option():
    expected, found = expecting("a", "b"), arms(joint_states=["a", "x", "y"])
    asked = []

    def answer(question, choices):
        asked.append((question, list(choices)))
        return choices[1]

    assert matched_joints(expected, found, (), Questions(answer)) == ("a", "y")
    assert asked == [("which joint of the robot is 'b'?", ["x", "y"])]
    with pytest.raises(DraftError, match=r"'b'\? \(there are x, y\): give --joints"):
        matched_joints(expected, found, (), NOBODY)


@pytest.mark.parametrize(
    ("given", "told"), [(["a"], "names 1 joints, a test has 2"), (["a", "z"], "z; the robot tells of a, b")]
)
def test_joints_that_were_said_must_be_as_many_and_be_there(given, told):
    with pytest.raises(DraftError, match=told):
        matched_joints(expecting("p", "q"), arms(joint_states=["a", "b"]), given, NOBODY)


# Cameras.


def test_a_camera_is_matched_by_name_and_the_compressed_topic_is_taken():
    raw = ImageTopic("/front/color/image_raw", "raw")
    small = ImageTopic("/front/color/image_raw/compressed", "compressed")
    found = FoundRobot(images=(raw, small, ImageTopic("/side/image_raw", "raw")))
    features = ("observation.images.front",)
    assert matched_cameras(features, found, {}, NOBODY) == {features[0]: small}
    said = matched_cameras(features, found, {"front": "/side/image_raw"}, NOBODY)
    assert said[features[0]].topic == "/side/image_raw"
    with pytest.raises(DraftError, match=r"which pictures are 'top'\? .* give --camera top=TOPIC"):
        matched_cameras(("observation.images.top", *features), found, {}, NOBODY)
    with pytest.raises(DraftError, match="--camera names wrong; the policy has front"):
        matched_cameras(features, found, {"wrong": "x"}, NOBODY)


# Commands.


def test_controllers_that_tell_their_joints_become_groups_and_an_ambiguity_is_asked_for():
    left = CommandTopic("joint_trajectory", "left/joint_trajectory", ("l1", "l2"))
    right = CommandTopic("joint_trajectory", "right/joint_trajectory", ("r1",))
    other = CommandTopic("position_array", "right/commands", ("r1",))
    base = CommandTopic("joint_trajectory", "base/joint_trajectory", ("wheel",))
    joints = ("l1", "l2", "r1")
    found = FoundRobot(joint_states={"joint_states": joints}, commands=(left, right, base))
    assert matched_commands(joints, found, (), NOBODY) == (left, right)
    found = FoundRobot(joint_states={"joint_states": joints}, commands=(left, right, other))
    with pytest.raises(DraftError, match=r"where is 'r1' commanded\? .*give --command"):
        matched_commands(joints, found, (), NOBODY)
    assert matched_commands(joints, found, (left, other), NOBODY) == (left, other)


def test_a_controller_that_tells_nothing_takes_what_no_other_one_does():
    arm = CommandTopic("joint_trajectory", "arm/joint_trajectory")
    hand = CommandTopic("gripper_command", "hand/gripper_cmd", ("finger",))
    found = FoundRobot(joint_states={"joint_states": ("a", "b", "finger")}, commands=(arm, hand))
    groups = matched_commands(("a", "b", "finger"), found, (), NOBODY)
    assert [topic.joints for topic in groups] == [("a", "b"), ("finger",)]


# Units and limits.


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [
        (-1.5, 3.0, "rad"),
        (-90.0, 120.0, "degrees"),
        (-99.0, 98.0, "-100..100"),
        (-2000.0, 4095.0, None),
        (nan, nan, None),
    ],
)
def test_the_unit_of_an_arm_is_told_by_how_far_it_went_in_training(low, high, unit):
    assert arm_unit([JointEvidence("elbow", "elbow", low, high), JointEvidence("gripper", "", 0.0, 100.0)]) == unit


@pytest.mark.parametrize(
    ("low", "high", "arm", "unit"),
    [
        (1.0, 98.0, "degrees", "0..100"),
        (0.0, 1.0, "rad", "0..1"),
        (0.0, 0.8, "rad", "rad"),
        (2.0, 99.0, "-100..100", "0..100"),
    ],
)
def test_a_gripper_is_counted_as_its_range_says(low, high, arm, unit):
    joint = draft_joint(JointEvidence("gripper", "gripper", low, high, 0.0, 0.8, 2.0), arm, None, NOBODY)
    assert joint.unit == unit
    if unit != "rad":
        assert joint.scale * 0.8 + joint.offset == pytest.approx(100.0 if "100" in unit else 1.0)


def test_without_a_description_an_arm_may_go_where_it_was_trained_and_a_little_further():
    joint = draft_joint(JointEvidence("elbow", "elbow", -90.0, 90.0), "degrees", None, NOBODY)
    assert (joint.lower, joint.upper) == pytest.approx((-0.55 * pi, 0.55 * pi))
    assert joint.limits_source == "training data and a little more"


@pytest.mark.parametrize(
    ("evidence", "arm", "told"),
    [
        (JointEvidence("elbow", "", nan, nan), None, r"count 'elbow' in .*: give --unit elbow=UNIT"),
        (JointEvidence("elbow", "", nan, nan), "rad", "neither in a robot description nor in training data"),
        (JointEvidence("gripper", "", 0.0, 100.0), "degrees", "its way is not known: give --urdf"),
    ],
)
def test_what_cannot_be_known_is_refused_with_the_option(evidence, arm, told):
    with pytest.raises(DraftError, match=told):
        draft_joint(evidence, arm, None, NOBODY)


# The file.


@pytest.fixture
def dataset(tmp_path):
    """The folder of a LeRobot dataset of two joints and a camera, at 50 per second."""
    vector = {"dtype": "float32", "shape": [2], "names": ["elbow.pos", "gripper.pos"]}
    features = {"action": vector, "observation.state": vector, "observation.images.top": {"dtype": "video"}}
    statistics = {"min": [-90.0, 0.0], "max": [90.0, 100.0]}
    meta = tmp_path / "dataset" / "meta"
    meta.mkdir(parents=True)
    (meta / "info.json").write_text(json.dumps({"features": features, "fps": 50}))
    (meta / "stats.json").write_text(json.dumps({"action": statistics, "observation.state": statistics}))
    return meta.parent


@pytest.fixture
def urdf(tmp_path):
    limit = '<limit lower="0" upper="1" velocity="1" effort="1"/>'
    joint = f'<joint name="gripper" type="revolute"><parent link="a"/><child link="b"/>{limit}</joint>'
    file = tmp_path / "robot.urdf"
    file.write_text(f'<robot name="r"><link name="a"/><link name="b"/>{joint}</robot>')
    return file


def written(*arguments):
    parser = argparse.ArgumentParser()
    init.add_arguments(parser)
    args = parser.parse_args([str(argument) for argument in arguments])
    args.signals, args.command = CommandSignals(), "init"
    try:
        return init.run(args)
    finally:
        args.signals.close()


def test_a_dataset_and_a_description_make_a_file_that_both_nodes_take_and_no_file_is_replaced(dataset, urdf, tmp_path):
    out = tmp_path / "robot.yaml"
    arguments = ("--dataset", dataset, "--urdf", urdf, "--out", out)
    assert written(*arguments) == 0
    parameters = {name: section["ros__parameters"] for name, section in yaml.safe_load(out.read_text()).items()}
    assert parameters["/**"]["joint.gripper"] == {"feature": "gripper.pos", "scale": 100.0, "offset": 0.0}
    assert parameters["/**"]["camera.top"]["topic"] == "top/image_raw"
    assert parameters["/**/policy_node"]["step_s"] == pytest.approx(0.02)
    assert parameters["/**/controller_node"]["joint.gripper"]["max_velocity"] == 1.0
    out.write_text("mine")
    with pytest.raises(CommandFailed, match="exists already: give another --out, or --force"):
        written(*arguments)
    assert out.read_text() == "mine"
    assert written(*arguments, "--force") == 0
    assert "gripper.pos" in out.read_text()


@pytest.mark.parametrize("info", ["", "[]", "{}", '{"features": {"action": {"shape": ["x"]}}}', '{"features": 3}'])
def test_a_folder_that_is_no_dataset_is_refused_and_named(dataset, info):
    (dataset / "meta" / "info.json").write_text(info)
    with pytest.raises(DraftError, match=r"info\.json"):
        expected_by_dataset(dataset)
