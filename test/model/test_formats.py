"""One policy in every form in which LeRobot, PEFT and torch have stored it: the actions stay the same."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from smolvla_ros.model import CheckpointError, SmolVLAPolicy

WEIGHTS = "model.safetensors"
NORMALISER = "policy_preprocessor_step_5_normalizer_processor.safetensors"
UNNORMALISER = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
Q_PROJ = "model.vlm_with_expert.lm_expert.layers.1.self_attn.q_proj"
CasesOf = Callable[[Path], list[Any]]


@pytest.fixture
def actions_of(cases_of: CasesOf) -> Callable[..., np.ndarray]:
    """Actions of the first reference case in checkpoint units."""

    def actions(folder: Path | str, cases: Path | None = None, **options: Any) -> np.ndarray:
        return cases_of(cases or Path(folder))[0].predict(SmolVLAPolicy.from_checkpoint(folder, **options)).actions

    return actions


@pytest.fixture
def expected(good: Path, cases_of: CasesOf) -> np.ndarray:
    return cases_of(good)[0].expected["actions"][0].numpy()


def edit(path: Path, change: Callable[[dict], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rename_tensors(path: Path, rename: Callable[[str], str]) -> None:
    save_file({rename(name): tensor for name, tensor in load_file(path).items()}, path)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name.replace("model.", "model._orig_mod.", 1),
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module.{name}",
        lambda name: f"module._orig_mod.{name}",
    ],
    ids=["compiled network", "compiled policy", "data parallel", "both"],
)
def test_traces_of_compilation_and_parallel_training_in_the_names_are_ignored(
    rename: Callable[[str], str], good: Path, actions_of: Callable, expected: np.ndarray
) -> None:
    rename_tensors(good / WEIGHTS, rename)
    np.testing.assert_allclose(actions_of(good), expected, atol=5e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1.0), (torch.bfloat16, 8.0), (torch.float64, 5e-4)])
def test_other_storage_types_are_widened(
    dtype: torch.dtype, tolerance: float, good: Path, actions_of: Callable, expected: np.ndarray
) -> None:
    """Action units have a spread of about 25 here; rounding of the weights remains."""
    save_file({name: tensor.to(dtype) for name, tensor in load_file(good / WEIGHTS).items()}, good / WEIGHTS)
    np.testing.assert_allclose(actions_of(good), expected, atol=tolerance)


def test_the_language_head_may_be_absent_and_upper_language_layers_present(
    good: Path, actions_of: Callable, expected: np.ndarray
) -> None:
    tensors = load_file(good / WEIGHTS)
    tensors.pop("model.vlm_with_expert.vlm.lm_head.weight")
    tensors["model.vlm_with_expert.vlm.model.text_model.layers.5.mlp.up_proj.weight"] = torch.ones(160, 72)
    save_file(tensors, good / WEIGHTS)
    np.testing.assert_allclose(actions_of(good), expected, atol=5e-4)


def test_unknown_settings_are_named_and_ignored(
    good: Path, actions_of: Callable, expected: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    edit(good / "config.json", lambda config: config.update(full_vlm_training=True, peft=None))
    with caplog.at_level(logging.WARNING):
        np.testing.assert_allclose(actions_of(good), expected, atol=5e-4)
    assert "ignored unknown settings: full_vlm_training, peft" in caplog.text


def test_settings_that_older_versions_lack_have_their_defaults(
    good: Path, actions_of: Callable, expected: np.ndarray
) -> None:
    younger = ["min_period", "max_period", "add_image_special_tokens", "rtc_config", "compile_model", "compile_mode"]
    edit(good / "config.json", lambda config: [config.pop(key) for key in [*younger, "use_peft", "pretrained_path"]])
    np.testing.assert_allclose(actions_of(good), expected, atol=5e-4)


def test_the_stored_device_is_ignored(good: Path, actions_of: Callable, expected: np.ndarray) -> None:
    edit(good / "config.json", lambda config: config.update(device="cuda"))
    edit(good / "policy_preprocessor.json", lambda c: c["steps"][4]["config"].update(device="cuda"))
    np.testing.assert_allclose(actions_of(good), expected, atol=5e-4)


def test_state_files_have_the_names_that_the_pipelines_say(
    good: Path, actions_of: Callable, expected: np.ndarray
) -> None:
    (good / UNNORMALISER).rename(good / "other_step_1.safetensors")
    edit(good / "policy_postprocessor.json", lambda c: c["steps"][0].update(state_file="other_step_1.safetensors"))
    np.testing.assert_allclose(actions_of(good), expected, atol=5e-4)


def test_steps_may_be_named_by_their_class(good: Path, actions_of: Callable, expected: np.ndarray) -> None:
    def by_class(content: dict) -> None:
        content["steps"][5]["class"] = "lerobot.processor.normalize_processor.NormalizerProcessorStep"
        content["steps"][5].pop("registry_name")

    edit(good / "policy_preprocessor.json", by_class)
    np.testing.assert_allclose(actions_of(good), expected, atol=5e-4)


def test_cameras_are_renamed_as_the_pipeline_says(good: Path, cases_of: CasesOf, expected: np.ndarray) -> None:
    """The second name is taken by the first camera's new one, as when a robot's cameras are shifted."""
    renamed = {"observation.images.arm": "observation.images.top", "observation.images.top": "observation.images.wrist"}
    edit(good / "policy_preprocessor.json", lambda c: c["steps"][0]["config"].update(rename_map=renamed))
    policy, case = SmolVLAPolicy.from_checkpoint(good), cases_of(good)[0]
    assert policy.cameras == ("observation.images.arm", "observation.images.top")
    top, wrist = case.images.values()
    images = dict(zip(policy.cameras, (top, wrist), strict=True))
    found = policy.infer(images, case.state, case.task, case.expected["noise"][0].numpy())
    np.testing.assert_allclose(found, expected, atol=5e-4)


@pytest.mark.parametrize("artifact", [True, False], ids=["named", "found"])
def test_a_tokenizer_saved_beside_the_policy_is_used(
    artifact: bool, good: Path, actions_of: Callable, expected: np.ndarray
) -> None:
    (good / "tokenizer").mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (good / "vlm" / file).rename(good / "tokenizer" / file)

    def name(content: dict) -> None:
        content["steps"][3]["config"]["tokenizer_name"] = "tokenizer" if artifact else "no-one/knows"
        content["steps"][3]["artifacts"] = {"tokenizer_name": "tokenizer"} if artifact else {}

    edit(good / "policy_preprocessor.json", name)
    np.testing.assert_allclose(actions_of(good), expected, atol=5e-4)


def hub_cache(root: Path, repository: str, source: Path) -> None:
    """What huggingface_hub leaves on disk after a download."""
    repo = root / f"models--{repository.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    shutil.copytree(source, repo / "snapshots" / ("0" * 40))


@pytest.fixture
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, offline."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return cache


def test_a_backbone_named_by_hub_id_is_found_in_the_cache(
    good: Path, offline_cache: Path, actions_of: Callable, expected: np.ndarray
) -> None:
    shutil.move(good / "vlm", offline_cache.parent / "backbone")
    hub_cache(offline_cache, "someone/backbone", offline_cache.parent / "backbone")
    edit(good / "config.json", lambda config: config.update(vlm_model_name="someone/backbone"))
    edit(
        good / "policy_preprocessor.json",
        lambda content: content["steps"][3]["config"].update(tokenizer_name="someone/backbone"),
    )
    np.testing.assert_allclose(actions_of(good), expected, atol=5e-4)


def test_a_policy_named_by_hub_id_is_found_in_the_cache(
    good: Path, offline_cache: Path, actions_of: Callable, expected: np.ndarray
) -> None:
    hub_cache(offline_cache, "someone/policy", good)
    np.testing.assert_allclose(actions_of("someone/policy", cases=good), expected, atol=5e-4)


def test_a_hub_id_that_cannot_be_reached_says_what_to_do(offline_cache: Path) -> None:
    with pytest.raises(CheckpointError, match="not in the hub's cache.*run once: hf download someone/policy"):
        SmolVLAPolicy.from_checkpoint("someone/policy")


def test_a_revision_that_is_not_cached_is_refused(good: Path, offline_cache: Path) -> None:
    hub_cache(offline_cache, "someone/policy", good)
    with pytest.raises(CheckpointError, match="someone/policy@v2 is not in the hub's cache"):
        SmolVLAPolicy.from_checkpoint("someone/policy", revision="v2")


def test_a_mistyped_folder_never_means_the_hub(offline_cache: Path) -> None:
    (offline_cache.parent / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="'checkpoints/dmeo' is not a folder"):
        SmolVLAPolicy.from_checkpoint("checkpoints/dmeo")


# --- statistics that were chosen -------------------------------------------------------------------------------------


def rename_statistics(folder: Path) -> None:
    """As in lerobot/smolvla_base: three sets of action statistics under other names, none of the state."""
    for file in (NORMALISER, UNNORMALISER):
        statistics = load_file(folder / file)
        sets = {f"{arm}.buffer.action.{name}": statistics[f"action.{name}"].clone() for arm in ("so100", "so100-red")
                for name in ("mean", "std")}  # fmt: skip
        save_file(sets, folder / file)


def test_statistics_under_other_names_are_listed_and_can_be_chosen(
    good: Path, tmp_path: Path, actions_of: Callable, expected: np.ndarray
) -> None:
    state = {name: values.tolist() for name, values in load_file(good / NORMALISER).items() if "state" in name}
    nested: dict[str, dict] = {"observation.state": {name.rpartition(".")[2]: values for name, values in state.items()}}
    (tmp_path / "stats.json").write_text(json.dumps(nested | {"task_index": {"min": [0], "max": [3]}}))
    rename_statistics(good)
    with pytest.raises(
        CheckpointError, match=r"sets found: so100-red.buffer.action \(mean, std\); so100.buffer.action"
    ):
        SmolVLAPolicy.from_checkpoint(good)
    chosen = {"observation.state": str(tmp_path / "stats.json"), "action": "so100.buffer.action"}
    np.testing.assert_allclose(actions_of(good, statistics=chosen), expected, atol=5e-4)


def test_a_policy_runs_unnormalised_only_if_that_is_stated(good: Path, cases_of: CasesOf) -> None:
    rename_statistics(good)
    policy = SmolVLAPolicy.from_checkpoint(good, statistics={"observation.state": "none", "action": "none"})
    found = cases_of(good)[0].predict(policy)
    np.testing.assert_array_equal(found.actions, found.normalised)


def test_a_chosen_set_that_does_not_exist_is_refused(good: Path) -> None:
    with pytest.raises(CheckpointError, match="in the chosen 'so101'"):
        SmolVLAPolicy.from_checkpoint(good, statistics={"action": "so101"})


def test_dataset_variants_of_the_old_format_are_listed_and_can_be_chosen(
    checkpoint_of: Callable, tmp_path: Path, cases_of: CasesOf
) -> None:
    folder = shutil.copytree(checkpoint_of("old_format"), tmp_path / "old")
    rename_tensors(folder / WEIGHTS, lambda name: name.replace(".buffer_", ".so100-red_buffer_"))
    with pytest.raises(CheckpointError, match="sets found: so100-red.action .mean, std.; so100-red.observation.state"):
        SmolVLAPolicy.from_checkpoint(folder)
    chosen = {"observation.state": "so100-red.observation.state", "action": "so100-red.action"}
    policy, case = SmolVLAPolicy.from_checkpoint(folder, statistics=chosen), cases_of(folder)[0]
    np.testing.assert_allclose(case.predict(policy).actions, case.expected["actions"][0], atol=4e-3)


def test_statistics_of_the_old_format_that_were_never_set_are_refused(checkpoint_of: Callable, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint_of("old_format"), tmp_path / "old")
    tensors = load_file(folder / WEIGHTS)
    tensors["unnormalize_outputs.buffer_action.mean"] = torch.full((6,), torch.inf)
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match="never set"):
        SmolVLAPolicy.from_checkpoint(folder)


def test_the_size_of_the_state_comes_from_the_statistics(good: Path) -> None:
    """Fine-tuning from the base policy leaves the base's state size in config.json."""
    edit(good / "config.json", lambda config: config["input_features"]["observation.state"].update(shape=[4]))
    assert SmolVLAPolicy.from_checkpoint(good).state_dim == 6


# --- adapters --------------------------------------------------------------------------------------------------------


def make_adapter(folder: Path, base: str, tensors: dict[str, torch.Tensor], **config: Any) -> Path:
    (folder / WEIGHTS).unlink()
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": base, **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file(
        {f"base_model.model.{name}": tensor for name, tensor in tensors.items()}, folder / "adapter_model.safetensors"
    )
    return folder


@pytest.fixture
def base(checkpoint_of: Callable) -> Path:
    return checkpoint_of("default")


LORA = {f"{Q_PROJ}.lora_A.weight": torch.full((2, 54), 0.1), f"{Q_PROJ}.lora_B.weight": torch.full((72, 2), 0.2)}


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 2.0),
        ({"use_rslora": True}, 4 / 2**0.5),
        ({"lora_alpha": 1, "alpha_pattern": {"self_attn.q_proj": 6}}, 3.0),
        ({"r": 8, "rank_pattern": {r".*layers\.1\..*q_proj": 2}}, 2.0),
    ],
    ids=str,
)
def test_adapters_are_merged_into_the_base_policy(
    config: dict, scale: float, good: Path, base: Path, tmp_path: Path, actions_of: Callable
) -> None:
    merged = shutil.copytree(good, tmp_path / "merged")
    tensors = load_file(merged / WEIGHTS)
    tensors[f"{Q_PROJ}.weight"] += scale * (LORA[f"{Q_PROJ}.lora_B.weight"] @ LORA[f"{Q_PROJ}.lora_A.weight"])
    tensors["model.state_proj.bias"] = torch.ones(72)
    save_file(tensors, merged / WEIGHTS)
    adapter = make_adapter(good, str(base), LORA | {"model.state_proj.bias": torch.ones(72)}, **config)
    np.testing.assert_allclose(actions_of(adapter), actions_of(merged), atol=5e-4)


@pytest.mark.parametrize(
    ("config", "tensors", "reason"),
    [
        ({"use_dora": True}, LORA, "lora_magnitude_vector' is missing"),
        ({"peft_type": "MISS"}, LORA, "'peft_type' is 'MISS'"),
        ({"r": 4}, LORA, "has rank 2, adapter_config.json says 4"),
        ({}, {"model.nowhere.lora_A.weight": torch.ones(2, 54)}, "have no place in the base policy"),
        ({}, {"model.state_proj.bias": torch.ones(3)}, "does not fit"),
        ({}, {"model.state_proj.bias": torch.full((72,), torch.nan)}, "not finite"),
        ({"base_model_name_or_path": "no-such-base"}, LORA, "is an adapter upon 'no-such-base', which was not found"),
        ({"base_model_name_or_path": None}, LORA, "'base_model_name_or_path' is None"),
    ],
    ids=str,
)
def test_an_adapter_that_cannot_be_merged_is_refused(
    config: dict, tensors: dict, reason: str, good: Path, base: Path
) -> None:
    make_adapter(good, str(base), tensors, **config)
    with pytest.raises(CheckpointError, match=reason):
        SmolVLAPolicy.from_checkpoint(good)
