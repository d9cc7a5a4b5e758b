"""From a bag file to the name of its fault and the page that says so."""

import dataclasses

import numpy as np
import pytest
from replaying import FakePolicy, make_setup, run
from replays import STATISTICS
from simulated_bag import make_bag

from smolvla_ros.bags.diagnosis import diagnose
from smolvla_ros.bags.report import write_report
from smolvla_ros.policy.setup import freshness


class Trained(FakePolicy):
    """Stays where it is, and knows what the shipped checkpoint was trained with."""

    rows = np.zeros(1, np.float32)

    def predict(self, images, state, instruction, noise=None, guidance=None):
        still = np.tile(state, (self.config.chunk_size, 1))
        return type("Prediction", (), {"actions": still, "normalised": still.astype(np.float32), "stage_s": {}})

    def statistics(self, feature):
        return STATISTICS[feature]


@pytest.fixture
def named(tmp_path):
    def named(storage="mcap", compression=None, **faults):
        replay = run(make_bag(tmp_path / "bag", storage, compression, seconds=4.0, seed=11, **faults), Trained())
        findings = diagnose(replay, freshness(make_setup(Trained()).parameters))
        write_report(dataclasses.replace(replay, findings=findings), tmp_path / "report.html")
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert all(f"<code>{finding.name}</code>" in page for finding in findings)
        return [finding.name for finding in findings if finding.name != "no_better_than_standing_still"]

    return named


@pytest.mark.parametrize("faults", [{}, {"compressed": True}, {"storage": "sqlite3", "compression": "message"}])
def test_a_healthy_bag_has_no_fault(named, faults):
    assert named(**faults) == []


@pytest.mark.parametrize(
    ("faults", "name"),
    [
        ({"swap_joints": ("elbow_flex", "wrist_flex")}, "swapped_joints"),
        ({"degrees": True}, "degrees_for_radians"),
        ({"dead_camera_after_s": 2.0}, "dead_camera"),
        ({"frozen_camera": "wrist"}, "frozen_camera"),
        ({"frozen_camera": "front", "compressed": True}, "frozen_camera"),
        ({"clock_shift_s": -1.0}, "shifted_clock"),
        ({"clock_shift_s": 2.0}, "shifted_clock"),
        ({"zero_stamps": True}, "zero_stamps"),
        ({"no_overlap": True}, "no_overlap"),
        ({"zeros_of_another": True}, "contradicting_joint_states"),
        ({"drop_topic": "/instruction"}, "missing_instruction"),
    ],
)
def test_a_planted_fault_is_the_only_finding(named, faults, name):
    assert named(**faults) == [name]
