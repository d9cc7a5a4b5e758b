"""LoRA adapters that PEFT saved: merged into the base policy's weights, tensor by tensor, while these are read.

    W' = W - W0 + s B A           (LoRA, arXiv 2106.09685; s = alpha / r, or alpha / sqrt(r) for rsLoRA)
    W' = m / |W'| W', row by row  (DoRA, arXiv 2402.09353)

W0 is what PiSSA and OLoRA took out of the base policy when the adapter was created: they begin from the strongest
directions of W itself, and PEFT takes them out of W again whenever it loads such an adapter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import regex
import torch
from torch import Tensor

from smolvla_ros.model.checkpoint.files import check_values, open_safetensors, read_json
from smolvla_ros.model.checkpoint.reader import JsonReader, listed, shown
from smolvla_ros.model.errors import CheckpointError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
Shape = tuple[int, ...]

_WRAPPER = "base_model.model."
_MOST_RANK, _MOST_PATTERNS = 65_536, 10_000
_PATTERN_TEXT = regex.compile(r"[\w.\\^$*+?|()\[\]-]{1,500}")  # no counted repeats, no extensions
_PATTERN_SECONDS = 0.05

# Settings by what they mean for the weights (PEFT 0.21). Harmless: about training, about where PEFT puts what the
# weights file shows anyway, or without effect on linear layers (fan_in_fan_out).
_HARMLESS = frozenset((
    "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "lora_dropout", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out",
    "bias", "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size",
    "ensure_weight_tying", "runtime_config",
))  # fmt: skip
_HANDLED = frozenset((
    "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias", "modules_to_save",
    "init_lora_weights",
))  # fmt: skip
# Ways to begin that leave the base policy as it is.
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
_MERGE_FIRST = (
    "merge it in the process that trained it, with PEFT's merge_and_unload(), and save the whole policy with LeRobot"
)


class Adapter:
    """The adapter in a folder: its settings and the names and shapes of its tensors, which are read when merged.

    `base` names the policy it was trained upon, `revision` its commit on the hub or ''.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / WEIGHTS
        settings = JsonReader(read_json(folder / CONFIG), folder / CONFIG)
        self.base = settings.text("base_model_name_or_path")
        self.revision = settings.text("revision")
        _check_kind(settings)
        self._start = _start(settings)
        self._dora = settings.flag("use_dora")
        self._rank_stabilised = settings.flag("use_rslora")
        self._alpha = settings.number("lora_alpha", 8.0, -1e9, 1e9)
        self._alpha_of = _numbers(settings, "alpha_pattern")
        self._ranks = {settings.whole("r", 8, 1, _MOST_RANK), *map(int, _numbers(settings, "rank_pattern").values())}
        self._saved = settings.texts("modules_to_save", _MOST_PATTERNS)
        with open_safetensors(self.path) as tensors:
            names = list(tensors.keys())
            self._stored = {_bare_name(name): name for name in names}
            self._shapes: dict[str, Shape] = {
                bare: tuple(tensors.get_slice(name).get_shape()) for bare, name in self._stored.items()
            }
        if len(self._stored) < len(names):
            raise CheckpointError(f"{self.path}: two tensors have the same place; save the adapter again with PEFT")

    def check(self, shapes: Mapping[str, Shape]) -> None:
        """Before anything is read: every tensor must have a place among those of the base policy, and fit."""
        used: set[str] = set()
        for name, shape in shapes.items():
            used |= self._check_one(name, shape)
        if lost := sorted(self._stored.keys() - used):
            raise CheckpointError(
                f"{self.path}: {len(lost)} tensors have no place in the base policy ({listed(lost)}); "
                f"is {shown(self.base)} the policy that the adapter was trained upon?"
            )
        for module in self._saved:
            if not any(f"{module}." in name for name in used):
                raise CheckpointError(
                    f"{self.path} holds nothing of {shown(module)}, which adapter_config.json has in "
                    "'modules_to_save'; copy both files again"
                )

    def merge(self, name: str, weight: Tensor) -> Tensor:
        """The tensor `name` of the base policy with the adapter in it; call `check` first."""
        if name in self._stored:  # trained in full: `modules_to_save` and biases
            weight = self._read(name)
        module = name.rpartition(".")[0]
        if name.endswith(".bias"):
            bias = f"{module}.lora_B.bias"
            return weight.float() + self._scale(module) * self._read(bias) if bias in self._stored else weight
        if f"{module}.lora_embedding_A" in self._stored:
            a, b = (self._read(f"{module}.lora_embedding_{part}") for part in "AB")
            return weight.float() + self._scale(module) * (b @ a).t()
        if f"{module}.lora_A.weight" not in self._stored:
            return weight
        a, b = (self._read(f"{module}.lora_{part}.weight").flatten(1) for part in "AB")
        merged = self._reduced(module, weight, len(a)).float() + self._scale(module) * (b @ a).view_as(weight)
        if self._dora:
            rows = merged.flatten(1)
            magnitude = self._read(f"{module}.lora_magnitude_vector").flatten()
            merged = ((magnitude / rows.norm(dim=1))[:, None] * rows).view_as(weight)
        return merged

    def _reduced(self, module: str, weight: Tensor, rank: int) -> Tensor:
        """The base weight as PEFT leaves it when it creates such an adapter, rounded to its own type as there."""
        wide = weight.float()
        if self._start == "pissa":
            u, s, vh = torch.linalg.svd(wide, full_matrices=False)
            start: Tensor = (u[:, :rank] * s[:rank]) @ vh[:rank]
        elif self._start == "olora":
            q, r = torch.linalg.qr(wide)
            start = self._scale(module) * (q[:, :rank] @ r[:rank])
        else:
            return weight
        return (wide - start).to(weight.dtype)

    def _scale(self, module: str) -> float:
        part = (
            f"{module}.lora_embedding_A" if f"{module}.lora_embedding_A" in self._shapes else f"{module}.lora_A.weight"
        )
        rank, alpha = self._shapes[part][0], self._alpha
        for pattern, value in self._alpha_of.items():
            if _fits(pattern, module, self.path):
                alpha = value
                break
        return alpha / (math.sqrt(rank) if self._rank_stabilised else rank)

    def _check_one(self, name: str, shape: Shape) -> set[str]:
        """The adapter's tensors that act on the tensor `name` of the base policy."""
        module = name.rpartition(".")[0]
        expected: dict[str, tuple[int | None, ...]] = {name: shape}
        if name.endswith(".bias"):
            expected[f"{module}.lora_B.bias"] = shape
        elif f"{module}.lora_embedding_A" in self._shapes:
            expected |= {f"{module}.lora_embedding_A": (None, shape[0]), f"{module}.lora_embedding_B": (shape[1], None)}
        elif f"{module}.lora_A.weight" in self._shapes:
            ones = (1,) * (len(shape) - 2)
            expected |= {
                f"{module}.lora_A.weight": (None, *shape[1:]),
                f"{module}.lora_B.weight": (shape[0], None, *ones),
            }
            if self._dora:
                expected[f"{module}.lora_magnitude_vector"] = (shape[0],) if len(shape) == 2 else (1, shape[0], *ones)
                self._require(f"{module}.lora_magnitude_vector")
            self._require(f"{module}.lora_B.weight")
        for part in expected.keys() & self._shapes.keys():
            self._check_shape(part, expected[part])
        return expected.keys() & self._shapes.keys()

    def _check_shape(self, part: str, expected: tuple[int | None, ...]) -> None:
        """None in `expected` is the rank, which the settings know."""
        found = self._shapes[part]
        if len(found) != len(expected) or any(e not in (f, None) for f, e in zip(found, expected, strict=True)):
            raise CheckpointError(
                f"{self.path}: {part!r} has shape {list(found)}, which does not fit its place in the base policy; "
                f"is {shown(self.base)} the policy that the adapter was trained upon?"
            )
        for rank in (f for f, e in zip(found, expected, strict=True) if e is None):
            if rank not in self._ranks:
                raise CheckpointError(
                    f"{self.path}: {part!r} has rank {rank}, adapter_config.json says "
                    f"{listed(map(str, sorted(self._ranks)))}; copy both files again"
                )

    def _require(self, part: str) -> None:
        if part not in self._shapes:
            raise CheckpointError(f"{self.path}: {part!r} is missing; copy the adapter again")

    def _read(self, name: str) -> Tensor:
        with open_safetensors(self.path) as tensors:
            tensor: Tensor = tensors.get_tensor(self._stored[name])
            check_values(self.path, name, tensor)
            return tensor.float().clone()


def _check_kind(settings: JsonReader) -> None:
    """Every setting must be one of which it is known what it does to the weights, or be off."""
    if not settings.text("base_model_name_or_path"):
        raise settings.refuse("base_model_name_or_path", "the folder or hub id of the base policy")
    if settings.text("peft_type", "LORA") != "LORA":
        raise settings.refuse("peft_type", f"'LORA'; {_MERGE_FIRST}")
    for key in settings.values.keys() - _HARMLESS - _HANDLED:
        if settings.values[key]:
            raise settings.refuse(key[:120], f"it to be off, for it changes what the weights mean; {_MERGE_FIRST}")


def _start(settings: JsonReader) -> str:
    """How the adapter began, as far as the base policy was changed for it: 'pissa', 'olora' or ''."""
    start = settings.values.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() in ("pissa", "olora"):
        return start.lower()
    if not isinstance(start, (bool, str, type(None))) or start not in _PLAIN_STARTS:
        raise settings.refuse(
            "init_lora_weights",
            "a beginning that can be computed again: this one took something out of the base policy that is not in "
            "the file; save the adapter again where it was trained, with PEFT's "
            "save_pretrained(..., path_initial_model_for_weight_conversion=...), or " + _MERGE_FIRST,
        )
    return ""


def _numbers(settings: JsonReader, key: str) -> dict[str, float]:
    """Patterns of module names with their numbers."""
    section = settings.section(key)
    if len(section.values) > _MOST_PATTERNS:
        raise CheckpointError(f"{settings.path}: {key!r} has {len(section.values)} patterns, expected a few")
    for pattern in section.values:
        if not _PATTERN_TEXT.fullmatch(pattern):
            raise _unusable(settings.path, pattern)
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise _unusable(settings.path, pattern) from error
    return {pattern: section.number(pattern, 1.0, -1e9, 1e9) for pattern in section.values}


def _fits(pattern: str, module: str, path: Path) -> bool:
    """Whether a pattern fits the end of a module's name, as PEFT picks it; one that takes long is refused."""
    try:
        return bool(regex.fullmatch(rf"(.*\.)?({pattern})", module, timeout=_PATTERN_SECONDS))
    except TimeoutError as error:
        raise _unusable(path, pattern) from error


def _unusable(path: Path, pattern: str) -> CheckpointError:
    return CheckpointError(
        f"{path.parent / CONFIG}: {shown(pattern)} is not a usable pattern of module names; expected something like "
        r"'layers\.1\..*q_proj'; " + _MERGE_FIRST
    )


def _bare_name(name: str) -> str:
    """The name of the module in the base policy, without what PEFT wraps round it."""
    for wrapper in (".base_layer.", ".modules_to_save.default.", ".modules_to_save."):
        name = name.replace(wrapper, ".")
    name = name.removeprefix(_WRAPPER)
    return name.removesuffix(".weight") if name.endswith(".lora_magnitude_vector.weight") else name
