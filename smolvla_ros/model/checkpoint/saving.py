"""Writing a policy as LeRobot writes it, every file and key, so that LeRobot loads it too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from smolvla_ros.model.checkpoint.files import JsonObject
from smolvla_ros.model.checkpoint.golden import GOLDEN_FILE
from smolvla_ros.model.checkpoint.names import NAMES_FILE
from smolvla_ros.model.checkpoint.processors import POSTPROCESSOR, PREPROCESSOR
from smolvla_ros.model.checkpoint.weights import checkpoint_views, unused_shapes
from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.network import SmolVLANetwork
from smolvla_ros.model.tokenizer_training import PAD_ID, tokenizer_config

_NORMALISATION = {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}


@dataclass(frozen=True)
class Training:
    """What a checkpoint says about its training beyond the network.

    Attributes:
        statistics: feature -> {mean, std, min, max, q01, ...} -> [D]; at least mean and std of both features.
        image_shapes: camera feature -> (3, height, width) of the training images, in the network's order.
        state_names, action_names: names of the values, for example 'shoulder_pan.pos'.
        fps: rows of a chunk per second.
        run: what `train_config.json` says besides the policy: dataset, seed, steps, batch_size, ...
        card: text of README.md, the model card.
        words: every word of the instructions, in lower case; empty if that is not known.
    """

    statistics: Mapping[str, Mapping[str, Tensor]]
    image_shapes: Mapping[str, tuple[int, int, int]]
    state_names: Sequence[str]
    action_names: Sequence[str]
    fps: int
    run: Mapping[str, Any] = field(default_factory=dict)
    card: str = "A SmolVLA policy.\n"
    words: Sequence[str] = ()


def save_checkpoint(folder: Path, network: SmolVLANetwork, tokenizer: Tokenizer, training: Training) -> None:
    """Writes the checkpoint folder: policy, processors, statistics, backbone configuration and tokenizer.

    Weights are stored in the types that the network holds them in. A golden input of what stood there before goes:
    its actions were those of other weights.
    """
    config = network.config
    (folder / GOLDEN_FILE).unlink(missing_ok=True)
    (folder / "vlm").mkdir(parents=True, exist_ok=True)
    policy = _policy_config(config, training)
    _write_json(folder / "config.json", policy)
    _write_json(folder / "train_config.json", {**training.run, "policy": policy})
    (folder / "README.md").write_text(training.card, encoding="utf-8")
    names: JsonObject = {
        "fps": training.fps, "state_names": [*training.state_names], "action_names": [*training.action_names]
    }  # fmt: skip
    _write_json(folder / NAMES_FILE, names | ({"words": [*training.words]} if training.words else {}))
    _save_weights(folder / "model.safetensors", network)
    _save_processors(folder, config, policy, training)
    _save_backbone(folder / "vlm", config, tokenizer)


def _save_weights(path: Path, network: SmolVLANetwork) -> None:
    dtype = network.language.embed_tokens.weight.dtype
    tensors = {name: view.detach().contiguous().cpu() for name, view in checkpoint_views(network).items()}
    for name, shape in unused_shapes(network.config).items():
        # Never read by any action: norms start at one, the rest at zero.
        tensors[name] = torch.full(shape, 1.0 if len(shape) == 1 else 0.0, dtype=dtype)
    save_file(tensors, path, metadata={"format": "pt"})


def _policy_config(config: SmolVLAConfig, training: Training) -> JsonObject:
    """Every key that LeRobot's own `config.json` has."""
    features: JsonObject = {"observation.state": {"type": "STATE", "shape": [config.state_dim]}}
    features |= {name: {"type": "VISUAL", "shape": [*training.image_shapes[name]]} for name in config.image_features}
    return {
        "type": "smolvla",
        "n_obs_steps": 1,
        "input_features": features,
        "output_features": {"action": {"type": "ACTION", "shape": [config.action_dim]}},
        "device": "cpu",
        "use_amp": False,
        "use_peft": False,
        "push_to_hub": False,
        "repo_id": None,
        "private": None,
        "tags": None,
        "license": None,
        "pretrained_path": None,
        "chunk_size": config.chunk_size,
        "n_action_steps": config.n_action_steps,
        "normalization_mapping": _NORMALISATION,
        "max_state_dim": config.max_state_dim,
        "max_action_dim": config.max_action_dim,
        "resize_imgs_with_padding": None if config.image_size_wh is None else [*config.image_size_wh],
        "empty_cameras": config.empty_cameras,
        "adapt_to_pi_aloha": config.adapt_to_pi_aloha,
        "use_delta_joint_actions_aloha": False,
        "tokenizer_max_length": config.tokenizer_max_length,
        "num_steps": config.num_steps,
        "use_cache": True,
        "freeze_vision_encoder": False,
        "train_expert_only": False,
        "train_state_proj": True,
        "optimizer_lr": 1e-4,
        "optimizer_betas": [0.9, 0.95],
        "optimizer_eps": 1e-8,
        "optimizer_weight_decay": 1e-10,
        "optimizer_grad_clip_norm": 10,
        "scheduler_warmup_steps": 1000,
        "scheduler_decay_steps": 30000,
        "scheduler_decay_lr": 2.5e-6,
        "vlm_model_name": "vlm",
        "load_vlm_weights": config.load_vlm_weights,
        "add_image_special_tokens": bool(config.image_start_ids),
        "attention_mode": config.attention_mode,
        "prefix_length": -1,
        "pad_language_to": "longest",
        "num_expert_layers": config.num_expert_layers,
        "num_vlm_layers": config.num_vlm_layers,
        "self_attn_every_n_layers": config.self_attn_every_n_layers,
        "expert_width_multiplier": config.expert_width_multiplier,
        "min_period": config.min_period,
        "max_period": config.max_period,
        "rtc_config": None,
        "compile_model": False,
        "compile_mode": "max-autotune",
    }


def _save_processors(folder: Path, config: SmolVLAConfig, policy: JsonObject, training: Training) -> None:
    inputs, outputs = policy["input_features"], policy["output_features"]
    normaliser = {"eps": 1e-8, "norm_map": _NORMALISATION}
    text = {
        "max_length": config.tokenizer_max_length,
        "task_key": "task",
        "padding_side": "right",
        "padding": "longest",
        "truncation": True,
        "tokenizer_name": "vlm",
    }
    device = _step("device_processor", {"device": "cpu", "float_dtype": None})
    before = [
        _step("rename_observations_processor", {"rename_map": {}}),
        _step("to_batch_processor", {}),
        _step("smolvla_new_line_processor", {}),
        _step("tokenizer_processor", text),
        device,
        _step("normalizer_processor", {**normaliser, "features": inputs | outputs}),
    ]
    after = [_step("unnormalizer_processor", {**normaliser, "features": outputs}), device]
    tensors = {
        f"{feature}.{name}": values.float().clone().contiguous()
        for feature, stats in training.statistics.items()
        for name, values in stats.items()
    }
    for file, steps, place in ((PREPROCESSOR, before, 5), (POSTPROCESSOR, after, 0)):
        pipeline = file.removesuffix(".json")
        steps[place]["state_file"] = f"{pipeline}_step_{place}_{steps[place]['registry_name']}.safetensors"
        _write_json(folder / file, {"name": pipeline, "steps": steps})
        save_file(tensors, folder / steps[place]["state_file"])


def _step(name: str, config: JsonObject) -> JsonObject:
    return {"registry_name": name, "config": config}


def _save_backbone(folder: Path, config: SmolVLAConfig, tokenizer: Tokenizer) -> None:
    """The backbone's folder as transformers' AutoConfig and AutoProcessor read it."""
    vision, text = config.vision, config.text
    image_id = tokenizer.token_to_id("<image>")
    _write_json(
        folder / "config.json",
        {
            "architectures": ["SmolVLMForConditionalGeneration"],
            "model_type": "smolvlm",
            "image_token_id": image_id,
            "pad_token_id": PAD_ID,
            "scale_factor": config.scale_factor,
            "tie_word_embeddings": False,
            "vocab_size": text.vocab_size,
            "text_config": {
                "architectures": ["VLlama3ForCausalLM"],
                "model_type": "llama",
                "hidden_size": text.hidden_size,
                "intermediate_size": text.intermediate_size,
                "num_hidden_layers": text.num_layers,
                "num_attention_heads": text.num_heads,
                "num_key_value_heads": text.num_kv_heads,
                "head_dim": text.head_dim,
                "rms_norm_eps": text.rms_norm_eps,
                "vocab_size": text.vocab_size,
                "max_position_embeddings": 8192,
                "rope_theta": 100000,
                "pad_token_id": PAD_ID,
                "torch_dtype": "float32",
            },
            "vision_config": {
                "model_type": "smolvlm_vision",
                "hidden_size": vision.hidden_size,
                "intermediate_size": vision.intermediate_size,
                "num_hidden_layers": vision.num_layers,
                "num_attention_heads": vision.num_heads,
                "image_size": vision.image_size,
                "patch_size": vision.patch_size,
                "layer_norm_eps": vision.layer_norm_eps,
                "max_image_size": {"longest_edge": vision.image_size},
            },
        },
    )
    tokens = tokenizer_config(tokenizer)
    special = {key: tokens[key] for key in ("bos_token", "eos_token", "pad_token", "unk_token")}
    _write_json(folder / "tokenizer_config.json", tokens)
    _write_json(
        folder / "special_tokens_map.json",
        special | {"additional_special_tokens": tokens["additional_special_tokens"]},
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    _write_json(
        folder / "processor_config.json",
        {"image_seq_len": (vision.grid // config.scale_factor) ** 2, "processor_class": "SmolVLMProcessor"},
    )
    _write_json(folder / "preprocessor_config.json", _image_processor(vision.image_size))


def _image_processor(size: int) -> JsonObject:
    """Demanded by transformers' AutoProcessor; LeRobot never lets it touch an image."""
    return {
        "do_convert_rgb": True,
        "do_image_splitting": False,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SmolVLMImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "max_image_size": {"longest_edge": size},
        "processor_class": "SmolVLMProcessor",
        "resample": 1,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": size},
        "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": size}},
    }


def _write_json(path: Path, content: JsonObject) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
