"""What is saved is a LeRobot checkpoint: its files, keys and tensors, and it loads again to the same policy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from smolvla_ros.model import (
    InstructionReader,
    SmolVLAConfig,
    SmolVLANetwork,
    SmolVLAPolicy,
    TextConfig,
    TextSettings,
    Training,
    VisionConfig,
    save_checkpoint,
    train_tokenizer,
)
from smolvla_ros.model.checkpoint.golden import record_golden
from smolvla_ros.model.checkpoint.weights import checkpoint_views, unused_shapes

CAMERAS = ("observation.images.front", "observation.images.wrist")
JOINTS = ["shoulder_pan.pos", "gripper.pos"]


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, SmolVLANetwork]:
    tokenizer = train_tokenizer(["touch the red cube", "go to the blue cube"], vocab_size=300)
    config = SmolVLAConfig(
        vision=VisionConfig(
            hidden_size=16, intermediate_size=32, num_layers=1, num_heads=2, image_size=32, patch_size=8
        ),
        text=TextConfig(
            hidden_size=24, intermediate_size=32, num_layers=2, num_heads=3, num_kv_heads=1, head_dim=8,
            vocab_size=tokenizer.get_vocab_size(),
        ),
        scale_factor=2, image_features=CAMERAS, state_dim=2, action_dim=2, chunk_size=4, n_action_steps=4,
        image_size_wh=(32, 32), num_vlm_layers=2,
    )  # fmt: skip
    torch.manual_seed(0)
    network = SmolVLANetwork(config)
    spread = {"mean": torch.tensor([1.0, 2.0]), "std": torch.tensor([3.0, 4.0])}
    training = Training(
        {"observation.state": spread, "action": spread}, dict.fromkeys(CAMERAS, (3, 48, 64)), JOINTS, JOINTS, 30
    )
    save_checkpoint(tmp_path / "saved", network, tokenizer, training)
    return tmp_path / "saved", network


def tensor_names(folder: Path) -> set[str]:
    with safe_open(folder / "model.safetensors", framework="pt") as tensors:
        return set(tensors.keys())


def test_files_and_keys_are_those_that_lerobot_writes(
    saved: tuple[Path, SmolVLANetwork], checkpoint_of: Callable[[str], Path]
) -> None:
    folder, reference = saved[0], checkpoint_of("default")
    extra = {"observations.npz", "cases.json", "cases.safetensors", "debug_case0.safetensors", "sensitivity.json"}
    files = {str(path.relative_to(reference)) for path in reference.rglob("*") if path.is_file()} - extra
    assert files <= {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    for file in ("config.json", "vlm/tokenizer_config.json", "vlm/preprocessor_config.json"):
        written, theirs = (json.loads((root / file).read_text()) for root in (folder, reference))
        assert theirs.keys() - {"vocab_size"} <= written.keys(), file
    for file in ("policy_preprocessor.json", "policy_postprocessor.json"):
        written, theirs = (json.loads((root / file).read_text())["steps"] for root in (folder, reference))
        assert [(s["registry_name"], s["config"].keys(), s.get("state_file")) for s in theirs] == [
            (s["registry_name"], s["config"].keys(), s.get("state_file")) for s in written
        ]


def test_tensors_that_no_action_needs_are_there_for_lerobot(
    saved: tuple[Path, SmolVLANetwork], checkpoint_of: Callable[[str], Path]
) -> None:
    folder, network = saved
    assert tensor_names(folder) == checkpoint_views(network).keys() | unused_shapes(network.config).keys()
    layers = {name for name in tensor_names(checkpoint_of("default")) if ".layers." not in name}
    assert {name for name in tensor_names(folder) if ".layers." not in name} == layers


def test_the_saved_policy_loads_to_the_same_network_and_names(saved: tuple[Path, SmolVLANetwork]) -> None:
    folder, network = saved
    policy = SmolVLAPolicy.from_checkpoint(folder)
    assert policy.config == replace(network.config, load_vlm_weights=False)
    for found, expected in zip(policy.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(found, expected)
    assert (policy.cameras, policy.state_names, policy.action_names) == (CAMERAS, tuple(JOINTS), tuple(JOINTS))
    image = np.zeros((48, 64, 3), np.uint8)
    actions = policy.infer(dict.fromkeys(CAMERAS, image), np.zeros(2, np.float32), "touch the red cube")
    assert actions.shape == (4, 2)


def test_the_saved_tokenizer_reads_as_the_trained_one_did(saved: tuple[Path, SmolVLANetwork]) -> None:
    tokenizer = train_tokenizer(["touch the red cube", "go to the blue cube"], vocab_size=300)
    reader = InstructionReader(tokenizer, TextSettings(cut_side="left"))
    loaded = SmolVLAPolicy.from_checkpoint(saved[0])._plan.reader
    assert loaded.read("poke the 12 cubes").ids == reader.read("poke the 12 cubes").ids
    assert loaded.settings == reader.settings


def test_the_true_size_is_that_of_the_published_policy() -> None:
    """lerobot/smolvla_base holds 500 tensors with 450,046,176 parameters."""
    with torch.device("meta"):
        network = SmolVLANetwork(SmolVLAConfig())
    shapes = {name: view.shape for name, view in checkpoint_views(network).items()}
    stored = shapes | {name: torch.Size(shape) for name, shape in unused_shapes(network.config).items()}
    assert len(stored) == 500
    assert sum(shape.numel() for shape in stored.values()) == 450_046_176
    assert stored["model.vlm_with_expert.lm_expert.layers.15.self_attn.k_proj.weight"] == (320, 320)
    assert stored["model.vlm_with_expert.lm_expert.layers.14.self_attn.k_proj.weight"] == (320, 720)
    kept = sum(parameter.numel() for parameter in network.parameters())
    assert kept == 450_046_176 - sum(torch.Size(shape).numel() for shape in unused_shapes(network.config).values())


def test_weights_that_are_saved_anew_have_no_golden_input_of_the_ones_before(
    saved: tuple[Path, SmolVLANetwork],
) -> None:
    folder, network = saved
    policy = SmolVLAPolicy.from_checkpoint(folder)
    images = {camera: np.zeros((48, 64, 3), np.uint8) for camera in policy.cameras}
    record_golden(policy, folder, images, np.zeros(2, np.float32), "touch the red cube")
    assert SmolVLAPolicy.from_checkpoint(folder).golden_difference == pytest.approx(0.0, abs=1e-5)
    with torch.no_grad():
        network.state_proj.weight += 1.0
    spread = {"mean": torch.tensor([1.0, 2.0]), "std": torch.tensor([3.0, 4.0])}
    training = Training(
        {"observation.state": spread, "action": spread}, dict.fromkeys(CAMERAS, (3, 48, 64)), JOINTS, JOINTS, 30
    )
    save_checkpoint(folder, network, train_tokenizer(["touch the red cube", "go to the blue cube"], 300), training)
    assert SmolVLAPolicy.from_checkpoint(folder).golden_difference is None
