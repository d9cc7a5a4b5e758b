"""Two simulated arms and one policy: each does what it is told."""

import subprocess
import threading

import pytest
from arms import SMOLVLA_ROS, user_environment

from smolvla_ros.evaluation.operator import Operator
from smolvla_ros.sim.tasks import Asked


@pytest.fixture
def left_and_right():
    """Their operators take turns: a process has one ROS context."""
    return {"left": "red", "right": "blue"}


def say(*arguments):
    command = [SMOLVLA_ROS, "say", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=user_environment())


def test_a_pair_that_is_told_two_things_at_once_does_both(start, left_and_right, tmp_path):
    anyhow = tmp_path / "anyhow.yaml"  # on a machine that is busy with other things, too
    anyhow.write_text("/**/policy_node: {ros__parameters: {admission: everybody}}")
    arms = start("arm", "--arms", "left,right", "--params", anyhow)
    arms.wait_for_output("ready: ", 120)
    for arm, colour in left_and_right.items():
        with Operator(arm, threading.Event()) as operator:
            operator.reset_simulation(1_000_000_001, Asked("touch", colour))
    speakers = [
        subprocess.Popen([SMOLVLA_ROS, "say", "--arm", arm, f"touch the {colour} cube"], env=user_environment())
        for arm, colour in left_and_right.items()
    ]
    assert [speaker.wait(timeout=60) for speaker in speakers] == [0, 0], arms.output
    for arm, colour in left_and_right.items():
        with Operator(arm, threading.Event()) as operator:
            verdict = operator.wait_for_verdict(30)
            assert verdict.touched == colour and verdict.success, arms.output
    status = subprocess.run([SMOLVLA_ROS, "status", "--arm", "left"], capture_output=True, text=True, timeout=60,
                            env=user_environment())  # fmt: skip
    assert status.returncode == 0 and "touch the red cube" in status.stdout, status.stdout + status.stderr
    refused = say("--arm", "left", "touch " * 400)
    assert refused.returncode == 1 and "instruction refused" in refused.stderr
