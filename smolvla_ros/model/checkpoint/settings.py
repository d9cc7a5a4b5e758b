"""`config.json` of the policy and of its backbone -> `SmolVLAConfig`, with every unusable setting refused.

Every size has a bound far above any SmolVLA, so that a hostile file is refused before anything is allocated for it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smolvla_ros.model.checkpoint.files import JsonObject
from smolvla_ros.model.checkpoint.reader import JsonReader, listed
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

Range = tuple[float, float]
# What is copied into `SmolVLAConfig`, with the least and the most that is believed.
_COUNTS: Mapping[str, tuple[int, int]] = {
    "chunk_size": (1, 10_000),
    "n_action_steps": (1, 10_000),
    "num_steps": (1, 1_000),
    "max_state_dim": (1, 1_024),
    "max_action_dim": (1, 1_024),
    "empty_cameras": (0, 100),
    "tokenizer_max_length": (1, 8_192),
    "num_vlm_layers": (-(10**6), 256),  # not positive: all of them
    "num_expert_layers": (-(10**6), 256),
    "self_attn_every_n_layers": (-(10**6), 256),
}
_NUMBERS: Mapping[str, Range] = {
    "expert_width_multiplier": (0.0, 8.0),
    "min_period": (1e-9, 1e9),
    "max_period": (1e-9, 1e9),
}
_FLAGS = ("adapt_to_pi_aloha", "load_vlm_weights")

_VISION_COUNTS: Mapping[str, tuple[int, int]] = {
    "hidden_size": (1, 16_384),
    "intermediate_size": (1, 131_072),
    "num_hidden_layers": (1, 256),
    "num_attention_heads": (1, 256),
    "image_size": (1, 4_096),
    "patch_size": (1, 256),
}
_TEXT_COUNTS: Mapping[str, tuple[int, int]] = {
    "hidden_size": (1, 16_384),
    "intermediate_size": (1, 131_072),
    "num_hidden_layers": (1, 256),
    "num_attention_heads": (1, 256),
    "num_key_value_heads": (1, 256),
    "head_dim": (2, 1_024),
    "vocab_size": (1, 1_000_000),
}
_EPS: Range = (1e-12, 1e-2)
_OUR_NAMES = {
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
}
_MOST_CAMERAS = 100
_MOST_PIXELS = 4_096  # along one side
_MOST_PATCHES = 16_384  # of one image; SmolVLA has 1024


def policy_config(raw: JsonObject, backbone: JsonObject, path: Path, backbone_path: Path) -> SmolVLAConfig:
    """The whole configuration out of the policy's and the backbone's `config.json`."""
    settings = JsonReader(raw, path)
    if raw.get("type") != "smolvla":
        raise settings.refuse("type", "'smolvla'; another kind of policy needs another program")
    if raw.get("use_delta_joint_actions_aloha"):
        raise settings.refuse("use_delta_joint_actions_aloha", "false: LeRobot has no such mode either")
    unknown = sorted(raw.keys() - _WITHOUT_EFFECT - _COUNTS.keys() - _NUMBERS.keys() - {*_FLAGS, "attention_mode"})
    if unknown:
        _log.warning("%s: ignored unknown settings: %s", path, listed(unknown, 10))
    default = SmolVLAConfig()
    copied: dict[str, Any] = {key: settings.flag(key, getattr(default, key)) for key in _FLAGS}
    copied |= {key: settings.whole(key, getattr(default, key), *span) for key, span in _COUNTS.items()}
    copied |= {key: settings.number(key, getattr(default, key), *span) for key, span in _NUMBERS.items()}
    vision, text, scale_factor = _backbone(JsonReader(backbone, backbone_path))
    config = SmolVLAConfig(
        vision=vision,
        text=text,
        scale_factor=scale_factor,
        image_features=_image_features(settings),
        state_dim=feature_size(settings, "input_features", "observation.state"),
        action_dim=feature_size(settings, "output_features", "action"),
        image_size_wh=_image_size(settings),
        attention_mode=settings.text("attention_mode", default.attention_mode),
        **copied,
    )
    _check(config, settings)
    return config


def feature_size(settings: JsonReader, group: str, name: str) -> int:
    """Length of the vector feature `name`."""
    feature = settings.section(group).values.get(name)
    shape = feature.get("shape") if isinstance(feature, dict) else None
    if not isinstance(shape, list) or len(shape) != 1 or not _is_count(shape[0], 1_024):
        raise settings.refuse(group, f"a feature {name!r} with a shape of one number from 1 to 1024")
    return int(shape[0])


def _image_features(settings: JsonReader) -> tuple[str, ...]:
    features = settings.section("input_features").values
    images = [name for name, found in features.items() if isinstance(found, dict) and found.get("type") == "VISUAL"]
    declared = [f"observation.images.empty_camera_{i}" for i in range(settings.whole("empty_cameras", 0, 0, 100))]
    images += [name for name in declared if name not in images]
    if not set(images) - set(declared) or len(images) > _MOST_CAMERAS or any(len(name) > 200 for name in images):
        raise settings.refuse("input_features", f"1 to {_MOST_CAMERAS} features of type VISUAL, the cameras")
    return tuple(images)


def _image_size(settings: JsonReader) -> tuple[int, int] | None:
    size = settings.values.get("resize_imgs_with_padding", [512, 512])
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 2 or not all(_is_count(n, _MOST_PIXELS) for n in size):
        raise settings.refuse(
            "resize_imgs_with_padding", f"[width, height] in pixels, at most {_MOST_PIXELS} each, or null"
        )
    return size[0], size[1]


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _backbone(settings: JsonReader) -> tuple[VisionConfig, TextConfig, int]:
    """Sizes of the image encoder and the language model, and the connector's scale factor."""
    vision, text = settings.section("vision_config"), settings.section("text_config")
    for section, key, only in (
        (vision, "hidden_act", "gelu_pytorch_tanh"),
        (text, "hidden_act", "silu"),
        (text, "model_type", "llama"),
    ):
        if section.text(key, only) != only:
            raise section.refuse(key, repr(only))
    for key in ("attention_bias", "mlp_bias"):
        if text.flag(key):
            raise text.refuse(key, "false")
    stated = (
        {"scale_factor": settings.whole("scale_factor", 2, 1, 64)} if settings.values.get("scale_factor") else {},
        _stated(vision, _VISION_COUNTS, "layer_norm_eps"),
        _stated(text, _TEXT_COUNTS, "rms_norm_eps"),
    )
    top, of_vision, of_text = _completed(*stated, settings)
    vision_config = VisionConfig(**{_OUR_NAMES.get(key, key): value for key, value in of_vision.items()})
    text_config = TextConfig(**{_OUR_NAMES.get(key, key): value for key, value in of_text.items()})
    if vision_config.image_size < vision_config.patch_size or vision_config.hidden_size % vision_config.num_heads:
        raise vision.refuse(
            "num_attention_heads", f"heads that divide {vision_config.hidden_size}, and a whole patch an image"
        )
    if text_config.num_heads % text_config.num_kv_heads or text_config.head_dim % 2:
        raise text.refuse("num_key_value_heads", f"a divisor of {text_config.num_heads} heads, and an even head_dim")
    return vision_config, text_config, top["scale_factor"]


def _stated(settings: JsonReader, counts: Mapping[str, tuple[int, int]], eps: str) -> dict[str, Any]:
    """The sizes that the file states."""
    stated = {key for key, value in settings.values.items() if value is not None}
    found: dict[str, Any] = {key: settings.whole(key, 1, *counts[key]) for key in counts if key in stated}
    return found | ({eps: settings.number(eps, 0.0, *_EPS)} if eps in stated else {})


def _completed(
    top: dict[str, Any], vision: dict[str, Any], text: dict[str, Any], settings: JsonReader
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The stated sizes, and those that the file leaves out as transformers' configuration classes have them.

    These take two seconds of one core to import, so they are asked only where something is left out.
    """
    keys = {"scale_factor"}, {*_VISION_COUNTS, "layer_norm_eps"}, {*_TEXT_COUNTS, "rms_norm_eps"}
    if all(wanted <= stated.keys() for wanted, stated in zip(keys, (top, vision, text), strict=True)):
        return top, vision, text
    from transformers import SmolVLMConfig

    try:
        whole = SmolVLMConfig(**top, vision_config=vision, text_config={"model_type": "llama", **text})
    except Exception as error:  # transformers and huggingface_hub raise errors of many classes here
        raise CheckpointError(
            f"{settings.path}: the sizes contradict each other: {str(error).splitlines()[0][:200]}"
        ) from error
    found = [
        {key: getattr(section, key) for key in wanted}
        for section, wanted in zip((whole, whole.vision_config, whole.text_config), keys, strict=True)
    ]
    return found[0], found[1], found[2]


def _check(config: SmolVLAConfig, settings: JsonReader) -> None:
    """Refuses what contradicts itself, before any of it becomes a tensor."""
    if config.n_action_steps > config.chunk_size:
        raise settings.refuse("n_action_steps", f"1 to chunk_size, which is {config.chunk_size}")
    if config.attention_mode not in ("cross_attn", "self_attn"):
        raise settings.refuse("attention_mode", "'cross_attn' or 'self_attn'")
    if config.expert_width < 2 or config.expert_width % 2:
        raise settings.refuse("expert_width_multiplier", f"an even width, not {config.expert_width}")
    if not 0.0 < config.min_period < config.max_period:
        raise settings.refuse("min_period", f"a value between 0 and max_period, which is {config.max_period}")
    _check_sizes(config, settings)
    _check_expert(config, settings)


def _check_sizes(config: SmolVLAConfig, settings: JsonReader) -> None:
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
        if not 0 < side**2 <= _MOST_PATCHES or side * side != width * height or side % config.scale_factor:
            raise CheckpointError(
                f"{settings.path}: images of {config.image_size_wh} give {width} x {height} patches, which do not fold "
                f"into squares of {config.scale_factor} x {config.scale_factor}"
            )


def _check_expert(config: SmolVLAConfig, settings: JsonReader) -> None:
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
