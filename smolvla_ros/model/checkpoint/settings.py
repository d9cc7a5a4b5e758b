"""`config.json` of the policy and of its backbone -> `SmolVLAConfig`, with every unusable setting refused."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from smolvla_ros.model.checkpoint.files import JsonObject
from smolvla_ros.model.config import SmolVLAConfig, TextConfig, VisionConfig
from smolvla_ros.model.errors import CheckpointError

_log = logging.getLogger(__name__)

# Settings that matter to training, devices or the hub only.
_WITHOUT_EFFECT = frozenset((
    "type", "input_features", "output_features", "normalization_mapping", "device", "use_amp", "use_peft",
    "push_to_hub", "repo_id", "private", "tags", "license", "pretrained_path", "pretrained_revision",
    "n_obs_steps", "use_cache", "freeze_vision_encoder", "train_expert_only", "train_state_proj",
    "optimizer_lr", "optimizer_betas", "optimizer_eps", "optimizer_weight_decay", "optimizer_grad_clip_norm",
    "scheduler_warmup_steps", "scheduler_decay_steps", "scheduler_decay_lr", "vlm_model_name",
    "add_image_special_tokens", "prefix_length", "pad_language_to", "rtc_config", "compile_model",
    "compile_mode", "use_delta_joint_actions_aloha", "resize_imgs_with_padding",
))  # fmt: skip
_COPIED = frozenset((
    "chunk_size", "n_action_steps", "num_steps", "max_state_dim", "max_action_dim", "empty_cameras",
    "adapt_to_pi_aloha", "tokenizer_max_length", "attention_mode", "num_vlm_layers", "num_expert_layers",
    "self_attn_every_n_layers", "expert_width_multiplier", "min_period", "max_period", "load_vlm_weights",
))  # fmt: skip


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "an object",
    list: "a list",
}
_MOST = 1_000_000  # of anything that is counted; more would fill the memory before it is found wrong


_MOST_CAMERAS = 100


class CheckpointSettings:
    """Typed access to one JSON object; a wrong type names file, key, value and what was expected."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.values = values
        self.path = path

    def get(self, key: str, default: Any) -> Any:
        """The value of `key`, of the type of `default`, which stands for null too; an int may stand for a float."""
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        wrong = isinstance(value, float) and not math.isfinite(value) or isinstance(value, int) and value > _MOST
        if type(value) is not type(default) or wrong:
            raise CheckpointError(
                f"{self.path}: {key!r} is {value!r}, expected {_KINDS[type(default)]} such as {default!r}"
            )
        return value

    def section(self, key: str) -> CheckpointSettings:
        return CheckpointSettings(self.get(key, {}), self.path)

    def refuse(self, key: str, expected: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {key!r} is {self.values.get(key)!r}, expected {expected}")


def policy_config(raw: JsonObject, backbone: JsonObject, path: Path, backbone_path: Path) -> SmolVLAConfig:
    """The whole configuration out of the policy's and the backbone's `config.json`."""
    settings = CheckpointSettings(raw, path)
    if raw.get("type") != "smolvla":
        raise settings.refuse("type", "'smolvla'; another kind of policy needs another program")
    if raw.get("use_delta_joint_actions_aloha"):
        raise settings.refuse("use_delta_joint_actions_aloha", "false: LeRobot has no such mode either")
    unknown = sorted(raw.keys() - _WITHOUT_EFFECT - _COPIED)
    if unknown:
        _log.warning("%s: ignored unknown settings: %s", path, ", ".join(unknown))
    default = SmolVLAConfig()
    sizes = CheckpointSettings(backbone, backbone_path)
    config = SmolVLAConfig(
        vision=_vision_config(sizes.section("vision_config")),
        text=_text_config(sizes.section("text_config")),
        scale_factor=max(sizes.get("scale_factor", 2), 1),
        image_features=_image_features(settings),
        state_dim=feature_size(settings, "input_features", "observation.state"),
        action_dim=feature_size(settings, "output_features", "action"),
        image_size_wh=_image_size(settings),
        **{key: settings.get(key, getattr(default, key)) for key in _COPIED},
    )
    _check(config, settings)
    return config


def feature_size(settings: CheckpointSettings, group: str, name: str) -> int:
    """Length of the vector feature `name`."""
    feature = settings.section(group).values.get(name)
    shape = feature.get("shape") if isinstance(feature, dict) else None
    if not isinstance(shape, list) or len(shape) != 1 or not isinstance(shape[0], int) or shape[0] < 1:
        raise settings.refuse(group, f"a feature {name!r} with a shape of one positive number")
    return shape[0]


def _image_features(settings: CheckpointSettings) -> tuple[str, ...]:
    features = settings.section("input_features").values
    images = [name for name, found in features.items() if isinstance(found, dict) and found.get("type") == "VISUAL"]
    if not 0 <= settings.get("empty_cameras", 0) <= _MOST_CAMERAS:
        raise settings.refuse("empty_cameras", f"0 to {_MOST_CAMERAS}")
    declared = [f"observation.images.empty_camera_{i}" for i in range(settings.get("empty_cameras", 0))]
    images += [name for name in declared if name not in images]
    if not set(images) - set(declared):
        raise settings.refuse("input_features", "at least one feature of type VISUAL, the cameras")
    return tuple(images)


def _image_size(settings: CheckpointSettings) -> tuple[int, int] | None:
    size = settings.values.get("resize_imgs_with_padding", [512, 512])
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
        raise settings.refuse("resize_imgs_with_padding", "[width, height] in pixels or null")
    return size[0], size[1]


def _vision_config(settings: CheckpointSettings) -> VisionConfig:
    if settings.get("hidden_act", "gelu_pytorch_tanh") != "gelu_pytorch_tanh":
        raise settings.refuse("hidden_act", "'gelu_pytorch_tanh'")
    # Absent keys have the defaults of transformers' SmolVLMVisionConfig.
    config = VisionConfig(
        hidden_size=settings.get("hidden_size", 1152),
        intermediate_size=settings.get("intermediate_size", 3072),
        num_layers=settings.get("num_hidden_layers", 12),
        num_heads=settings.get("num_attention_heads", 16),
        image_size=settings.get("image_size", 224),
        patch_size=settings.get("patch_size", 32),
        layer_norm_eps=settings.get("layer_norm_eps", 1e-6),
    )
    _refuse_below_one(config, settings)
    if config.image_size < config.patch_size or config.hidden_size % config.num_heads:
        raise settings.refuse(
            "num_attention_heads", f"heads that divide {config.hidden_size}, and a whole patch an image"
        )
    return config


def _text_config(settings: CheckpointSettings) -> TextConfig:
    if settings.get("model_type", "llama") != "llama":
        raise settings.refuse("model_type", "'llama'")
    if settings.get("hidden_act", "silu") != "silu":
        raise settings.refuse("hidden_act", "'silu'")
    for key in ("attention_bias", "mlp_bias"):
        if settings.get(key, False):
            raise settings.refuse(key, "false")
    # Absent keys have the defaults of transformers' LlamaConfig.
    hidden_size, heads = settings.get("hidden_size", 4096), settings.get("num_attention_heads", 32)
    config = TextConfig(
        hidden_size=hidden_size,
        intermediate_size=settings.get("intermediate_size", 11008),
        num_layers=settings.get("num_hidden_layers", 32),
        num_heads=heads,
        num_kv_heads=settings.get("num_key_value_heads", heads),
        head_dim=settings.get("head_dim", hidden_size // max(heads, 1)),
        vocab_size=settings.get("vocab_size", 32000),
        rms_norm_eps=settings.get("rms_norm_eps", 1e-6),
    )
    _refuse_below_one(config, settings)
    if config.num_heads % config.num_kv_heads or config.head_dim % 2:
        raise settings.refuse("num_key_value_heads", f"a divisor of {config.num_heads} heads, and an even head_dim")
    return config


def _refuse_below_one(config: VisionConfig | TextConfig, settings: CheckpointSettings) -> None:
    for name, value in asdict(config).items():
        if isinstance(value, int) and value < 1:
            raise CheckpointError(f"{settings.path}: {name} is {value}, expected at least 1")


def _check(config: SmolVLAConfig, settings: CheckpointSettings) -> None:
    """Refuses what contradicts itself, before any of it becomes a tensor."""
    for key in ("chunk_size", "num_steps", "max_state_dim", "max_action_dim", "tokenizer_max_length"):
        if getattr(config, key) < 1:
            raise settings.refuse(key, "at least 1")
    if not 1 <= config.n_action_steps <= config.chunk_size:
        raise settings.refuse("n_action_steps", f"1 to chunk_size, which is {config.chunk_size}")
    if config.attention_mode not in ("cross_attn", "self_attn"):
        raise settings.refuse("attention_mode", "'cross_attn' or 'self_attn'")
    if config.expert_width < 2 or config.expert_width % 2:
        raise settings.refuse("expert_width_multiplier", f"an even width, not {config.expert_width}")
    if not 0.0 < config.min_period < config.max_period:
        raise settings.refuse("min_period", f"a value between 0 and max_period, which is {config.max_period}")
    _check_sizes(config, settings)
    _check_expert(config, settings)


def _check_sizes(config: SmolVLAConfig, settings: CheckpointSettings) -> None:
    if config.state_dim > config.max_state_dim:
        raise CheckpointError(
            f"{settings.path}: the state has {config.state_dim} values, more than max_state_dim "
            f"{config.max_state_dim}; such a policy cannot have been trained"
        )
    if config.action_dim > config.max_action_dim:
        raise CheckpointError(
            f"{settings.path}: the action has {config.action_dim} values, more than max_action_dim "
            f"{config.max_action_dim}; such a policy cannot have been trained"
        )
    if config.image_size_wh is not None:
        width, height = (pixels // config.vision.patch_size for pixels in config.image_size_wh)
        side = math.isqrt(width * height)
        if side == 0 or side * side != width * height or side % config.scale_factor:
            raise CheckpointError(
                f"{settings.path}: images of {config.image_size_wh} give {width} x {height} patches, which do not fold "
                f"into squares of {config.scale_factor} x {config.scale_factor}"
            )


def _check_expert(config: SmolVLAConfig, settings: CheckpointSettings) -> None:
    """The expert's layers must fit the language layers whose keys they read."""
    if config.kept_layers % config.expert_layers:
        raise settings.refuse("num_expert_layers", f"a divisor of the {config.kept_layers} language layers, or -1")
    skipped = set(range(config.kept_layers)) - set(config.expert_at)
    clash = [i for i, at in enumerate(config.expert_at) if config.attention_of(i) != config.attention_of(at)]
    if clash or any(config.attention_of(i) == "self" for i in skipped):
        raise CheckpointError(
            f"{settings.path}: {config.expert_layers} expert layers on {config.kept_layers} language layers with "
            f"self_attn_every_n_layers {config.self_attn_every_n_layers} and {config.attention_mode!r} cannot run, "
            "in LeRobot neither; expected one expert layer for each language layer"
        )
