"""`smolvla-ros export` on bags of the simulated arm: files, exit codes, what is said."""

import json
import math
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from simulated_bag import Scene, make_bag, message, recorded_events, write_bag

from smolvla_ros.bags.dataset import export as exporting
from smolvla_ros.cli.main import main

FRONT = "observation.images.front"
SMALL = {"seconds": 2.0, "picture_size": (32, 32)}
SCENE = Scene(**SMALL)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return make_bag(tmp_path_factory.mktemp("bags") / "session", **SMALL)


def run(*arguments) -> int:
    return main(["export", *map(str, arguments)])


def test_a_session_becomes_a_dataset_in_degrees_with_the_commands_as_actions(bag, tmp_path, capsys):
    assert run(bag, "--robot", "so101_sim", "--out", tmp_path / "ds", "--codec", "h264") == 0
    said = capsys.readouterr().out
    assert "episodes 1, tasks 1, frames" in said and "touch the red cube" in said
    assert "no movement of wrist_roll, gripper: a policy that normalises" in said
    info = json.loads((tmp_path / "ds/meta/info.json").read_text())
    assert info["robot_type"] == "so101_sim"
    assert info["features"]["action"]["names"][0] == "shoulder_pan.pos"
    frames = pd.read_parquet(tmp_path / "ds/data/chunk-000/file-000.parquet")
    origin = json.loads((tmp_path / "ds/meta/smolvla_ros.json").read_text())
    events = recorded_events(SCENE)
    for topic, column in (("/joint_states", "observation.state"), ("/joint_command", "action")):
        sent = [event for event in events if event.topic == topic]
        for frame in range(0, len(frames), 7):
            now_ns = origin["bags"][0]["episodes"][0]["start_ns"] + round(frame * 1e9 / 30)
            newest = [event for event in sent if event.log_ns <= now_ns][-1]
            expected = np.degrees(newest.message.position)
            expected[-1] = newest.message.position[-1] * 52.083333333333336 + 9.114583333333334
            np.testing.assert_allclose(frames[column][frame], expected, rtol=1e-5, atol=1e-5)
    assert math.isclose(len(frames) / 30, 2.0, abs_tol=0.3)


def test_without_a_robot_config_the_robot_is_as_the_bag_tells(bag, tmp_path):
    assert run(bag, "--out", tmp_path / "ds", "--codec", "h264", "--robot-type", "my_arm") == 0
    info = json.loads((tmp_path / "ds/meta/info.json").read_text())
    assert info["robot_type"] == "my_arm" and FRONT in info["features"]


def test_an_instruction_that_the_recorder_did_not_hear_is_known_from_the_policys_description(tmp_path, capsys):
    description = next(event for event in recorded_events(SCENE) if event.topic == "/policy_node/description")
    said = next(event for event in recorded_events(SCENE) if event.topic == "/instruction")
    told = json.dumps(json.loads(description.message.data) | {"instruction": "dance"})
    events = [event for event in recorded_events(SCENE) if event is not said]
    events.append(replace(said, topic=description.topic, message=message("std_msgs/msg/String", data=told)))
    write_bag(tmp_path / "bag", sorted(events, key=lambda event: event.log_ns))
    assert run(tmp_path / "bag", "--out", tmp_path / "ds", "--codec", "h264") == 0
    assert "dance" in capsys.readouterr().out


def test_rows_of_chunks_agree_with_the_commands_they_led_to(bag, tmp_path):
    for action in ("command", "chunk"):
        assert run(bag, "--out", tmp_path / action, "--codec", "h264", "--action", action) == 0
    folders = [tmp_path / "command", tmp_path / "chunk"]
    command, chunk = (pd.read_parquet(folder / "data/chunk-000/file-000.parquet") for folder in folders)
    origins = [json.loads((folder / "meta/smolvla_ros.json").read_text()) for folder in folders]
    first, second = (origin["bags"][0]["episodes"][0]["start_ns"] for origin in origins)
    shift = round((second - first) / 1e9 * 30)
    difference = np.stack(chunk["action"])[20:50] - np.stack(command["action"])[20 + shift : 50 + shift]
    # Rows are 33 ms apart; the arm turns at about 1 rad/s.
    assert np.abs(difference).max() < 57 * 0.06


def test_compressed_images_and_a_sqlite3_bag_go_too(tmp_path):
    bag = make_bag(tmp_path / "bag", "sqlite3", "message", compressed=True, **SMALL)
    assert run(bag, "--out", tmp_path / "ds", "--codec", "h264") == 0


def test_a_camera_that_dies_gives_a_shorter_episode_a_sentence_and_exit_code_3(tmp_path, capsys):
    bag = make_bag(tmp_path / "bag", dead_camera_after_s=1.3, **SMALL)
    assert run(bag, "--out", tmp_path / "ds", "--codec", "h264") == 3
    assert "the last image from camera 'wrist' is older than 0.2 s" in capsys.readouterr().out
    assert run(bag, "--out", tmp_path / "ds2", "--codec", "h264", "--allow-partial") == 0


def test_zero_stamps_are_times_of_reception_if_the_user_says_so(tmp_path, capsys):
    bag = make_bag(tmp_path / "bag", zero_stamps=True, **SMALL)
    assert run(bag, "--out", tmp_path / "ds", "--codec", "h264") == 1
    assert "stamp is zero" in capsys.readouterr().out
    assert run(bag, "--out", tmp_path / "ds", "--codec", "h264", "--param", "accept_zero_stamps:=true") == 0


def test_a_recorder_with_another_clock_is_no_obstacle_if_the_user_says_so(tmp_path, capsys):
    events = [replace(event, log_ns=event.log_ns - 10**11) for event in recorded_events(SCENE)]
    write_bag(tmp_path / "bag", events)
    assert run(tmp_path / "bag", "--out", tmp_path / "ds", "--codec", "h264") == 1
    assert "s in the future" in capsys.readouterr().out
    assert run(tmp_path / "bag", "--out", tmp_path / "ds", "--codec", "h264", "--clock-offset", "auto") == 0


def test_without_any_episode_nothing_is_written_and_the_exit_code_is_1(tmp_path, capsys):
    bag = make_bag(tmp_path / "bag", no_overlap=True, **SMALL)
    assert run(bag, "--out", tmp_path / "ds") == 1
    said = capsys.readouterr().out
    assert "no episode" in said and "no image from camera" in said
    assert [file.name for file in tmp_path.iterdir()] == ["bag"]


def test_a_cut_bag_is_exported_as_far_as_it_can_be_read_and_said_to_be_damaged(tmp_path, capsys):
    (file,) = make_bag(tmp_path / "bag", seconds=2.0).glob("*.mcap")
    (tmp_path / "cut.mcap").write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.8)])
    assert run(tmp_path / "cut.mcap", "--robot", "so101_sim", "--out", tmp_path / "ds", "--codec", "h264") == 3
    assert "damaged" in capsys.readouterr().out
    assert 20 < len(pd.read_parquet(tmp_path / "ds/data/chunk-000/file-000.parquet")) < 60


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--remap", "front"], "--remap is 'front', expected NAME:=VALUE"),
        (["--task", "x"], "--task is one instruction for all, expected with --episodes bag"),
        (["--robot", "nobody"], "robot is 'nobody', expected a YAML file"),
        (["--robot", "so101"], "no command topic"),
        (["--namespace", "left", "--robot", "so101_sim"], "no messages on /left/front/image_raw"),
    ],
)
def test_what_a_user_got_wrong_is_one_line_and_exit_code_2(bag, tmp_path, capsys, arguments, text):
    assert run(bag, "--out", tmp_path / "ds", *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("smolvla-ros export: ") and text in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [("--fps", "29.97"), ("--fps", "0"), ("--max-gap", "0"), ("--min-length", "nan")])
def test_a_number_that_cannot_be_is_refused_by_the_option(bag, tmp_path, capsys, option):
    with pytest.raises(SystemExit) as stopped:
        run(bag, "--out", tmp_path / "ds", *option)
    assert stopped.value.code == 2
    assert f"argument {option[0]}: is '{option[1]}', expected" in capsys.readouterr().err


def test_a_signal_while_writing_leaves_nothing_and_says_so(bag, tmp_path, capsys, monkeypatch):
    decode, calls = exporting.decode_image, []

    def interrupted(image):
        calls.append(image)
        if len(calls) > 9:
            signal.raise_signal(signal.SIGTERM)
        return decode(image)

    monkeypatch.setattr(exporting, "decode_image", interrupted)
    assert run(bag, "--out", tmp_path / "ds", "--codec", "h264") == 143
    assert "stopped by SIGTERM; nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_and_is_named(bag, tmp_path, capsys, monkeypatch):
    def full(image):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "decode_image", full)
    assert run(bag, "--out", tmp_path / "ds") == 2
    assert "No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
