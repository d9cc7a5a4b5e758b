"""A checkpoint folder -> the parts of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from smolvla_ros.model.checkpoint.backbone import Backbone, cut_side, special_token_ids
from smolvla_ros.model.checkpoint.files import read_json
from smolvla_ros.model.checkpoint.processors import Processing, read_processing
from smolvla_ros.model.checkpoint.settings import policy_config
from smolvla_ros.model.checkpoint.weights import load_network
from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.errors import CheckpointError
from smolvla_ros.model.network import SmolVLANetwork
from smolvla_ros.model.normalisation import Normaliser
from smolvla_ros.model.text import InstructionReader, Overlong


@dataclass(frozen=True)
class Parts:
    """What a policy is made of; `cameras` are the image features that a real camera feeds."""

    config: SmolVLAConfig
    network: SmolVLANetwork
    reader: InstructionReader
    state: Normaliser
    action: Normaliser
    device: torch.device
    rename_map: Mapping[str, str]
    aloha_outside: bool
    state_names: tuple[str, ...] | None
    action_names: tuple[str, ...] | None

    @property
    def cameras(self) -> tuple[str, ...]:
        empty = {f"observation.images.empty_camera_{i}" for i in range(self.config.empty_cameras)}
        return tuple(name for name in self.config.image_features if name not in empty)

    def typical_state(self) -> NDArray[np.float32]:
        """A state in the middle of the training data."""
        middle = self.state.unnormalise(torch.zeros(self.config.state_dim))
        return middle.numpy().astype(np.float32)


def load_parts(
    folder: Path, device: str, dtype: str, overlong: Overlong, choices: Mapping[str, str], download: bool = False
) -> Parts:
    """Reads, checks and loads everything; raises CheckpointError with the first thing that is wrong."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; expected one that LeRobot wrote, with config.json")
    raw = read_json(folder / "config.json")
    backbone = Backbone(folder, str(raw.get("vlm_model_name", "")), download)
    config = policy_config(raw, backbone.config()[0], folder / "config.json", backbone.config()[1])
    processing = read_processing(folder, raw, choices)
    config, state, action = _normalisers(config, processing)
    tokenizer, tokenizer_settings = backbone.tokenizer(processing.tokenizer_name)
    if raw.get("add_image_special_tokens"):
        fake, whole = special_token_ids(tokenizer, tokenizer_settings)
        config = replace(config, image_start_ids=(fake, whole), image_end_ids=(fake,))
    text = replace(processing.text, cut_side=cut_side(tokenizer_settings))
    torch_device = torch.device(device)
    return Parts(
        config=config,
        network=load_network(folder / "model.safetensors", config, dtype, torch_device),
        reader=InstructionReader(tokenizer, text, overlong),
        state=state,
        action=action,
        device=torch_device,
        rename_map=processing.rename_map,
        aloha_outside=processing.aloha_outside,
        state_names=None,
        action_names=None,
    )


def _normalisers(config: SmolVLAConfig, processing: Processing) -> tuple[SmolVLAConfig, Normaliser, Normaliser]:
    """Both normalisers; the statistics know the state's size better than config.json, which fine-tuning may leave."""
    state = processing.state.normaliser("observation.state", "STATE", None)
    action = processing.action.normaliser("action", "ACTION", config.action_dim)
    if state is not None:
        config = replace(config, state_dim=state.size)
    return config, state or Normaliser.identity(config.state_dim), action or Normaliser.identity(config.action_dim)
