"""The launch files, run by `ros2 launch` wherever launch_ros is installed."""

import importlib.util
import os
import shutil
import signal

import pytest
from arms import node_processes, wait_for
from simulated_bag import make_bag

from smolvla_ros.installation import executable
from smolvla_ros.msg import ExecutionStatus
from smolvla_ros.sim.tasks import Asked

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None or shutil.which("ros2") is None,
    reason="launch_ros and ros2 launch are not installed; they come with ROS 2, not with its wheels",
)
LAUNCH = ("ros2", "launch", "smolvla_ros", "arm.launch.py")


def test_the_launch_file_brings_up_an_arm_that_does_what_is_said_and_ends_in_order(start, operator, ros_domain):
    launch = start("instruction:=touch the yellow cube", command=LAUNCH)
    operator.wait_until_active("sim_node", 60)
    operator.reset_simulation(1_000_000_002, Asked("touch", "yellow"))
    assert operator.wait_for_verdict(60).touched == "yellow", launch.output
    assert sorted(node_processes(ros_domain).values()) == ["controller_node", "episode_node", "policy_node", "sim_node"]
    exit_code, seconds = launch.end(signal.SIGINT)
    assert exit_code == 0, launch.output
    assert seconds < 5.0
    assert node_processes(ros_domain) == {}
    assert launch.output.count("process has finished cleanly") == 4


def test_launch_arguments_reach_the_nodes(start, operator):
    launch = start("dry_run:=true", "instruction:=touch the red cube", command=LAUNCH)
    wait_for(lambda: operator.status is not None, 60, lambda: launch.output)
    assert operator.status.dry_run


def test_a_wrong_launch_argument_ends_the_launch_with_its_name(start):
    launch = start("sim:=maybe", command=LAUNCH)
    assert launch.process.wait(timeout=30) != 0
    assert "sim is 'maybe', expected true or false" in launch.output


@pytest.fixture
def rosbag2(tmp_path, monkeypatch):
    """Stands in for `ros2 bag play`, which may not be installed: notes its arguments and has the bag played."""
    ros2 = shutil.which("ros2")
    stub = tmp_path / "bin" / "ros2"
    stub.parent.mkdir()
    play = f'exec {executable("smolvla-ros")} play "$3" --topics-only'
    stub.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n{play}\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stub.parent}{os.pathsep}{os.environ['PATH']}")
    return ros2, tmp_path / "asked"


def test_a_bag_is_played_once_the_policy_is_active_and_its_end_ends_everything(
    start, operator, rosbag2, ros_domain, tmp_path
):
    ros2, asked = rosbag2
    bag = make_bag(tmp_path / "bag", seconds=4.0)
    launch = start(f"bag:={bag}", command=(ros2, "launch", "smolvla_ros", "replay.launch.py"))
    wait_for(lambda: operator.status is not None and operator.status.state == ExecutionStatus.FOLLOWING, 60,
             lambda: launch.output)  # fmt: skip
    assert operator.status.dry_run
    assert asked.read_text().split()[:9] == [
        "bag", "play", str(bag), "--clock", "100", "--rate", "1", "--start-offset", "0"
    ]  # fmt: skip
    assert {"/joint_states", "/front/image_raw", "/instruction"} <= set(asked.read_text().split())
    assert launch.process.wait(timeout=30) == 0, launch.output
    assert node_processes(ros_domain) == {}


def test_ctrl_c_ends_a_replay_in_order(start, operator, rosbag2, ros_domain, tmp_path):
    bag = make_bag(tmp_path / "bag", seconds=4.0)
    launch = start(f"bag:={bag}", command=(rosbag2[0], "launch", "smolvla_ros", "replay.launch.py"))
    wait_for(lambda: operator.status is not None and operator.status.state == ExecutionStatus.FOLLOWING, 60,
             lambda: launch.output)  # fmt: skip
    exit_code, seconds = launch.end(signal.SIGINT)
    assert exit_code == 0 and seconds < 5.0, launch.output
    assert node_processes(ros_domain) == {}


def test_a_bag_that_is_not_there_ends_the_launch_with_its_name(start):
    launch = start("bag:=/nowhere/bag", command=("ros2", "launch", "smolvla_ros", "replay.launch.py"))
    assert launch.process.wait(timeout=30) != 0
    assert "/nowhere/bag" in launch.output
