"""`smolvla-ros replay` with the policy that ships: files, exit codes, and what it says about mistakes."""

import json
import shutil
import subprocess
import sys

import pytest
from replaying import FakePolicy
from simulated_bag import make_bag

from smolvla_ros.bags.replay.schedule import REQUESTS
from smolvla_ros.cli import replay as replay_command
from smolvla_ros.cli.main import main
from smolvla_ros.policy import setup as policy_setup


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("replayed")


@pytest.fixture(scope="module")
def bag(folder):
    return make_bag(folder / "bag", seconds=2.5, policy="manipulator")


def replay(bag, out, *options):
    return main(["replay", str(bag), "--out", str(out), "--param", "torch_threads:=1", *options])


@pytest.fixture(scope="module")
def out(folder, bag):
    """The results of a replay that needs to be told nothing: the bag knows robot and checkpoint."""
    assert replay(bag, folder / "out") == 0
    return folder / "out"


@pytest.fixture
def quick(monkeypatch):
    """A policy that costs nothing in place of the one that ships."""
    monkeypatch.setattr(policy_setup, "load_policy", lambda values, robot, warn: FakePolicy())


def test_the_shipped_policy_predicts_what_the_expert_did_far_better_than_standing_still(out):
    found = json.loads((out / "replay.json").read_text())
    assert len(found["chunks"]) >= 3
    assert found["errors"]["robot"]["mean"] < 0.5 * found["hold_errors"]["robot"]["mean"]
    assert found["errors"]["std"]["mean"] < 0.25
    assert found["robot_config"] == "of the bag" and found["defects"] == []


def test_a_replay_leaves_a_report_figures_and_rows(out):
    assert {file.name for file in out.iterdir()} == {"report.html", "replay.json", "rows.parquet"}
    assert "<html" in (out / "report.html").read_text()


def test_with_the_real_policy_too_two_replays_write_the_same_bytes(out, bag, folder):
    assert replay(bag, folder / "again") == 0
    for name in ("replay.json", "rows.parquet"):
        assert (folder / "again" / name).read_bytes() == (out / name).read_bytes()


def test_a_condition_that_holds_fails_with_the_figure(bag, tmp_path, quick, capsys):
    assert replay(bag, tmp_path, "--fail-if", "mae>1000", "--fail-if", "chunks > 1") == 1
    output = capsys.readouterr().out
    assert "failed: chunks is" in output and "failed: mae" not in output


def test_nothing_inferred_is_a_failure_with_the_reason(bag, tmp_path, quick, capsys):
    make_bag(tmp_path / "bag", seconds=1.0, drop_topic="/instruction")
    assert replay(tmp_path / "bag", tmp_path / "out") == 1
    output = capsys.readouterr().out
    assert "nothing could be inferred" in output and "no instruction" in output
    assert (tmp_path / "out" / "report.html").exists()


def test_a_damaged_bag_gives_partial_results_and_says_so_by_its_exit_code(bag, tmp_path, quick, capsys):
    shutil.copytree(bag, tmp_path / "bag")
    file = next((tmp_path / "bag").glob("*.mcap"))
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])
    assert replay(tmp_path / "bag", tmp_path / "out") == 3
    assert "partial:" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "replay.json").read_text())["defects"]
    assert replay(tmp_path / "bag", tmp_path / "out", "--allow-partial") == 0
    assert file.read_bytes() == data[: len(data) * 2 // 3]


def test_ctrl_c_gives_partial_results(bag, tmp_path, monkeypatch, capsys):
    class Interrupted(FakePolicy):
        def predict(self, *args, **kwargs):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().predict(*args, **kwargs)

    monkeypatch.setattr(policy_setup, "load_policy", lambda values, robot, warn: Interrupted())
    assert replay(bag, tmp_path) == 3
    assert "partial: The replay was stopped at" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "replay.json").read_text())["chunks"]) == 2


def test_the_robot_may_be_named_with_the_rows_as_csv_or_none(bag, tmp_path, quick):
    for rows, files in (("csv", {"rows.csv"}), ("none", set())):
        out = tmp_path / rows
        assert replay(bag, out, "--robot", "so101_sim", "--checkpoint", "x", "--rows", rows) == 0
        assert {file.name for file in out.iterdir()} == {"report.html", "replay.json"} | files
        assert json.loads((out / "replay.json").read_text())["robot_config"] == "so101_sim"


def test_topics_under_a_namespace_and_under_other_names_are_found(tmp_path, quick):
    make_bag(tmp_path / "bag", seconds=1.0, namespace="left")
    assert replay(tmp_path / "bag", tmp_path / "out", "--namespace", "left") == 0
    moved = ["--robot", "so101_sim", "--checkpoint", "x"]
    for topic in ("front/image_raw", "wrist/image_raw", "joint_states", "instruction"):
        moved += ["--remap", f"{topic}:=/left/{topic}"]
    assert replay(tmp_path / "bag", tmp_path / "out", *moved) == 0


def test_a_parameter_of_the_policy_node_may_be_set(bag, tmp_path, quick):
    replay(bag, tmp_path, "--param", "actions_per_chunk:=7", "--request", "synchronous")
    found = json.loads((tmp_path / "replay.json").read_text())
    assert (found["rows"], found["request"]) == (7, "synchronous")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--robot", "so999"], "robot is 'so999', expected a YAML file or one of those that ship"),
        (["--robot", "so101_sim"], "parameter 'checkpoint' must be set"),
        (["--checkpoint", "/nowhere"], "parameter 'checkpoint' is '/nowhere'"),
        (["--fail-if", "mea>1"], "did you mean 'mae'?"),
        (["--latency", "soon"], "--latency is 'soon'"),
        (["--remap", "joint_states"], "--remap is 'joint_states', expected NAME:=VALUE"),
        (["--remap", "joint_states:=/other"], "joint states"),
        (["--param", "rtc:=maybe"], "parameter 'rtc' is 'maybe'"),
        (["--param", "device:=[1"], "--param device: '[1' is no value"),
        (["--param", "colour:=red"], "parameter 'colour' is not known"),
        (["--start", "100"], "--start 100"),
        (["--clock-offset", "late"], "--clock-offset is 'late'"),
    ],
)
def test_a_mistake_ends_in_one_line_that_says_what_to_give_instead(bag, tmp_path, capsys, options, text):
    if options == ["--robot", "so101_sim"]:
        make_bag(tmp_path / "bag", seconds=1.0, drop_topic=["/policy_node/description", "/controller_node/description"])
        bag = tmp_path / "bag"
    assert replay(bag, tmp_path / "out", *options) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("smolvla-ros replay: ") and text in errors
    assert "Traceback" not in errors


def test_a_bag_that_does_not_tell_its_robot_asks_for_one(tmp_path, capsys):
    make_bag(tmp_path / "bag", seconds=1.0, drop_topic="/policy_node/description")
    assert replay(tmp_path / "bag", tmp_path / "out") == 2
    assert "give --robot" in capsys.readouterr().err


def test_an_out_that_is_a_file_is_refused(bag, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert replay(bag, tmp_path / "file") == 2
    assert "cannot be made" in capsys.readouterr().err


def test_the_command_offers_every_way_of_asking():
    """It lists them itself: importing the schedule would slow down every command."""
    assert replay_command._REQUESTS == REQUESTS


def test_replaying_imports_neither_ros_nor_before_a_policy_is_loaded_torch():
    code = (
        "import sys; import smolvla_ros.bags.replay.run, smolvla_ros.bags.replay.conditions, "
        "smolvla_ros.bags.replay.rows, smolvla_ros.bags.replay.summary, smolvla_ros.cli.replay_figures; "
        "sys.exit(', '.join({'torch', 'rclpy'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
