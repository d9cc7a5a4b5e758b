"""launch/arm.launch.py, run by `ros2 launch` wherever launch_ros is installed."""

import importlib.util
import shutil
import signal

import pytest
from arms import node_processes, wait_for

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None or shutil.which("ros2") is None,
    reason="launch_ros and ros2 launch are not installed; they come with ROS 2, not with its wheels",
)
LAUNCH = ("ros2", "launch", "smolvla_ros", "arm.launch.py")


def test_the_launch_file_brings_up_an_arm_that_does_what_is_said_and_ends_in_order(start, operator, ros_domain):
    launch = start("instruction:=touch the yellow cube", command=LAUNCH)
    operator.wait_until_active("sim_node", 60)
    operator.reset_simulation(1_000_000_002, "yellow")
    assert operator.wait_for_touch(60) == "yellow", launch.output
    assert sorted(node_processes(ros_domain).values()) == ["controller_node", "policy_node", "sim_node"]
    exit_code, seconds = launch.end(signal.SIGINT)
    assert exit_code == 0, launch.output
    assert seconds < 5.0
    assert node_processes(ros_domain) == {}
    assert launch.output.count("process has finished cleanly") == 3


def test_launch_arguments_reach_the_nodes(start, operator):
    launch = start("dry_run:=true", "instruction:=touch the red cube", command=LAUNCH)
    wait_for(lambda: operator.status is not None, 60, lambda: launch.output)
    assert operator.status.dry_run


def test_a_wrong_launch_argument_ends_the_launch_with_its_name(start):
    launch = start("sim:=maybe", command=LAUNCH)
    assert launch.process.wait(timeout=30) != 0
    assert "sim is 'maybe', expected true or false" in launch.output
