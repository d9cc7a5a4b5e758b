"""From parameters to real-time chunking as the model understands it."""

import numpy as np
import pytest

from smolvla_ros.model import CheckpointError, SmolVLAPolicy
from smolvla_ros.model.rtc import FORMS, SCHEDULES
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.policy.continuation import Continuation

LEFT = Continuation(np.ones((30, 6), np.float32), delay=8)


def parameters(**changes):
    return PolicyParameters.from_values({"checkpoint": "somewhere", "joints": ["a"], **changes})


def test_chunks_continue_nothing_by_default():
    assert policy_setup.guide(parameters()) is None
    assert policy_setup.loop_settings(parameters(), session=1).delay_percentile is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_form_and_schedule_of_the_model_can_be_chosen(form, schedule):
    guidance = policy_setup.guide(parameters(rtc=form, rtc_schedule=schedule, rtc_max_guidance_weight=5.0))(LEFT)
    assert (guidance.form, guidance.schedule, guidance.max_weight, guidance.delay) == (form, schedule, 5.0, 8)
    np.testing.assert_array_equal(guidance.leftover.numpy(), LEFT.rows)


@pytest.mark.parametrize("horizon, expected", [(0, 30), (12, 12)])
def test_the_horizon_is_all_that_is_left_unless_it_is_given(horizon, expected):
    assert policy_setup.guide(parameters(rtc="lerobot", rtc_horizon=horizon))(LEFT).horizon == expected


@pytest.mark.parametrize("rule, needed", [("threshold", True), ("continuous", False)])
def test_only_the_continuous_rule_does_without_a_controller(rule, needed):
    assert policy_setup.loop_settings(parameters(request_rule=rule), session=1).needs_status == needed


def test_a_checkpoint_is_told_from_every_other_by_all_files_that_act_on_its_actions(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "README.md").write_text("says nothing")
    before = policy_setup.file_hashes(tmp_path)
    assert before["config.json"] == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert sorted(before) == ["config.json", "model.safetensors"]
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    after = policy_setup.file_hashes(tmp_path)
    assert after["model.safetensors"] != before["model.safetensors"]
    assert after["config.json"] == before["config.json"]


def test_a_file_that_cannot_be_hashed_is_left_out_and_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.json").mkdir()
    warnings = []
    assert list(policy_setup.file_hashes(tmp_path, warnings.append)) == ["config.json"]
    assert [name for name in ("folder.json", "gone.json") if name in "".join(warnings)] == ["folder.json", "gone.json"]


def test_the_revision_of_a_hub_id_reaches_the_checkpoint(monkeypatch):
    asked = {}

    def from_checkpoint(folder, **choices):
        asked.update(choices, folder=folder)
        raise CheckpointError("enough")

    monkeypatch.setattr(SmolVLAPolicy, "from_checkpoint", from_checkpoint)
    with pytest.raises(ParameterError, match="enough"):
        chosen = parameters(checkpoint="org/name", revision="v2", torch_threads=1)
        policy_setup.load_policy(chosen, robot=None, warn=print)
    assert (asked["folder"], asked["revision"]) == ("org/name", "v2")
