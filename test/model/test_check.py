"""`smolvla-ros check`: a page about a checkpoint, its fit to a robot, and its refusal."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from smolvla_ros.bringup.options import BringUpError
from smolvla_ros.cli import check
from smolvla_ros.model.checkpoint.units import guess_units

ROBOT = """
/**:
  ros__parameters:
    cameras: [front, wrist]
    camera.front.feature: observation.images.top
    joints: [a, b, c, d, e, f]
    joint.a: {scale: 57.3, offset: 1.0}
/**/controller_node:
  ros__parameters: {command_type: joint_state}
"""


def page(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    code = check.run(parser.parse_args(arguments))
    return code, capsys.readouterr().out


@pytest.fixture
def default(checkpoint_of: Callable[[str], Path]) -> str:
    return str(checkpoint_of("default"))


def robot_file(tmp_path: Path, text: str) -> str:
    (tmp_path / "robot.yaml").write_text(text)
    return str(tmp_path / "robot.yaml")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No shipped robot configs: those of the tests are files."""
    monkeypatch.setattr("smolvla_ros.bringup.options.share_folder", lambda: tmp_path)


def test_a_page_tells_sizes_cameras_statistics_and_units(default: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = page(capsys, default)
    assert code == 0
    for part in (
        "4 of 6 language layers of width 72",
        "10 actions in 10 steps",
        "observation.images.top, observation.images.wrist",
        "action, MEAN_STD; probably degrees",
        "-7.204",
        "501,572 parameters in use",
        "the normalisation acts on state and action",
        "golden input none stored",
    ):
        assert part in text


def test_a_checkpoint_that_would_be_refused_is_refused_here(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (good / "model.safetensors").write_bytes(b"")
    code, text = page(capsys, str(good))
    assert code == 1
    assert "refused: " in text
    assert "not a whole safetensors file" in text
    assert "10 actions in 10 steps" in text


def test_a_robot_that_fits_is_shown_in_its_own_units(
    default: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = page(capsys, default, "--robot", robot_file(tmp_path, ROBOT))
    assert code == 0
    assert "a                       -0.010 rad or m" in text  # (0.424 - 1) / 57.3


def test_a_robot_that_does_not_fit_is_told_with_both_sides(
    default: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = page(capsys, default, "--robot", robot_file(tmp_path, ROBOT.replace("e, f]", "e]")))
    assert code == 1
    assert "the checkpoint's state has 6 values, the robot has 5 joints" in text


@pytest.mark.parametrize("text", ["", "[", "cameras: []", ROBOT.replace("57.3", "0.0"), ROBOT.replace("57.3", "x")])
def test_a_robot_file_that_cannot_be_used_is_named(
    default: str, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BringUpError, match=r"robot\.yaml"):
        page(capsys, default, "--robot", robot_file(tmp_path, text))


@pytest.mark.parametrize(
    ("low", "high", "units"),
    [
        (-1.9, 1.7, "radians"),
        (-90.0, 95.0, "degrees"),
        (-100.0, 99.8, "-100 to 100"),
        (-98.3, 99.2, "-100 to 100"),
        (-180.0, 170.0, "degrees"),
        (0.0, 4095.0, "unknown"),
    ],
)
def test_units_are_guessed_from_the_range(low: float, high: float, units: str) -> None:
    assert units in guess_units({"min": torch.tensor([0.0, low]), "max": torch.tensor([0.1, high])}).units


def test_units_are_guessed_from_the_spread_where_the_range_is_not_stored() -> None:
    """The action statistics that are reported of lerobot/smolvla_base."""
    mean = torch.tensor([1.60, 119.94, 109.77, 56.71, -27.42, 12.00])
    guess = guess_units({"mean": mean, "std": torch.tensor([26.39, 52.41, 49.85, 37.00, 59.36, 19.04])})
    assert guess.units.startswith("degrees")
    assert "std up to 59" in guess.reason


@pytest.mark.parametrize("statistics", [{}, {"mean": torch.tensor([torch.inf]), "std": torch.ones(1)}])
def test_without_statistics_the_units_are_unknown(statistics: dict) -> None:
    assert guess_units(statistics).units == "unknown"


LIMITS = "".join(f"\n    joint.{joint}: {{min_position: -1.66, max_position: 1.66}}" for joint in "abcdef")


def test_degrees_that_are_taken_for_radians_do_not_fit_and_the_scale_is_told(
    default: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = ROBOT.replace("scale: 57.3, offset: 1.0", "scale: 1.0").replace("{command_type: joint_state}", LIMITS)
    code, told = page(capsys, default, "--robot", robot_file(tmp_path, text))
    assert code == 1
    assert "units do not fit: action (" in told and "limits +-1.66: degrees? scale 57.3" in told
    degrees = "".join(f"    joint.{joint}: {{scale: 57.3}}\n" for joint in "abcdef")
    text = text.replace("    joint.a: {scale: 1.0}\n", degrees)
    assert page(capsys, default, "--robot", robot_file(tmp_path, text))[0] == 0


def test_limits_of_a_urdf_are_held_against_the_units_too(
    default: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joints = "".join(
        f'<joint name="{joint}" type="revolute"><limit lower="-1.66" upper="1.66"/></joint>' for joint in "abcdef"
    )
    (tmp_path / "arm.urdf").write_text(f"<robot>{joints}</robot>")
    file = robot_file(tmp_path, ROBOT.replace("57.3", "1.0"))
    assert page(capsys, default, "--robot", file)[0] == 0
    code, told = page(capsys, default, "--robot", file, "--urdf", str(tmp_path / "arm.urdf"))
    assert code == 1 and "degrees? scale 57.3" in told
    with pytest.raises(BringUpError, match=r"--urdf .*nowhere\.urdf"):
        page(capsys, default, "--robot", file, "--urdf", str(tmp_path / "nowhere.urdf"))


def test_what_the_robot_config_says_to_the_node_counts_here_too(
    default: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one_camera = ROBOT.replace("[front, wrist]", "[front]")
    code, told = page(capsys, default, "--robot", robot_file(tmp_path, one_camera))
    assert code == 1 and "expects observation.images.wrist" in told
    allowed = one_camera + "/**/policy_node:\n  ros__parameters: {allow_missing_cameras: true}\n"
    assert page(capsys, default, "--robot", robot_file(tmp_path, allowed))[0] == 0
    chosen = ROBOT + "/**/policy_node:\n  ros__parameters: {action_statistics: nowhere.json}\n"
    code, told = page(capsys, default, "--robot", robot_file(tmp_path, chosen))
    assert code == 1 and "nowhere.json" in told


@pytest.mark.parametrize("named", ["", "checkpoints", "checkpoints/last", "checkpoints/000100"])
def test_the_policy_is_found_in_the_folder_of_a_training_run(
    good: Path, tmp_path: Path, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    step = tmp_path / "run" / "checkpoints" / "000100"
    step.mkdir(parents=True)
    good.rename(step / "pretrained_model")
    (step.parent / "last").symlink_to(step, target_is_directory=True)
    assert page(capsys, str(tmp_path / "run" / named))[0] == 0


def test_a_run_without_a_last_checkpoint_names_the_newest_and_a_data_set_is_no_checkpoint(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = tmp_path / "run" / "checkpoints" / "000100"
    step.mkdir(parents=True)
    good.rename(step / "pretrained_model")
    code, text = page(capsys, str(tmp_path / "run"))
    assert code == 1 and f"the newest is {step / 'pretrained_model'}" in text
    (tmp_path / "data" / "meta").mkdir(parents=True)
    (tmp_path / "data" / "meta" / "info.json").write_text("{}")
    code, text = page(capsys, str(tmp_path / "data"))
    assert code == 1 and "is a data set, not a checkpoint" in text


def test_a_data_set_may_be_named_for_its_statistics_and_those_of_single_episodes_are_refused(
    default: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta = tmp_path / "data" / "meta"
    meta.mkdir(parents=True)
    (meta / "episodes_stats.jsonl").write_text("{}\n")
    for choice in (tmp_path / "data", meta / "episodes_stats.jsonl"):
        code, text = page(capsys, default, "--action-statistics", str(choice))
        assert code == 1 and "statistics of single episodes" in text
    (meta / "stats.json").write_text('{"action": {"mean": [1, 2, 3, 4, 5, 6], "std": [1, 1, 1, 1, 1, 1]}}')
    code, text = page(capsys, default, "--action-statistics", str(tmp_path / "data"))
    assert code == 0, text


@pytest.mark.parametrize(("enabled", "expected"), [(False, 0), (True, 1)])
def test_a_step_of_relative_actions_is_harmless_only_when_it_is_switched_off(
    good: Path, enabled: bool, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = good / "policy_preprocessor.json"
    pipeline = json.loads(file.read_text())
    pipeline["steps"].insert(
        4, {"registry_name": "relative_actions_processor", "config": {"enabled": enabled, "exclude_joints": []}}
    )
    file.write_text(json.dumps(pipeline))
    assert page(capsys, str(good))[0] == expected
