"""The sim node as a process of its own, over DDS."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from smolvla_ros.bringup.processes import executable
from smolvla_ros.msg import TaskVerdict
from smolvla_ros.sim.expert import ScriptedExpert
from smolvla_ros.sim.world import HOME, JOINTS, World

TIMEOUT_S = 60.0  # a loaded machine starts a process in many seconds
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Client:
    """One node that hears everything the sim node says."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node("tester")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.heard: dict[str, list[Any]] = {}
        for topic, kind, qos in (
            ("joint_states", JointState, qos_profile_sensor_data),
            ("front/image_raw", Image, qos_profile_sensor_data),
            ("wrist/image_raw", Image, qos_profile_sensor_data),
            ("task_verdict", TaskVerdict, LATCHED),
            ("task_success", Bool, LATCHED),
            ("/diagnostics", DiagnosticArray, QoSProfile(depth=10)),
            ("/clock", Clock, qos_profile_sensor_data),
        ):
            self.heard[topic] = []
            self.node.create_subscription(kind, topic, self.heard[topic].append, qos)
        self.commands = {
            kind: self.node.create_publisher(kind, topic, 10)
            for kind, topic in (
                (JointState, "joint_command"),
                (Float64MultiArray, "forward_position_controller/commands"),
                (JointTrajectory, "joint_trajectory_controller/joint_trajectory"),
            )
        }

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not happen within {TIMEOUT_S:g} s"
            self.executor.spin_once(timeout_sec=0.05)

    def last(self, topic: str) -> Any:
        self.until(lambda: bool(self.heard[topic]), f"a message on {topic}")
        return self.heard[topic][-1]

    def positions(self) -> np.ndarray:
        return np.array(self.last("joint_states").position)

    def moves_to(self, expected: np.ndarray) -> None:
        self.until(lambda: np.abs(self.positions() - expected).max() < 0.02, f"the arm at {expected}")

    def call(self, kind: Any, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready, f"service {name}")
        future = client.call_async(request)
        self.until(future.done, f"an answer of {name}")
        return future.result()

    def set(self, **values: Any) -> bool:
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        answer = self.call(SetParameters, "sim_node/set_parameters", SetParameters.Request(parameters=parameters))
        return all(result.successful for result in answer.results)

    def reset(self) -> None:
        for topic in ("task_verdict", "task_success", "joint_states"):
            self.heard[topic].clear()
        assert self.call(Trigger, "sim_node/reset", Trigger.Request()).success
        assert self.last("task_verdict").touched == "" and self.last("task_success").data is False

    def refused(self) -> int:
        values = self.last("/diagnostics").status[0].values
        return next(int(value.value) for value in values if value.key == "commands_refused")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    command = [sys.executable, str(executable("sim_node")), "--ros-args", "-p", "publish_clock:=true"]
    with subprocess.Popen(command) as process:
        client = Client()
        try:
            client.last("joint_states")
            yield client
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=20.0)
            client.node.destroy_node()
            rclpy.shutdown()
    assert code == 0


@pytest.fixture(autouse=True)
def at_home(client: Client) -> None:
    assert client.set(seed=7, task="touch", target="red")
    client.reset()


def test_joint_states_name_every_joint_with_position_velocity_and_effort(client: Client) -> None:
    message = client.last("joint_states")
    assert list(message.name) == list(JOINTS)
    assert len(message.position) == len(message.velocity) == len(message.effort) == 6
    assert np.abs(np.array(message.position) - HOME).max() < 0.01


def test_images_are_rgb_and_stamped_with_simulated_time(client: Client) -> None:
    client.heard["front/image_raw"].clear()
    message = client.last("front/image_raw")
    assert (message.encoding, message.height, message.width, message.step) == ("rgb8", 96, 96, 288)
    assert len(message.data) == 96 * 96 * 3 and message.header.frame_id == "front_camera"
    assert Time(sec=0) != message.header.stamp
    clock = client.last("/clock").clock
    assert abs(clock.sec - message.header.stamp.sec) < 5
    picture = np.frombuffer(bytes(message.data), np.uint8).reshape(96, 96, 3)
    world = World(7)
    world.place_arm(client.positions())
    difference = np.abs(picture.astype(int) - world.render("front").astype(int))
    world.close()
    assert difference.mean() < 3.0


def test_a_joint_command_is_read_by_name_not_by_order(client: Client) -> None:
    client.commands[JointState].publish(JointState(name=["gripper", "shoulder_pan"], position=[0.6, -0.4]))
    client.moves_to(HOME + [-0.4, 0, 0, 0, 0, 0.5])


def test_a_position_array_is_read_in_the_order_of_the_joints(client: Client) -> None:
    target = HOME + [0.3, 0.2, 0, 0, 0, 0]
    client.commands[Float64MultiArray].publish(Float64MultiArray(data=target.tolist()))
    client.moves_to(target)


def test_a_trajectory_is_followed_in_time(client: Client) -> None:
    target = HOME + [0.6, 0, 0, 0, 0, 0]
    point = JointTrajectoryPoint(positions=target.tolist(), time_from_start=Duration(sec=1))
    client.commands[JointTrajectory].publish(JointTrajectory(joint_names=list(JOINTS), points=[point]))
    client.heard["joint_states"].clear()
    client.moves_to(target)
    pans = [message.position[0] for message in client.heard["joint_states"]]
    assert any(0.1 < pan < 0.5 for pan in pans), "it jumped"


@pytest.mark.parametrize(
    "message",
    [
        JointState(name=["shoulder_pan", "elbow"], position=[0.5, 0.5]),
        JointState(name=["shoulder_pan", "shoulder_pan"], position=[0.5, 0.5]),
        JointState(name=["shoulder_pan"], position=[0.5, 0.5]),
        JointState(name=["shoulder_pan"], position=[float("nan")]),
        JointState(position=[0.5] * 6),
        Float64MultiArray(data=[0.5] * 5),
        Float64MultiArray(data=[float("inf")] * 6),
        JointTrajectory(joint_names=list(JOINTS)),
        JointTrajectory(joint_names=list(JOINTS), points=[JointTrajectoryPoint(positions=[0.5] * 3)]),
        JointTrajectory(joint_names=["shoulder"], points=[JointTrajectoryPoint(positions=[0.5])]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_malformed_command_is_counted_and_moves_nothing(client: Client, message: Any) -> None:
    client.heard["/diagnostics"].clear()
    before = client.refused()
    client.commands[type(message)].publish(message)
    client.until(lambda: client.refused() == before + 1, "one more refused command")
    assert np.abs(client.positions() - HOME).max() < 0.01


def test_a_reset_brings_the_arm_home_and_forgets_its_command(client: Client) -> None:
    client.commands[JointState].publish(JointState(name=["shoulder_pan"], position=[0.8]))
    client.moves_to(HOME + [0.8, 0, 0, 0, 0, 0])
    client.reset()
    client.heard["joint_states"].clear()
    client.until(lambda: len(client.heard["joint_states"]) > 20, "joint states")
    assert np.abs(client.positions() - HOME).max() < 0.01


def touch(client: Client, colour: str) -> None:
    """Sends the arm above a cube of the world of seed 7, then onto it."""
    world, expert = World(7), ScriptedExpert()
    goal = expert.goal(world.cube_position(colour), world.layout.cube(colour).top_m)
    for pose in (goal.hover, goal.touch):
        client.commands[Float64MultiArray].publish(Float64MultiArray(data=pose.tolist()))
        if pose is goal.hover:
            client.moves_to(pose)


def test_touching_the_target_is_a_success(client: Client) -> None:
    assert client.set(target="green")
    touch(client, "green")
    client.until(lambda: client.last("task_verdict").touched == "green", "a touch of the green cube")
    client.until(lambda: client.last("task_success").data is True, "success")
    verdict = client.last("task_verdict")
    assert (verdict.task, verdict.colour, verdict.place) == ("touch", "green", "")
    assert verdict.success and verdict.decided and verdict.reached and verdict.right_object


def test_touching_another_cube_is_none(client: Client) -> None:
    touch(client, "blue")
    client.until(lambda: client.last("task_verdict").touched == "blue", "a touch of the blue cube")
    assert client.last("task_success").data is False
    assert client.last("task_verdict").decided and not client.last("task_verdict").right_object


def test_holding_still_is_a_success_only_while_the_arm_does(client: Client) -> None:
    client.heard["task_verdict"].clear()
    assert client.set(task="stay")
    client.until(lambda: client.last("task_verdict").decided, "a verdict on holding still")
    assert client.last("task_verdict").success
    client.reset()
    client.commands[Float64MultiArray].publish(Float64MultiArray(data=(HOME + 0.2).tolist()))
    client.until(lambda: client.last("task_verdict").moved_wrongly, "a verdict on the motion")
    assert not client.last("task_verdict").success


def test_a_task_for_which_the_scene_has_no_place_is_refused(client: Client) -> None:
    assert not client.set(task="place")
    assert client.set(task="touch")


def test_a_seed_or_target_that_makes_no_sense_is_refused(client: Client) -> None:
    assert not client.set(target="purple")
    assert not client.set(seed=-1)
