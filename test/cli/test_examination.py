"""What the doctor says of an arm that is not well, out of what was heard."""

from types import SimpleNamespace

import pytest
from sensor_msgs.msg import JointState

from smolvla_ros.examination import examine_arm
from smolvla_ros.execution.urdf import UrdfLimits
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.robot import RobotConfig

ROBOT = {"joints": ["pan"]}


def stream(message, age_s=0.01, rate_hz=100.0):
    return SimpleNamespace(
        what="joint states", topic="/joint_states", camera="", times_s=[0.0], ages_s=[age_s] * 5, unstamped=0,
        rate_hz=lambda: rate_hz, silent_s=lambda now_s: 0.0, message=lambda: message,
    )  # fmt: skip


def findings(joint_states, mismatches=(), publishers=None, controller=None, urdf=None):
    policy = PolicyParameters.from_values({**ROBOT, "checkpoint": "x"})
    limits = {"joint.pan.min_position": -1.5, "joint.pan.max_position": 1.5, **(controller or {})}
    found = {"/joint_states": ["/driver"], "/clock": [], "/joint_trajectory_controller/joint_trajectory": []}
    described = RobotConfig.from_parameters(policy), policy, ControllerParameters.from_values({**ROBOT, **limits})
    probe = SimpleNamespace(
        states={"policy_node": "active", "controller_node": "inactive"},
        robot=lambda: described,
        streams=[joint_states], mismatches=lambda stream: list(mismatches), described={},
        publishers=lambda topic: (publishers or found).get(topic, []), listeners=lambda topic: 0,
        resolve=lambda topic: f"/{topic}", arm_controllers={}, urdf_limits=urdf or {},
    )  # fmt: skip
    return {(finding.level, finding.about): finding for finding in examine_arm(probe)}


GOOD = JointState(name=["pan"], position=[0.5])


def test_a_node_that_is_not_active_and_a_command_that_nobody_takes_fail_with_a_remedy():
    told = findings(stream(GOOD))
    assert ("ok", "policy_node") in told and "is inactive" in told["fail", "controller_node"].text
    assert "nobody listens" in told["fail", "command"].text and "ros2_control" in told["fail", "command"].remedy
    assert ("ok", "joints") in told


@pytest.mark.parametrize(
    ("joint_states", "level", "text"),
    [
        (stream(JointState(name=["pan"], position=[40.0])), "fail", "pan is at 40, limits -1.5 to 1.5"),
        (stream(JointState(name=["tilt"], position=[0.0])), "fail", "lacks pan; it has tilt"),
    ],
)
def test_joints_in_degrees_or_of_other_names_fail(joint_states, level, text):
    assert text in findings(joint_states)[level, "joints"].text


@pytest.mark.parametrize(
    ("position", "unit"), [(32.0, "millimetres?"), (0.07, "the width between two fingers?"), (5.0, "degrees?")]
)
def test_a_gripper_in_metres_is_held_against_its_urdf_and_its_unit_guessed(position, unit):
    nothing = {"joint.pan.min_position": 0.0, "joint.pan.max_position": 0.0}
    urdf = {"pan": UrdfLimits(0.0, 0.04 if unit != "degrees?" else 0.1)}
    told = findings(stream(JointState(name=["pan"], position=[position])), controller=nothing, urdf=urdf)
    assert unit in told["fail", "joints"].text
    assert ("ok", "joints") in findings(
        stream(JointState(name=["pan"], position=[0.03])), controller=nothing, urdf=urdf
    )


@pytest.mark.parametrize("age_s", [-5.0, 5.0])
def test_clocks_that_differ_fail(age_s):
    finding = findings(stream(GOOD, age_s=age_s))["fail", "joint states"]
    assert "stamps are" in finding.text and "chrony" in finding.remedy


def test_a_publisher_that_cannot_be_heard_and_a_slow_one_are_told():
    text = "/driver publishes foxglove_msgs/msg/CompressedVideo, expected sensor_msgs/msg/Image"
    told = findings(stream(GOOD, rate_hz=2.0), mismatches=[text])
    assert text in told["fail", "joint states"].text
    assert "2.0 per second" in told["warn", "joint states"].text


def test_somebody_else_who_commands_fails():
    others = {"/joint_trajectory_controller/joint_trajectory": ["/controller_node", "/teleop"], "/joint_states": ["/a"]}
    texts = [f.text for f in findings(stream(GOOD), publishers=others).values()]
    assert any("/teleop also publishes on" in text for text in texts)
