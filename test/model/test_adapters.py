"""Adapters mean here what they mean to PEFT, or are refused."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from smolvla_ros.model import CheckpointError
from smolvla_ros.model.checkpoint.adapters import CONFIG, WEIGHTS, Adapter

FIXTURES = Path(__file__).parent.parent / "fixtures" / "peft"
BASE = load_file(FIXTURES / "base.safetensors")
KINDS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())


def merged_by_us(folder: Path) -> dict[str, torch.Tensor]:
    adapter = Adapter(folder)
    adapter.check({name: tuple(tensor.shape) for name, tensor in BASE.items()})
    return {name: adapter.merge(name, tensor) for name, tensor in BASE.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_gives_the_weights_that_peft_gives(kind: str) -> None:
    found, expected = merged_by_us(FIXTURES / kind), load_file(FIXTURES / kind / "merged.safetensors")
    assert expected
    for name, tensor in (BASE | expected).items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=2e-6)


def changed(tmp_path: Path, tensors: dict[str, torch.Tensor] | None = None, **settings: Any) -> Path:
    """The plain adapter with other settings, and other tensors if given."""
    folder = shutil.copytree(FIXTURES / "plain", tmp_path / "adapter")
    content = json.loads((folder / CONFIG).read_text()) | settings
    (folder / CONFIG).write_text(json.dumps(content))
    if tensors is not None:
        save_file(tensors, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("start", ["pissa_niter_4", "corda", "loftq", "lora_ga", "something_new", 3])
def test_a_start_that_changed_the_base_beyond_repair_is_refused_with_the_conversion(start: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="init_lora_weights.*path_initial_model_for_weight_conversion"):
        merged_by_us(changed(tmp_path, init_lora_weights=start))


@pytest.mark.parametrize(
    "settings",
    [
        {"use_qalora": True},
        {"layer_replication": [[0, 2], [1, 3]]},
        {"trainable_token_indices": [1]},
        {"target_parameters": ["experts.up"]},
        {"alora_invocation_tokens": [1, 2]},
        {"kasa_config": {"beta": 0.1}},
        {"a_setting_of_next_year": "on"},
        {"peft_type": "LOKR"},
    ],
    ids=str,
)
def test_a_setting_that_changes_what_weights_mean_is_refused_with_the_remedy(settings: dict, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{next(iter(settings))}.*merge_and_unload"):
        merged_by_us(changed(tmp_path, **settings))


@pytest.mark.parametrize("off", [None, False, [], {}, 0, ""])
def test_a_setting_of_next_year_that_is_off_changes_nothing(off: Any, tmp_path: Path) -> None:
    merged_by_us(changed(tmp_path, a_setting_of_next_year=off))


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "[",
        "*",
        r"(\w+\.?)+!",
        r"(\w+\w*)+-",
        r"(.*.*.*.*.*)+q",
        r"(\w|_|[a-z])*\.(\w|\.|[a-z])*[^a-z_.0-9]",
        "a{9999}{9999}",
        "(?R)",
        "x" * 600,
        "\x00",
    ],
    ids=ascii,
)
def test_a_pattern_is_used_or_refused_at_once(pattern: str, tmp_path: Path) -> None:
    folder = changed(tmp_path, alpha_pattern={pattern: 1})
    start = time.process_time()
    try:
        merged_by_us(folder)
    except CheckpointError as error:
        assert "not a usable pattern of module names" in str(error)
    assert time.process_time() - start < 5.0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"lora_alpha": [1]}, r"'lora_alpha' is \[1\], expected a number"),
        ({"r": "abc"}, "'r' is 'abc', expected a whole number"),
        ({"r": 0}, "'r' is 0"),
        ({"r": 3}, "has rank 2, adapter_config.json says 3"),
        ({"rank_pattern": {"q_proj": "x"}}, "'q_proj' is 'x'"),
        ({"alpha_pattern": [1]}, r"'alpha_pattern' is \[1\], expected an object"),
        ({"use_rslora": "yes"}, "'use_rslora' is 'yes', expected true or false"),
        ({"modules_to_save": ["action_out_proj"]}, "holds nothing of 'action_out_proj'"),
        ({"modules_to_save": "all"}, "'modules_to_save' is 'all'"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path"),
        ({"use_dora": True}, "lora_magnitude_vector' is missing"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings: dict, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=reason):
        merged_by_us(changed(tmp_path, **settings))


LAYER = "base_model.model.model.vlm_with_expert.lm_expert.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({f"{LAYER}.lora_A.weight": torch.ones(2, 6)}, "lora_B.weight' is missing"),
        ({f"{LAYER}.lora_A.weight": torch.ones(2, 7), f"{LAYER}.lora_B.weight": torch.ones(8, 2)}, "does not fit"),
        ({f"{LAYER}.lora_A.weight": torch.ones(2, 6), f"{LAYER}.lora_B.weight": torch.ones(8, 3)}, "has rank 3"),
        ({f"{LAYER}.lora_A.weight": torch.ones(2), f"{LAYER}.lora_B.weight": torch.ones(8, 2)}, "does not fit"),
        ({"nowhere.lora_A.weight": torch.ones(2, 6)}, "have no place in the base policy"),
        ({f"{LAYER}.weight": torch.ones(8, 6), f"{LAYER}.base_layer.weight": torch.ones(8, 6)}, "the same place"),
        ({f"{LAYER}.weight": torch.ones(8, 6, dtype=torch.int8)}, "is torch.int8"),
        ({f"{LAYER}.weight": torch.full((8, 6), torch.nan)}, "not finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tensors_that_do_not_belong_to_the_base_are_refused(tensors: dict, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=reason):
        merged_by_us(changed(tmp_path, tensors))
