"""Statistics of the training data -> `Normaliser`, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smolvla_ros.model.checkpoint.files import open_safetensors, read_json
from smolvla_ros.model.checkpoint.reader import listed, shown
from smolvla_ros.model.errors import CheckpointError
from smolvla_ros.model.normalisation import STATISTICS_OF_MODE, Normaliser

Statistics = dict[str, dict[str, Tensor]]

_MOST_VALUES = 4_096
NONE = "none"  # the choice to run a feature un-normalised


@dataclass(frozen=True)
class Source:
    """Where a feature's statistics come from: all sets of the checkpoint, the mode, and the user's choices.

    `features` are those that the pipeline normalises (None: all). `choices` maps a feature to the name of a set, to
    'none', or to a .json (a dataset's meta/stats.json) or .safetensors file that holds the feature's statistics.
    """

    path: Path
    sets: Statistics
    modes: Mapping[str, str]
    eps: float
    choices: Mapping[str, str]
    features: frozenset[str] | None = None
    always_add_eps: bool = False

    def normaliser(self, feature: str, kind: str, size: int | None) -> Normaliser | None:
        """The normaliser of `feature` (kind STATE, ACTION or VISUAL), or None where nothing is to be done.

        Raises:
            CheckpointError: the mode needs statistics that are missing, of another size, not finite or flat.
        """
        mode, choice = self.modes.get(kind, "IDENTITY"), self.choices.get(feature, "")
        if mode not in STATISTICS_OF_MODE:
            known = ", ".join(STATISTICS_OF_MODE)
            raise CheckpointError(f"{self.path}: normalisation {shown(mode)} of {kind}, expected one of {known}")
        if mode == "IDENTITY" or choice == NONE:
            return None
        if self.features is not None and feature not in self.features:
            raise CheckpointError(
                f"{self.path}: normalises {listed(sorted(self.features)) or 'nothing'}, but not {feature!r}, "
                f"although {kind} has mode {mode}; such a policy was trained on other numbers. "
                f"Add the feature there, or state statistics={{{feature!r}: {NONE!r}}}"
            )
        found = self._chosen(feature, choice)
        names = STATISTICS_OF_MODE[mode]
        if found is None or any(name not in found for name in names):
            raise CheckpointError(self._missing(feature, mode, choice))
        low, high = (found[name].float() for name in names)
        self._check(feature, mode, dict(zip(names, (low, high), strict=True)), size)
        if kind == "VISUAL":
            low, high = low.reshape(-1, 1, 1), high.reshape(-1, 1, 1)
        return Normaliser(mode, low, high, self.eps, self.always_add_eps)

    def found(self, feature: str) -> Mapping[str, Tensor]:
        """All statistics of `feature`, chosen or stored; empty if there are none."""
        choice = self.choices.get(feature, "")
        return {} if choice == NONE else self._chosen(feature, choice) or {}

    def _chosen(self, feature: str, choice: str) -> dict[str, Tensor] | None:
        if not choice:
            return self.sets.get(feature)
        folder = Path(choice).expanduser()
        if choice not in self.sets and folder.is_dir():
            return read_statistics(_of_dataset(folder)).get(feature)
        if choice.endswith((".json", ".safetensors", ".jsonl")):
            return read_statistics(folder).get(feature)
        return self.sets.get(choice)

    def _missing(self, feature: str, mode: str, choice: str) -> str:
        needed = " and ".join(STATISTICS_OF_MODE[mode])
        sets = "; ".join(f"{name[:80]} ({listed(sorted(stats), 10)})" for name, stats in sorted(self.sets.items())[:6])
        named = f" in the chosen {choice!r}" if choice else ""
        return (
            f"{self.path}: no {needed} of {feature!r}{named}, needed for {mode}; sets found: {sets or 'none'}. "
            f"Without them the policy would run on wrong numbers. Choose a set or a file for it, for example "
            f"statistics={{{feature!r}: 'meta/stats.json'}} from its dataset, or {NONE!r} to run it un-normalised"
        )

    def _check(self, feature: str, mode: str, stats: Mapping[str, Tensor], size: int | None) -> None:
        low, high = stats.values()
        where = f"{self.path}: statistics of {feature!r}"
        for name, values in stats.items():
            if not torch.isfinite(values).all():
                raise CheckpointError(
                    f"{where}: {name} is {_numbers(values)}, which were never set; save the policy again with its "
                    "dataset's statistics, or choose others"
                )
        if low.shape != high.shape or (size is not None and low.shape != (size,)):
            raise CheckpointError(
                f"{where} have shapes {list(low.shape)} and {list(high.shape)}, expected [{size or 3}]; "
                "they belong to another robot"
            )
        if mode == "MEAN_STD" and not low.any() and bool((high == 1).all()):
            raise CheckpointError(
                f"{where} are exactly mean 0 and std 1: placeholders, which change nothing; choose the dataset's "
                f"statistics, or state statistics={{{feature!r}: {NONE!r}}}"
            )
        spread = high if mode == "MEAN_STD" else high - low
        if (spread <= 0).any():
            flat = listed([str(i) for i in torch.nonzero(spread.flatten() <= 0).flatten().tolist()], 10)
            raise CheckpointError(
                f"{where}: the spread of value {flat} is not above 0 ({' and '.join(stats)} of {mode}); "
                "such a value carries nothing and would be divided by zero: give it a spread or train without it"
            )


def _of_dataset(folder: Path) -> Path:
    """The file with the statistics in a data set's folder."""
    for name in ("meta/stats.json", "stats.json"):
        if (folder / name).is_file():
            return folder / name
    for name in ("meta/episodes_stats.jsonl", "episodes_stats.jsonl"):
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder} holds no statistics; expected a data set's folder with meta/stats.json")


def read_statistics(path: Path) -> Statistics:
    """Statistics by feature from a processor's state file or from a dataset's `meta/stats.json`."""
    if path.suffix == ".jsonl":
        raise CheckpointError(
            f"{path} holds the statistics of single episodes (data sets of LeRobot v2.1), which are not those of the "
            "whole; convert the data set to v3.0 with LeRobot and give its meta/stats.json"
        )
    if path.suffix == ".json":
        try:
            return {
                feature: {name: torch.tensor(values, dtype=torch.float32) for name, values in stats.items()}
                for feature, stats in read_json(path).items()
            }
        except CheckpointError:
            raise
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path} does not hold statistics ({error}); expected a meta/stats.json") from error
    with open_safetensors(path) as tensors:
        found: Statistics = {}
        for key in tensors.keys():  # noqa: SIM118
            feature, _, name = key.rpartition(".")
            found.setdefault(feature, {})[name] = small_tensor(path, tensors, key)
        return found


def small_tensor(path: Path, tensors: Any, name: str) -> Tensor:
    """A tensor of statistics out of an open file, as float32."""
    shape = tensors.get_slice(name).get_shape()
    if math.prod(shape) > _MOST_VALUES:
        raise CheckpointError(f"{path}: {name!r} has shape {list(shape)}, expected statistics of at most 1024 values")
    tensor: Tensor = tensors.get_tensor(name)
    if tensor.is_complex():
        raise CheckpointError(f"{path}: {name!r} is {tensor.dtype}, expected real numbers")
    return tensor.float().clone()


def _numbers(values: Tensor) -> str:
    shown = ", ".join(f"{value:g}" for value in values.flatten()[:6].tolist())
    return f"[{shown}{', ...' if values.numel() > 6 else ''}]"
