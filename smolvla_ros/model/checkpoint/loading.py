"""A checkpoint -> the parts of a policy: first the plan, from the small files, then the weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from smolvla_ros.model.aloha import ALOHA_DIM
from smolvla_ros.model.checkpoint.adapters import CONFIG as ADAPTER_CONFIG
from smolvla_ros.model.checkpoint.adapters import Adapter
from smolvla_ros.model.checkpoint.backbone import (
    DEFAULT_BACKBONE,
    Backbone,
    cut_side,
    largest_id,
    special_token_ids,
)
from smolvla_ros.model.checkpoint.files import JsonObject, read_json
from smolvla_ros.model.checkpoint.hub import Location, locate
from smolvla_ros.model.checkpoint.names import FeatureNames, read_names
from smolvla_ros.model.checkpoint.processors import Processing, read_processing
from smolvla_ros.model.checkpoint.reader import JsonReader, shown
from smolvla_ros.model.checkpoint.settings import policy_config
from smolvla_ros.model.checkpoint.weights import load_network
from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.engines.arithmetic import Arithmetic
from smolvla_ros.model.errors import CheckpointError
from smolvla_ros.model.network import SmolVLANetwork
from smolvla_ros.model.normalisation import Normaliser
from smolvla_ros.model.text import InstructionReader, Overlong
from smolvla_ros.model.transforms import Transforms
from smolvla_ros.model.words import TrainedWords, UnseenWords


@dataclass(frozen=True)
class LoadingPlan:
    """All of a checkpoint but its weights, checked.

    `state` and `action` scale, `transforms` are all that happens to data. `assumed_backbone` names the backbone whose
    sizes were not found and were taken to be SmolVLM2-500M's; '' if they were found.
    """

    location: Location
    raw: JsonObject
    config: SmolVLAConfig
    processing: Processing
    state: Normaliser
    action: Normaliser
    transforms: Transforms
    reader: InstructionReader
    names: FeatureNames
    assumed_backbone: str

    @property
    def cameras(self) -> tuple[str, ...]:
        """The image features that a real camera feeds."""
        empty = {f"observation.images.empty_camera_{i}" for i in range(self.config.empty_cameras)}
        return tuple(name for name in self.config.image_features if name not in empty)


def read_plan(
    checkpoint: str | Path,
    revision: str = "",
    overlong: Overlong = "cut",
    unseen_words: UnseenWords = "accept",
    choices: Mapping[str, str] | None = None,
) -> LoadingPlan:
    """Finds the checkpoint and reads everything but the weights.

    Raises:
        CheckpointError: the first thing that is wrong.
    """
    location = locate(checkpoint, revision)
    folder = location.folder
    raw = read_json(folder / "config.json")
    settings = JsonReader(raw, folder / "config.json")
    backbone = Backbone(folder, settings.text("vlm_model_name"), location.from_hub)
    sizes, sizes_path = backbone.config()
    config = policy_config(raw, sizes, folder / "config.json", sizes_path or Path(backbone.name))
    processing = read_processing(folder, raw, _checked_choices(choices or {}))
    config, state, action = _normalisers(config, processing)
    tokenizer, tokenizer_settings = backbone.tokenizer(processing.tokenizer_name)
    if settings.flag("add_image_special_tokens"):
        fake, whole = special_token_ids(tokenizer, tokenizer_settings)
        config = replace(config, image_start_ids=(fake, whole), image_end_ids=(fake,))
    if (largest := largest_id(tokenizer)) >= config.text.vocab_size:
        raise CheckpointError(
            f"the tokenizer has tokens up to {largest}, the policy's vocabulary {config.text.vocab_size}; "
            "use the tokenizer that the policy was trained with"
        )
    names = read_names(folder, config.state_dim, config.action_dim)
    images = {name: processing.state.normaliser(name, "VISUAL", None) for name in config.image_features}
    return LoadingPlan(
        location=location,
        raw=raw,
        config=config,
        processing=processing,
        state=state,
        action=action,
        transforms=Transforms.of(
            config, state, action, {name: scale for name, scale in images.items() if scale}, processing.aloha_outside
        ),
        reader=InstructionReader(
            tokenizer,
            replace(processing.text, cut_side=cut_side(tokenizer_settings)),
            overlong,
            TrainedWords(names.words),
            unseen_words,
        ),
        names=names,
        assumed_backbone="" if sizes_path or backbone.name == DEFAULT_BACKBONE else backbone.name,
    )


def load_weights(plan: LoadingPlan, device: torch.device, arithmetic: Arithmetic) -> SmolVLANetwork:
    """The plan's network on the device, with an adapter merged in if the checkpoint is one."""
    try:
        return _load_weights(plan, device, arithmetic)
    except CheckpointError as error:
        if not plan.assumed_backbone:
            raise
        raise CheckpointError(
            f"{error}. The sizes of {DEFAULT_BACKBONE} were assumed, for the backbone {plan.assumed_backbone!r} is not "
            f"here: if it is another one, put its config.json into {plan.location.folder / 'vlm'}"
        ) from error


def _load_weights(plan: LoadingPlan, device: torch.device, arithmetic: Arithmetic) -> SmolVLANetwork:
    folder = plan.location.folder
    if not os.path.lexists(folder / ADAPTER_CONFIG):
        return load_network(folder / "model.safetensors", plan.config, arithmetic, device)
    adapter = Adapter(folder)
    try:
        base = locate(adapter.base, adapter.revision, download=plan.location.from_hub).folder
    except CheckpointError as error:
        raise CheckpointError(
            f"{folder / ADAPTER_CONFIG} is an adapter upon {shown(adapter.base)}, which was not found: {error}"
        ) from error
    return load_network(base / "model.safetensors", plan.config, arithmetic, device, adapter)


def usable_device(name: str) -> torch.device:
    """The torch device of a name, if this machine has it."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CheckpointError(f"device {name!r} is unknown; expected 'cpu', 'cuda' or 'cuda:<number>'") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise CheckpointError(
            f"device {name!r} was asked for, but torch {torch.__version__} sees {torch.cuda.device_count()} CUDA "
            "devices; use device 'cpu', or install the driver and a torch built for CUDA"
        )
    if device.type not in ("cpu", "cuda"):
        raise CheckpointError(f"device {name!r} is not supported; expected 'cpu', 'cuda' or 'cuda:<number>'")
    return device


def _checked_choices(choices: Mapping[str, str]) -> Mapping[str, str]:
    features = ("observation.state", "action")
    if unknown := sorted(
        name for name in choices if name not in features and not name.startswith("observation.images.")
    ):
        raise CheckpointError(f"statistics were chosen for {', '.join(unknown)}, expected {' or '.join(features)}")
    return choices


def _normalisers(config: SmolVLAConfig, processing: Processing) -> tuple[SmolVLAConfig, Normaliser, Normaliser]:
    """Both normalisers; the statistics know the state's size better than config.json, which fine-tuning may leave."""
    state = processing.state.normaliser("observation.state", "STATE", None)
    action = processing.action.normaliser("action", "ACTION", config.action_dim)
    if state is not None:
        config = replace(config, state_dim=state.size)
    if config.state_dim > config.max_state_dim:
        raise CheckpointError(
            f"{processing.state.path}: the state has {config.state_dim} values, more than max_state_dim "
            f"{config.max_state_dim}; such a policy cannot have been trained"
        )
    if config.adapt_to_pi_aloha and min(config.state_dim, config.action_dim) < ALOHA_DIM:
        raise CheckpointError(
            f"config.json: adapt_to_pi_aloha is set, but state and action have {config.state_dim} and "
            f"{config.action_dim} values; an ALOHA pair has {ALOHA_DIM}"
        )
    return config, state or Normaliser.identity(config.state_dim), action or Normaliser.identity(config.action_dim)
