"""`model.safetensors` -> the network's parameters, tensor by tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from smolvla_ros.model.checkpoint.adapters import Adapter
from smolvla_ros.model.checkpoint.files import check_values, open_safetensors
from smolvla_ros.model.checkpoint.reader import listed
from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.engines.arithmetic import Arithmetic
from smolvla_ros.model.engines.products import bfloat16_linears, prepare
from smolvla_ros.model.errors import CheckpointError
from smolvla_ros.model.layers import FusedLinear
from smolvla_ros.model.network import SmolVLANetwork

_VLM = "vlm_with_expert.vlm.model."
_RENAMED = (
    ("vision.patch_embedding.", f"{_VLM}vision_model.embeddings.patch_embedding."),
    ("vision.position_embedding.", f"{_VLM}vision_model.embeddings.position_embedding."),
    ("vision.layers.", f"{_VLM}vision_model.encoder.layers."),
    ("vision.", f"{_VLM}vision_model."),
    ("connector.", f"{_VLM}connector.modality_projection."),
    ("language.", f"{_VLM}text_model."),
    ("expert.", "vlm_with_expert.lm_expert."),
)
LANGUAGE_HEAD = "model.vlm_with_expert.vlm.lm_head.weight"
_LANGUAGE_LAYER = re.compile(rf"model\.{re.escape(_VLM)}text_model\.layers\.(\d{{1,4}})\.")
_WRAPPERS = ("_orig_mod.", "module.")  # torch.compile and DistributedDataParallel
_OLD_STATISTICS = re.compile(r"^(normalize_inputs|normalize_targets|unnormalize_outputs)\.")


def checkpoint_views(network: SmolVLANetwork) -> dict[str, Tensor]:
    """Every tensor that the network uses, by its name in a checkpoint; writing into one sets the network."""
    views: dict[str, Tensor] = {}
    for path, module in network.named_modules():
        if isinstance(module, FusedLinear):
            parent = path.rpartition(".")[0]
            named = {f"{parent}.{name}": view for name, view in module.named_parts().items()}
        else:
            named = {f"{path}.{name}": tensor for name, tensor in module.named_parameters(recurse=False)}
        views |= {_checkpoint_name(name): tensor for name, tensor in named.items()}
    return views


def unused_shapes(config: SmolVLAConfig) -> dict[str, tuple[int, ...]]:
    """Tensors that LeRobot stores and no action depends on, by name: what the last language layer's keys and values
    do not pass through, the final norm and the language head."""
    text, last = config.text, f"model.{_VLM}text_model.layers.{config.kept_layers - 1}."
    heads = text.num_heads * text.head_dim
    return {
        f"{last}self_attn.q_proj.weight": (heads, text.hidden_size),
        f"{last}self_attn.o_proj.weight": (text.hidden_size, heads),
        f"{last}mlp.gate_proj.weight": (text.intermediate_size, text.hidden_size),
        f"{last}mlp.up_proj.weight": (text.intermediate_size, text.hidden_size),
        f"{last}mlp.down_proj.weight": (text.hidden_size, text.intermediate_size),
        f"{last}post_attention_layernorm.weight": (text.hidden_size,),
        f"model.{_VLM}text_model.norm.weight": (text.hidden_size,),
        LANGUAGE_HEAD: (text.vocab_size, text.hidden_size),
    }


def load_network(
    path: Path,
    config: SmolVLAConfig,
    arithmetic: Arithmetic,
    device: torch.device,
    adapter: Adapter | None = None,
) -> SmolVLANetwork:
    """The network with the weights of the file, on the device, ready for inference.

    Nothing is allocated before names and shapes have been compared. Then one tensor at a time is read, so that memory
    never holds much more than the network; an adapter is merged into each on its way in.
    """
    with torch.device("meta"):
        network = SmolVLANetwork(config)
    if arithmetic.dtype == "bfloat16":
        network.use_mixed_precision()
    elif arithmetic.dtype == "bfloat16_products":
        bfloat16_linears(network)
    shapes = {name: tuple(view.shape) for name, view in checkpoint_views(network).items()}
    stored = match_names(path, config, shapes)
    if adapter:
        adapter.check(stored_shapes(path, stored))
    network = network.to_empty(device=device).requires_grad_(False).eval()
    views = checkpoint_views(network)
    for name, stored_name in stored.items():
        if _is_upper_layer(name, config.kept_layers):
            continue
        with open_safetensors(path) as tensors:  # opened for each tensor: closing it gives its pages back
            tensor = tensors.get_tensor(stored_name)
            check_values(path, stored_name, tensor)
            if name in views:
                views[name].copy_(adapter.merge(name, tensor) if adapter else tensor)
            del tensor
    del views
    if arithmetic.dtype != "bfloat16":
        prepare(network, arithmetic.libraries)
    return network


def match_names(path: Path, config: SmolVLAConfig, used: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """The name in the file of each weight, after comparing names and shapes with what they must be.

    Besides the network's own tensors the file may hold a language head and the language layers above the kept ones.
    """
    with open_safetensors(path) as tensors:
        names = list(tensors.keys())
        stored = {_bare_name(name): name for name in names}
        if len(stored) < len(names):
            twice = next(name for name in names if stored[_bare_name(name)] != name)
            raise CheckpointError(
                f"{path}: the tensor {_bare_name(twice)!r} stands twice, as {twice!r} too; save the policy again"
            )
        stored = {name: full for name, full in stored.items() if not _OLD_STATISTICS.match(name)}
        known = used | unused_shapes(config)
        missing = sorted(known.keys() - stored.keys() - {LANGUAGE_HEAD})
        surplus = sorted(name for name in stored.keys() - known.keys() if not _is_upper_layer(name, config.kept_layers))
        if missing or surplus:
            raise CheckpointError(
                f"{path} does not hold this network: {_counted('missing', missing)}{_counted('unexpected', surplus)}"
                "compare config.json with the file; both must come from the same training run"
            )
        for name, shape in known.items():
            if name in stored and (found := tuple(tensors.get_slice(stored[name]).get_shape())) != shape:
                raise CheckpointError(
                    f"{path}: tensor {stored[name]!r} has shape {list(found)}, config.json asks for {list(shape)}; "
                    "both must come from the same training run"
                )
    return stored


def stored_shapes(path: Path, stored: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors in the file, by the names that `match_names` gave."""
    with open_safetensors(path) as tensors:
        return {name: tuple(tensors.get_slice(full).get_shape()) for name, full in stored.items()}


def _is_upper_layer(name: str, kept_layers: int) -> bool:
    layer = _LANGUAGE_LAYER.match(name)
    return layer is not None and int(layer[1]) >= kept_layers


def _checkpoint_name(name: str) -> str:
    for ours, theirs in _RENAMED:
        if name.startswith(ours):
            return "model." + theirs + name.removeprefix(ours)
    return "model." + name


def _bare_name(name: str) -> str:
    """The name without the traces of torch.compile or data-parallel training, wherever they stand."""
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper).replace(f".{wrapper}", ".")
    return name


def _counted(what: str, names: list[str]) -> str:
    return f"{len(names)} {what} ({listed(names)}); " if names else ""
