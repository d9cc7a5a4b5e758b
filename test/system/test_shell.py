"""The shell on a running arm: status, doctor, stop, resume, reset, and what they say when nobody is there."""

import signal
import subprocess

import pytest
from arms import SMOLVLA_ROS, user_environment, wait_for

from smolvla_ros.msg import ExecutionStatus

COMMANDS = ("status", "doctor", "stop", "resume", "reset", "run wave")


def shell(*arguments):
    command = [SMOLVLA_ROS, *arguments]
    environment = user_environment() | {"COLUMNS": "160"}
    return subprocess.run(command, capture_output=True, text=True, timeout=90, env=environment)


@pytest.mark.parametrize("command", COMMANDS)
def test_without_an_arm_each_fails_and_tells_what_to_start(command):
    run = shell(*command.split())
    assert run.returncode == 1, run.stderr
    assert "smolvla-ros arm" in run.stdout + run.stderr and "Traceback" not in run.stderr


def test_an_arm_is_looked_at_stopped_and_let_go_again(start, operator):
    arm = start("arm", "--instruction", "touch the red cube")
    arm.wait_for_output("ready: ")
    doctor = shell("doctor")
    assert doctor.returncode == 0, doctor.stdout
    for line in ("ok   controller_node: active", "ok   camera front: ", "ok   joints: all there", "ok   units: "):
        assert line in doctor.stdout
    assert shell("stop").returncode == 0
    stopped = shell("status")
    assert stopped.returncode == 0
    assert "stop_requested" in stopped.stdout and "what to do    `smolvla-ros resume`" in stopped.stdout
    assert "touch the red cube" in stopped.stdout and "/front/image_raw" in stopped.stdout
    refused = shell("run", "touch", "the", "blue", "cube")
    assert refused.returncode == 4 and "smolvla-ros resume" in refused.stdout
    assert shell("resume").returncode == 0
    assert shell("reset").returncode == 0
    done = shell("run", "touch", "the", "blue", "cube", "--rest", "1", "--timeout", "60")
    assert done.returncode == 0 and "episode 2 at rest" in done.stdout, done.stdout + done.stderr
    assert "episode 2: done" in shell("outcome", "done").stdout
    assert shell("run", "touch", "the", "red", "cube", "--until-success", "never", "--timeout", "1").returncode == 3


def test_an_arm_goes_home_when_it_is_told_to_park_at_the_end_of_a_run_and_before_it_is_brought_down(
    start, operator, tmp_path
):
    values = tmp_path / "values.yaml"
    values.write_text("/**/controller_node: {ros__parameters: {park_on_shutdown: true}}\n")
    arm = start("arm", "--params", str(values))
    arm.wait_for_output("ready: ")
    run = shell("run", "touch", "the", "red", "cube", "--until-success", "--timeout", "30", "--park")
    assert run.returncode == 0, run.stdout + run.stderr
    assert operator.status.parked
    told = shell("status")
    assert "park" in told.stdout and "what to do    `smolvla-ros resume`" in told.stdout, told.stdout
    assert shell("resume").returncode == 0
    assert shell("takeover").returncode == 0
    wait_for(lambda: operator.status.intervention, 10)
    assert shell("takeover", "--end").returncode == 0
    wait_for(lambda: not operator.status.intervention, 10)
    operator.say("touch the blue cube")
    wait_for(lambda: operator.status.state == ExecutionStatus.FOLLOWING, 30)
    operator.pause(1.0)
    arm.process.send_signal(signal.SIGINT)
    wait_for(lambda: operator.status.parked, 10)
    assert arm.process.wait(10) == 130, arm.output
    assert "parking before the end" in arm.output and "not parked" not in arm.output


def test_the_version_and_completions_are_printed_without_ros():
    assert shell("--version").stdout.startswith("smolvla-ros 0.")
    assert "doctor" in shell("--print-completion", "bash").stdout
