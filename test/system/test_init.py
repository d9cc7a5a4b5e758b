"""`smolvla-ros init --from-graph` beside stubs of drivers: an arm with a gripper, and two arms in a namespace."""

import contextlib
import json
import subprocess
import threading

import pytest
import rclpy
import yaml
from arms import SMOLVLA_ROS, user_environment
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.files import read_parameters
from smolvla_ros.qos import LATCHED

UR = [f"{name}_joint" for name in ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")]
KNUCKLE = "robotiq_85_left_knuckle_joint"
ARMS = {side: [f"{side}_{joint}" for joint in ("waist", "shoulder", "elbow")] for side in ("left", "right")}


def description(joints):
    elements = "".join(
        f'<joint name="{joint}" type="revolute"><parent link="base"/><child link="{joint}_link"/>'
        f'<limit lower="{"0" if joint == KNUCKLE else "-3"}" upper="{"0.8" if joint == KNUCKLE else "3"}" '
        f'velocity="2" effort="1"/></joint><link name="{joint}_link"/>'
        for joint in joints
    )
    return f'<robot name="r"><link name="base"/>{elements}</robot>'


@contextlib.contextmanager
def drivers(namespace, controllers, cameras, others=()):
    """Controllers by name and joints, as ros2_control runs them; joint states of all and of `others`, and cameras."""
    rclpy.init()
    executor = SingleThreadedExecutor()
    nodes = []
    for name, joints in controllers.items():
        value = Parameter("joints", value=list(joints))
        nodes.append(rclpy.create_node(name, namespace=namespace, parameter_overrides=[value],
                                       automatically_declare_parameters_from_overrides=True))  # fmt: skip
        nodes[-1].create_subscription(JointTrajectory, "~/joint_trajectory", lambda message: None, 10)
    node = rclpy.create_node("joint_state_broadcaster", namespace=namespace)
    nodes.append(node)
    joints = [*others, *(joint for joints in controllers.values() for joint in joints)]
    states = node.create_publisher(JointState, "joint_states", 10)
    pictures = [node.create_publisher(Image, topic, 10) for topic in cameras]
    node.create_publisher(String, "robot_description", LATCHED).publish(String(data=description(joints)))

    def publish():
        states.publish(JointState(name=joints, position=[0.1] * len(joints)))
        for publisher in pictures:
            publisher.publish(Image(height=2, width=3, step=9, encoding="rgb8", data=bytes(18)))

    node.create_timer(0.05, publish)
    for one in nodes:
        executor.add_node(one)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()
        for one in nodes:
            one.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def dataset(tmp_path):
    """A folder that tells what a policy for these joints was trained on."""

    def dataset(names, cameras, low, high):
        vector = {"dtype": "float32", "shape": [len(names)], "names": names}
        features = {"action": vector, "observation.state": vector}
        features |= {f"observation.images.{camera}": {"dtype": "video"} for camera in cameras}
        meta = tmp_path / "dataset" / "meta"
        meta.mkdir(parents=True)
        (meta / "info.json").write_text(json.dumps({"features": features, "fps": 30}))
        statistics = {"min": low, "max": high}
        (meta / "stats.json").write_text(json.dumps({"action": statistics, "observation.state": statistics}))
        return meta.parent

    return dataset


def drafted(tmp_path, *arguments):
    out = tmp_path / "robot.yaml"
    command = [SMOLVLA_ROS, "init", "--from-graph", "--out", out, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                         env=user_environment())  # fmt: skip
    assert run.returncode == 0, run.stderr
    return out, {name: section["ros__parameters"] for name, section in yaml.safe_load(out.read_text()).items()}


def test_an_arm_with_a_gripper_and_cameras_of_its_own_names_is_described(tmp_path, dataset):
    names = [f"{joint.removesuffix('_joint')}.pos" for joint in UR] + ["gripper.pos"]
    folder = dataset(names, ["front"], [-1.5] * 6 + [0.0], [1.5] * 6 + [1.0])
    controllers = {"scaled_joint_trajectory_controller": UR, "robotiq_gripper_controller": [KNUCKLE]}
    with drivers("", controllers, ["/front/color/image_raw"], others=["linear_rail"]):
        file, found = drafted(tmp_path, "--dataset", folder)
    shared = found["/**"]
    assert shared["joints"] == [*UR, KNUCKLE]
    assert shared["joint.robotiq_85_left_knuckle_joint"]["scale"] == pytest.approx(1.25)
    assert shared["camera.front"]["topic"].strip("/") == "front/color/image_raw"
    assert "3 x 2" in file.read_text()
    controller = read_parameters(file, "/controller_node", ControllerParameters)
    assert [(group.topic.strip("/"), list(group.joints)) for group in controller.groups] == [
        ("scaled_joint_trajectory_controller/joint_trajectory", UR),
        ("robotiq_gripper_controller/joint_trajectory", [KNUCKLE]),
    ]


def test_two_arms_in_a_namespace_become_two_groups_and_topics_are_relative_to_it(tmp_path, dataset):
    names = [*ARMS["left"], *ARMS["right"]]
    folder = dataset(names, ["left_wrist", "right_wrist"], [-90.0] * 6, [90.0] * 6)
    controllers = {f"{side}_arm_controller": joints for side, joints in ARMS.items()}
    cameras = ["left_wrist/image_raw", "right_wrist/image_raw"]
    with drivers("/station", controllers, cameras):
        file, found = drafted(tmp_path, "--dataset", folder, "--namespace", "station")
    assert found["/**"]["camera.right_wrist"]["topic"] == "right_wrist/image_raw"
    assert found["/**"]["joint.left_waist"]["scale"] == pytest.approx(57.29578)
    controller = read_parameters(file, "/station/controller_node", ControllerParameters)
    assert [(group.topic, list(group.joints)) for group in controller.groups] == [
        (f"{side}_arm_controller/joint_trajectory", joints) for side, joints in ARMS.items()
    ]
