"""`smolvla-ros check`: a page about a checkpoint, its fit to a robot, and its refusal."""

from __future__ import annotations

import argparse
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
