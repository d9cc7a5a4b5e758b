"""LoRA adapters that PEFT saved: merged into the base policy's weights, tensor by tensor, while these are read.

W' = W + scale * B A      (LoRA, arXiv 2106.09685; scale = alpha / r, or alpha / sqrt(r) for rsLoRA)
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from smolvla_ros.model.checkpoint.files import open_safetensors, read_json
from smolvla_ros.model.checkpoint.settings import CheckpointSettings
from smolvla_ros.model.errors import CheckpointError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_WRAPPER = "base_model.model."


class Adapter:
    """The adapter in a folder, held in memory (it is small).

    `base` names the policy it was trained upon, `revision` its commit on the hub or ''.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / WEIGHTS
        self._settings = CheckpointSettings(read_json(folder / CONFIG), folder / CONFIG)
        self.base: str = self._settings.get("base_model_name_or_path", "")
        self.revision: str = self._settings.get("revision", "")
        self._check_kind()
        self._used: set[str] = set()
        with open_safetensors(self.path) as tensors:
            self._tensors: dict[str, Tensor] = {
                name.removeprefix(_WRAPPER): tensors.get_tensor(name).float().clone()
                for name in tensors.keys()  # noqa: SIM118
            }
        for name, tensor in self._tensors.items():
            if not torch.isfinite(tensor).all():
                raise CheckpointError(f"{self.path}: tensor {name!r} has values that are not finite; train it again")

    def merge(self, name: str, weight: Tensor) -> Tensor:
        """The tensor `name` of the base policy with the adapter in it."""
        replacement = self._tensors.get(name)
        if replacement is not None:  # trained in full: `modules_to_save` and biases
            self._expect(name, replacement.shape == weight.shape, weight)
            self._used.add(name)
            return replacement
        module = name.removesuffix(".weight")
        a, b = (self._tensors.get(f"{module}.lora_{part}.weight") for part in "AB")
        if a is None or b is None:
            return weight
        self._used |= {f"{module}.lora_A.weight", f"{module}.lora_B.weight"}
        self._expect(name, (b.shape[0], a.shape[1]) == weight.shape and a.shape[0] == b.shape[1], weight)
        return weight.float() + self._scale(module, a.shape[0]) * (b @ a)

    def check_complete(self) -> None:
        """Call after everything was merged: an adapter tensor that found no place would be lost silently."""
        if lost := sorted(self._tensors.keys() - self._used):
            raise CheckpointError(
                f"{self.path}: {len(lost)} tensors have no place in the base policy ({', '.join(lost[:3])}); "
                f"is {self.base!r} the policy that the adapter was trained upon?"
            )

    def _scale(self, module: str, rank: int) -> float:
        alpha = float(self._pattern("alpha_pattern", module) or self._settings.values.get("lora_alpha") or 8)
        expected = int(self._pattern("rank_pattern", module) or self._settings.values.get("r") or 8)
        if rank != expected:
            raise CheckpointError(
                f"{self.path}: {module} has rank {rank}, adapter_config.json says {expected}; copy both files again"
            )
        return alpha / (rank**0.5 if self._settings.get("use_rslora", False) else rank)

    def _pattern(self, key: str, module: str) -> float | None:
        """The value of the first pattern that fits the end of the module's name, as PEFT picks it."""
        for pattern, value in self._settings.section(key).values.items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                return float(value)
        return None

    def _check_kind(self) -> None:
        if not self.base:
            raise self._settings.refuse("base_model_name_or_path", "the folder or hub id of the base policy")
        if self._settings.get("peft_type", "LORA") != "LORA":
            raise self._settings.refuse("peft_type", "'LORA'; merge others with PEFT's merge_and_unload and save")
        for key in ("use_dora", "lora_bias", "fan_in_fan_out"):
            if self._settings.get(key, False):
                raise self._settings.refuse(key, "false; merge such adapters with PEFT's merge_and_unload and save")

    def _expect(self, name: str, fits: bool, weight: Tensor) -> None:
        if not fits:
            raise CheckpointError(
                f"{self.path}: the adapter of {name!r} does not fit its shape {list(weight.shape)} in the base policy"
            )
