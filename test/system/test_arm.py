"""`smolvla-ros arm` and `smolvla-ros say`: the arm does what is said, and everything ends in order."""

import os
import signal
import subprocess

import pytest
from arms import LOOPBACK_UDP, SMOLVLA_ROS, node_processes, user_environment, wait_for

from smolvla_ros.evaluation.operator import OperatorError
from smolvla_ros.msg import ExecutionStatus
from smolvla_ros.sim.tasks import Asked


def say(*arguments):
    command = [SMOLVLA_ROS, "say", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=user_environment())


@pytest.mark.parametrize("colour", ["red", "blue"])
def test_the_arm_touches_the_cube_that_is_named(start, operator, colour):
    start("arm")
    operator.wait_until_active("policy_node", 60)
    operator.reset_simulation(1_000_000_001, Asked("touch", colour))
    said = say(f"go to the {colour} cube")
    assert said.returncode == 0, said.stderr
    verdict = operator.wait_for_verdict(15)
    assert verdict.touched == colour and verdict.success


def test_without_an_instruction_nothing_moves(start, operator):
    start("arm")
    operator.wait_until_active("policy_node", 60)
    wait_for(lambda: operator.status is not None, 10)
    assert operator.wait_for_verdict(2).touched == ""
    assert operator.status.state == ExecutionStatus.HOLDING
    assert operator.status.rows_executed == 0


def test_an_instruction_said_before_the_policy_is_up_is_received(start, operator):
    waiting = start("say", "touch the green cube", "--timeout", "60")
    arm = start("arm")
    assert waiting.process.wait(timeout=70) == 0, waiting.output
    assert operator.wait_for_verdict(20).touched, arm.output


def test_an_instruction_in_words_is_accepted_and_one_that_is_refused_says_why(start, operator):
    start("arm")
    operator.wait_until_active("policy_node", 60)
    said = say("touch", "the", "red", "cube")
    assert (said.returncode, said.stdout) == (0, "accepted\n"), said.stderr
    refused = say("touch " * 400)
    assert refused.returncode == 1 and refused.stdout == ""
    assert "instruction refused" in refused.stderr and "what was said before stays" in refused.stderr
    assert say("").returncode == 0


def test_an_instruction_to_a_policy_that_is_not_active_is_no_success(start, operator):
    start("arm")
    operator.wait_until_active("policy_node", 60)
    operator.set_active("policy_node", False)
    said = say("touch the red cube")
    assert said.returncode == 1 and "accepted, but policy_node is inactive" in said.stderr


@pytest.mark.parametrize("command", [["evaluate", "--episodes", "1"], ["demo"]])
def test_nothing_is_measured_beside_an_arm_that_is_up_already(start, operator, command, tmp_path):
    start("arm")
    operator.wait_until_active("controller_node", 60)
    run = start(*command, *(["--output", tmp_path / "demo"] if command == ["demo"] else []))
    assert run.process.wait(timeout=30) == 1
    assert "/controller_node, /policy_node, /sim_node already runs in this ROS domain" in run.output
    assert "ROS_DOMAIN_ID" in run.output


def test_saying_something_to_nobody_fails_and_tells_what_to_do():
    said = say("touch the red cube", "--timeout", "0.5")
    assert said.returncode == 1
    assert "no policy node listens on /instruction" in said.stderr
    assert "smolvla-ros arm" in said.stderr


def test_a_dry_run_reports_motion_and_sends_no_command(start, operator):
    start("arm", "--dry-run", "--instruction", "touch the red cube")
    wait_for(lambda: operator.status is not None and operator.status.rows_executed > 20, 60)
    assert operator.status.dry_run
    assert operator.wait_for_verdict(2).touched == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["while starting", "while moving"])
def test_a_signal_ends_every_process_within_3_s_with_its_exit_code(start, operator, ros_domain, number, moment):
    arm = start("arm", "--instruction", "touch the red cube")
    if moment == "while starting":
        wait_for(lambda: len(node_processes(ros_domain)) >= 3, 20)
    else:
        wait_for(lambda: operator.status is not None and operator.status.state == ExecutionStatus.FOLLOWING, 60)
    exit_code, seconds = arm.end(number)
    assert exit_code == 128 + number, arm.output
    assert seconds < 3.0
    assert node_processes(ros_domain) == {}
    assert "Traceback" not in arm.output


def test_a_healthy_start_warns_of_nothing_and_says_once_that_it_is_ready_and_what_to_type(start, operator):
    arm = start("arm", "--namespace", "left")
    arm.wait_for_output("ready: policy_node, controller_node, sim_node")
    arm.wait_for_output("waiting: no instruction")
    (ready,) = [line for line in arm.output.splitlines() if line.startswith("ready")]
    assert "smolvla-ros say --namespace left touch the red cube" in ready
    assert "[WARN]" not in arm.output and "[ERROR]" not in arm.output, arm.output


def test_a_recorder_that_ends_does_not_take_the_arm_down(start, operator, ros_domain, tmp_path):
    arm = start("arm", "--bag", tmp_path / "bag", "--instruction", "touch the red cube", **LOOPBACK_UDP)
    wait_for(lambda: operator.status is not None and operator.status.state == ExecutionStatus.FOLLOWING, 60)
    (recorder,) = (pid for pid, name in node_processes(ros_domain).items() if name == "smolvla-ros")
    os.kill(recorder, signal.SIGKILL)
    arm.wait_for_output("record ended with exit code -9; the others go on without it")
    executed = operator.status.rows_executed
    wait_for(lambda: operator.status.rows_executed > executed + 20, 20)


def test_a_node_that_dies_ends_the_arm_and_is_named(start, operator, ros_domain):
    arm = start("arm", **LOOPBACK_UDP)
    operator.wait_until_active("controller_node", 60)
    (controller,) = (pid for pid, name in node_processes(ros_domain).items() if name == "controller_node")
    os.kill(controller, signal.SIGKILL)
    assert arm.process.wait(timeout=10) == 1
    assert "controller_node ended with exit code -9" in arm.output
    assert node_processes(ros_domain) == {}


def test_an_arm_in_a_namespace_is_not_met_outside_of_it(start, operator):
    arm = start("arm", "--namespace", "left")
    arm.wait_for_output("waiting: no instruction")
    assert say("touch the red cube", "--timeout", "0.5").returncode == 1
    assert say("touch the red cube", "--namespace", "left").returncode == 0
    with pytest.raises(OperatorError, match="policy_node did not start"):
        operator.wait_until_active("policy_node", 0.5)
