"""What a user can get wrong at bring-up: one clear error or a named waiting state, and no motion."""

import shutil

import pytest
import yaml
from arms import wait_for

from smolvla_ros.installation import share_folder
from smolvla_ros.msg import ExecutionStatus


@pytest.fixture
def robot_file(tmp_path):
    """Writes a changed so101_sim.yaml: `robot_file(change)`, where `change` edits the sections in place."""

    def write(change):
        sections = yaml.safe_load((share_folder() / "config" / "so101_sim.yaml").read_text())
        change({name: section["ros__parameters"] for name, section in sections.items()})
        file = tmp_path / "robot.yaml"
        file.write_text(yaml.safe_dump(sections))
        return file

    return write


def assert_stays_at_rest(operator):
    """The controller holds and has executed nothing; a chunk would have been executed by then."""
    wait_for(lambda: operator.status is not None, 20)
    assert operator.wait_for_verdict(1.5).touched == ""
    assert operator.status.state == ExecutionStatus.HOLDING
    assert operator.status.rows_executed == 0


@pytest.mark.parametrize(("damage", "text"), [
    (lambda folder: shutil.rmtree(folder), "cannot configure: parameter 'checkpoint'"),
    (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    (lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000]),
     "model.safetensors"),
])  # fmt: skip
def test_a_broken_checkpoint_ends_the_arm_and_the_last_line_says_what_it_is(start, operator, tmp_path, damage, text):
    folder = tmp_path / "checkpoint"
    shutil.copytree(share_folder() / "checkpoints" / "demo", folder)
    damage(folder)
    arm = start("arm", "--checkpoint", folder, "--instruction", "touch the red cube")
    assert arm.process.wait(timeout=60) == 1, arm.output
    last = arm.output.strip().splitlines()[-1]
    assert last.startswith("smolvla-ros arm: policy_node is unconfigured: cannot configure: parameter 'checkpoint'")
    assert text in last
    assert "Traceback" not in arm.output
    assert operator.status is None or operator.status.rows_executed == 0


def test_a_robot_that_does_not_fit_the_checkpoint_is_refused_with_both_sides_named(start, operator, robot_file):
    def remove(sections):
        sections["/**"]["joints"].remove("wrist_roll")
        for section in ("/**", "/**/controller_node"):
            del sections[section]["joint.wrist_roll"]

    arm = start("arm", "--robot", robot_file(remove), "--instruction", "touch the red cube")
    assert arm.process.wait(timeout=60) == 1, arm.output
    assert "the checkpoint's state has 6 values, the robot has 5 joints" in arm.output.strip().splitlines()[-1]
    assert operator.status is None or operator.status.rows_executed == 0


@pytest.mark.parametrize(("name", "value", "text"), [
    ("control_rate_herz", 100.0, "'control_rate_herz' is not known, did you mean 'control_rate_hz'?"),
    ("control_rate_hz", 100000.0, "parameter 'control_rate_hz' is 100000.0, expected 1 to 1000 Hz"),
    ("merge_rule", "newest", "parameter 'merge_rule' is 'newest', expected one of 'latest_only'"),
])  # fmt: skip
def test_a_wrong_parameter_is_refused_by_name_value_and_range(start, robot_file, name, value, text):
    file = robot_file(lambda sections: sections["/**/controller_node"].update({name: value}))
    arm = start("arm", "--robot", file)
    assert arm.process.wait(timeout=60) == 1, arm.output
    assert text in arm.output.strip().splitlines()[-1]
    assert "Traceback" not in arm.output


def test_a_camera_that_never_comes_is_named_and_nothing_moves(start, operator, robot_file):
    file = robot_file(lambda sections: sections["/**"].update({"camera.wrist.topic": "nowhere/image_raw"}))
    arm = start("arm", "--robot", file, "--instruction", "touch the red cube")
    arm.wait_for_output("no image from camera 'wrist' yet")
    assert_stays_at_rest(operator)


def test_a_joint_that_no_message_names_is_told_and_nothing_moves(start, operator, robot_file):
    def rename(sections):
        joints = sections["/**"]["joints"]
        joints[joints.index("gripper")] = "jaw"
        for section in ("/**", "/**/controller_node"):
            sections[section]["joint.jaw"] = sections[section].pop("joint.gripper")
        parked = sections["/**/controller_node"]["park_joints"]
        parked[parked.index("gripper")] = "jaw"

    arm = start("arm", "--robot", robot_file(rename), "--instruction", "touch the red cube")
    arm.wait_for_output("no joint state of 'jaw' yet")
    assert_stays_at_rest(operator)


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_instruction_is_a_named_waiting_state(start, operator, text):
    arm = start("arm")
    operator.wait_until_active("policy_node", 60)
    operator.say(text)
    arm.wait_for_output("waiting: no instruction")
    assert_stays_at_rest(operator)


def test_an_evaluation_of_a_broken_checkpoint_ends_with_the_error_of_the_node(start, tmp_path):
    run = start("evaluate", "--episodes", "1", "--checkpoint", tmp_path, "--json", tmp_path / "figures.json")
    assert run.process.wait(timeout=90) == 1
    assert "config.json is missing" in run.output
    assert "policy_node is unconfigured instead of active" in run.output
    assert not (tmp_path / "figures.json").exists()


@pytest.mark.parametrize(("arguments", "text"), [
    (["arm", "--robot", "nope"], "robot is 'nope', expected a YAML file or one of those that ship: aloha,"),
    (["arm", "--no-sim"], "a real arm needs the checkpoint that was trained for it"),
    (["arm", "--log-level", "loud"], "invalid choice: 'loud'"),
    (["evaluate", "--episodes", "0"], "is '0', expected a whole number of at least 1"),
    (["evalute"], "'evalute' is no command, did you mean 'evaluate'?"),
    (["arm", "--chekpoint", "x"], "'--chekpoint' is not known, did you mean '--checkpoint'?"),
])  # fmt: skip
def test_a_wrong_argument_is_refused_before_anything_starts(start, arguments, text):
    run = start(*arguments)
    assert run.process.wait(timeout=20) == 2
    assert text in run.output
    assert "Traceback" not in run.output

