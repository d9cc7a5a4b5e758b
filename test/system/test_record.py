"""`smolvla-ros record` and `--bag`: what a robot says is in the bag, and what is missing is named."""

import json
import os
import signal
import subprocess
import threading

import pytest
import rclpy
import yaml
from arms import LOOPBACK_UDP, SMOLVLA_ROS, wait_for
from rclpy.context import Context
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.streams import recorded_parameters
from smolvla_ros.installation import share_folder
from smolvla_ros.policy.setup import file_hashes
from smolvla_ros.qos import LATCHED
from smolvla_ros.sim.tasks import Asked


def losses(bag):
    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    return json.loads(information["custom_data"]["smolvla_ros.recording"])["topics"]


def test_a_run_is_explained_by_its_bag_alone(start, operator, tmp_path):
    arm = start("arm", "--bag", tmp_path / "bag")
    operator.wait_until_active("policy_node", 60)
    operator.reset_simulation(1_000_000_001, Asked("touch", "red"))
    operator.say("touch the red cube")
    assert operator.wait_for_verdict(15).touched == "red"
    assert arm.end()[0] == 130, arm.output
    assert "/front/image_raw" in arm.output  # the closing table
    with open_bag(tmp_path / "bag") as bag:
        read = {topic: list(bag.read([topic])) for topic in bag.topics}
        parameters = recorded_parameters(bag)
        assert bag.defects == []
    for said in (read["/instruction"][-1].message.data, read["/action_chunk"][-1].message.instruction):
        assert said == "touch the red cube"
    assert read["/task_verdict"][-1].message.success
    assert parameters["policy_node"]["step_s"] > 0 and parameters["controller_node"]["command_type"] == "joint_state"
    described = json.loads(read["/policy_node/description"][-1].message.data)
    assert described["checkpoint"]["sha256"] == file_hashes(share_folder() / "checkpoints" / "demo")
    assert described["instruction"] == "touch the red cube"
    assert described["session"] == read["/action_chunk"][-1].message.session
    for topic in ("/front/image_raw", "/wrist/image_raw", "/joint_states", "/joint_command"):
        stamps = [m.message.header.stamp for m in read[topic]]
        delays_s = [m.log_ns * 1e-9 - s.sec - s.nanosec * 1e-9 for m, s in zip(read[topic], stamps, strict=True)]
        assert len(read[topic]) > 20 and -0.001 < sorted(delays_s)[len(delays_s) // 2] < 0.1
    assert {topic: of["lost"] + of["dropped"] for topic, of in losses(tmp_path / "bag").items()} == dict.fromkeys(
        losses(tmp_path / "bag"), 0
    )


@pytest.fixture
def robot():
    """Numbered joint states, a camera with best effort, one of the wrong type, and a latched word from before."""
    context = Context()
    rclpy.init(context=context, args=[])
    node = rclpy.create_node("robot", context=context)
    node.create_publisher(CompressedImage, "wrist/image_raw", qos_profile_sensor_data)
    images = node.create_publisher(Image, "front/image_raw", qos_profile_sensor_data)
    states = node.create_publisher(JointState, "joint_states", 10)
    node.create_publisher(String, "instruction", LATCHED).publish(String(data="said before"))
    stop = threading.Event()

    def publish():
        number = 0
        while not stop.wait(0.01):
            states.publish(JointState(name=[str(number)]))
            images.publish(Image(height=1, width=1, step=3, encoding="rgb8", data=bytes(3)))
            number += 1

    thread = threading.Thread(target=publish)
    thread.start()
    yield node
    stop.set()
    thread.join()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_what_comes_is_recorded_without_a_gap_and_what_does_not_is_named(start, robot, tmp_path):
    recorders = {name: start("record", "--out", tmp_path / name, **LOOPBACK_UDP) for name in ("ended", "killed")}
    for recorder in recorders.values():
        recorder.wait_for_output(
            "nothing comes on /wrist/image_raw (it is published as sensor_msgs/msg/CompressedImage, the robot config "
            "says sensor_msgs/msg/Image); /joint_command (nobody publishes it)"
        )
    wait_for(lambda: (tmp_path / "killed" / "killed_0.mcap").stat().st_size > 10_000, 20)
    os.kill(recorders["killed"].process.pid, signal.SIGKILL)
    assert recorders["ended"].end(signal.SIGTERM)[0] == 143, recorders["ended"].output
    for name in recorders:
        with open_bag(tmp_path / name) as bag:
            numbers = [int(m.message.name[0]) for m in bag.read(["/joint_states"])]
            assert bag.topics["/front/image_raw"].messages > 50
            assert [m.message.data for m in bag.read(["/instruction"])] == ["said before"]
            assert bool(bag.defects) == (name == "killed")
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) > 50
    assert losses(tmp_path / "ended")["/wrist/image_raw"]["recorded"] == 0


def test_a_bag_is_never_overwritten(tmp_path):
    run = subprocess.run([SMOLVLA_ROS, "record", "--out", tmp_path], capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert run.stderr == (
        f"smolvla-ros record: {tmp_path} exists already, and a bag is never overwritten: give another folder\n"
    )
