"""Which topics are recorded: those that the robot config names."""

import pytest

from smolvla_ros.bags.recording.plan import wanted_topics
from smolvla_ros.cli.robot_option import read_node_parameters, read_robot
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.robot import RobotConfig

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


def wanted(config=None, extra=(), **changes):
    if config:
        parameters = read_node_parameters(config, "/controller_node", ControllerParameters)
    else:
        parameters = ControllerParameters.from_values(changes)
    names = read_robot(config) if config else RobotConfig.from_parameters(parameters)
    return {topic.name: topic for topic in wanted_topics(names, parameters, extra)}


@pytest.mark.parametrize("config, command, kind", [
    ("so101_sim", "joint_command", "sensor_msgs/msg/JointState"),
    ("so101", "joint_trajectory_controller/joint_trajectory", "trajectory_msgs/msg/JointTrajectory"),
])  # fmt: skip
def test_everything_that_a_shipped_robot_says_and_is_told_is_recorded(config, command, kind):
    topics = wanted(config)
    assert topics["front/image_raw"].type == topics["wrist/image_raw"].type == IMAGE
    assert topics[command].type == kind
    assert {name for name, topic in topics.items() if topic.expected} == {
        "front/image_raw", "wrist/image_raw", "joint_states", command
    }  # fmt: skip
    assert {"instruction", "action_chunk", "execution_status", "policy_node/description", "controller_node/description",
            "robot_description", "/diagnostics", "task_success", "task_verdict"} <= set(topics)  # fmt: skip


def test_what_is_said_once_is_asked_for_as_latched():
    assert {name for name, topic in wanted("so101_sim").items() if topic.latched} == {
        "instruction", "episode", "policy_node/description", "controller_node/description", "sim_node/description",
        "robot_description", "task_success", "task_verdict",
    }  # fmt: skip


def test_a_compressed_camera_is_recorded_compressed():
    camera = {"cameras": ["top"], "camera.top.transport": "compressed", "joints": ["a"]}
    assert wanted(**camera)["top/image_raw/compressed"].type == COMPRESSED


def test_every_command_group_that_has_a_topic_is_recorded():
    groups = {
        "command.arm.topic": "/arm/goal", "command.arm.type": "position_array", "command.arm.joints": ["a"],
        "command.hand.type": "joint_state", "command.hand.joints": ["h"],
        "command.grip.type": "gripper_command", "command.grip.joints": ["g"],
    }  # fmt: skip
    topics = wanted(joints=["a", "g", "h"], command_groups=["arm", "hand", "grip"], **groups)
    assert topics["/arm/goal"].type == "std_msgs/msg/Float64MultiArray" and topics["/arm/goal"].expected
    assert topics["joint_command"].type == "sensor_msgs/msg/JointState"
    assert not any("gripper" in name for name in topics)  # an action


def test_further_topics_are_added_once_and_of_any_type():
    topics = wanted("so101_sim", ["/tf", "/tf", "joint_states"])
    assert topics["/tf"].type == ""
    assert topics["joint_states"].type == "sensor_msgs/msg/JointState"
