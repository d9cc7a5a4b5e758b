"""The pre- and post-processing that a checkpoint asks for: by its JSON pipelines, or as LeRobot had it before."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smolvla_ros.model.checkpoint.files import JsonObject, inside, open_safetensors, read_json
from smolvla_ros.model.checkpoint.reader import JsonReader, listed, shown
from smolvla_ros.model.checkpoint.statistics import Source, Statistics, read_statistics, small_tensor
from smolvla_ros.model.errors import CheckpointError
from smolvla_ros.model.text import TextSettings

PREPROCESSOR, POSTPROCESSOR = "policy_preprocessor.json", "policy_postprocessor.json"

# Class names of the steps, for files that name a class instead of a registered step.
_CLASSES = {
    "RenameObservationsProcessorStep": "rename_observations_processor",
    "AddBatchDimensionProcessorStep": "to_batch_processor",
    "SmolVLANewLineProcessor": "smolvla_new_line_processor",
    "TokenizerProcessorStep": "tokenizer_processor",
    "DeviceProcessorStep": "device_processor",
    "NormalizerProcessorStep": "normalizer_processor",
    "UnnormalizerProcessorStep": "unnormalizer_processor",
}
# Steps that other policies of LeRobot switch on; SmolVLA's pipelines may carry them switched off.
_SWITCHED_OFF = {
    "relative_actions_processor",
    "absolute_actions_processor",
    "RelativeActionsProcessorStep",
    "AbsoluteActionsProcessorStep",
}
_OLD_GROUPS = {"observation.state": "normalize_inputs", "action": "unnormalize_outputs"}


@dataclass(frozen=True)
class Processing:
    """Everything that happens to data outside the network.

    `state` and `action` give the statistics of observation and action. `aloha_outside` tells that ALOHA's
    conversion happens in checkpoint units, outside the normalisation, as LeRobot did up to 0.3.
    """

    text: TextSettings
    tokenizer_name: str
    state: Source
    action: Source
    rename_map: Mapping[str, str] = field(default_factory=dict)
    aloha_outside: bool = False


def read_processing(folder: Path, raw: JsonObject, choices: Mapping[str, str]) -> Processing:
    """The processing of the checkpoint in `folder` whose `config.json` holds `raw`."""
    if os.path.lexists(folder / PREPROCESSOR) or os.path.lexists(folder / POSTPROCESSOR):
        return _from_pipelines(folder, choices)
    return _from_old_format(folder, raw, choices)


def _from_pipelines(folder: Path, choices: Mapping[str, str]) -> Processing:
    before, after = _steps(folder / PREPROCESSOR), _steps(folder / POSTPROCESSOR)
    _refuse_unknown(folder / PREPROCESSOR, before, "normalizer_processor")
    _refuse_unknown(folder / POSTPROCESSOR, after, "unnormalizer_processor")
    rename = JsonReader(before.get("rename_observations_processor", {}), folder / PREPROCESSOR).section("config")
    tokenizer_step = JsonReader(before["tokenizer_processor"], folder / PREPROCESSOR)
    tokenizer, artifacts = tokenizer_step.section("config"), tokenizer_step.section("artifacts")
    return Processing(
        text=TextSettings(
            max_length=tokenizer.whole("max_length", 512, 1, 8_192),
            truncation=tokenizer.flag("truncation", True),
            ends_with_newline="smolvla_new_line_processor" in before,
        ),
        tokenizer_name=artifacts.text("tokenizer_name") or tokenizer.text("tokenizer_name"),
        state=_observation_source(folder / PREPROCESSOR, before["normalizer_processor"], choices),
        action=_source(folder / POSTPROCESSOR, after["unnormalizer_processor"], choices),
        rename_map=rename.section("rename_map").names(),
    )


def _steps(path: Path) -> dict[str, JsonObject]:
    """The pipeline's steps by registered name, in order."""
    found = read_json(path).get("steps")
    if not isinstance(found, list) or not all(isinstance(step, dict) for step in found):
        raise CheckpointError(f"{path}: 'steps' is not a list of steps; copy the file again")
    steps: dict[str, JsonObject] = {}
    for step in found:
        class_name = str(step.get("class", "")).rpartition(".")[2]
        name = str(step.get("registry_name") or _CLASSES.get(class_name, class_name))
        if name in _SWITCHED_OFF and _is_off(step):
            continue
        if name in steps:
            raise CheckpointError(f"{path}: the step {shown(name)} stands twice; expected each step once")
        steps[name] = step
    return steps


def _is_off(step: JsonObject) -> bool:
    config = step.get("config")
    return isinstance(config, dict) and config.get("enabled") is False


def _refuse_unknown(path: Path, steps: Mapping[str, Any], normaliser: str) -> None:
    """Every step must be one whose effect is known here, and the needed ones must be there."""
    needed = {normaliser} if normaliser == "unnormalizer_processor" else {normaliser, "tokenizer_processor"}
    active = {name for name, step in steps.items() if not _is_disabled(step)}
    missing, unknown = sorted(needed - active), sorted(active - set(_CLASSES.values()))
    if missing:
        raise CheckpointError(f"{path}: the step {listed(missing)} is missing; copy the file again")
    if unknown:
        raise CheckpointError(
            f"{path}: the step {listed(unknown)} is not part of SmolVLA's processing; without it the policy would "
            f"run wrong. Known steps: {', '.join(sorted(_CLASSES.values()))}"
        )


def _is_disabled(step: JsonObject) -> bool:
    """Steps of relative actions say so themselves: LeRobot lists them and passes data through them untouched."""
    config = step.get("config")
    return isinstance(config, dict) and config.get("enabled") is False


def _source(path: Path, step: JsonObject, choices: Mapping[str, str]) -> Source:
    config = JsonReader(step, path).section("config")
    state_file = JsonReader(step, path).text("state_file")
    statistics: Statistics = {}
    if state_file:
        statistics = read_statistics(inside(path.parent, state_file, path))
    modes = config.section("norm_map").names()
    return Source(path, statistics, modes, config.number("eps", 1e-8, 0.0, 1.0), choices)


def _observation_source(path: Path, step: JsonObject, choices: Mapping[str, str]) -> Source:
    """Observations are normalised only where the step lists them, unlike actions."""
    config = JsonReader(step, path).section("config")
    features = frozenset(config.section("features").values)
    if config.values.get("normalize_observation_keys") is not None:
        features &= frozenset(config.texts("normalize_observation_keys", 1_000))
    return replace(_source(path, step, choices), features=features)


def _from_old_format(folder: Path, raw: JsonObject, choices: Mapping[str, str]) -> Processing:
    """Before September 2025 the statistics were tensors of the model, and text was never cut."""
    path = folder / "model.safetensors"
    statistics: Statistics = {}
    with open_safetensors(path) as tensors:
        for key in sorted(tensors.keys()):
            for feature, group in _OLD_GROUPS.items():
                before, _, after = key.partition("buffer_" + feature.replace(".", "_") + ".")
                if after and before.startswith(f"{group}."):
                    variant = before.removeprefix(f"{group}.").rstrip("_")
                    name = f"{variant}.{feature}" if variant else feature
                    statistics.setdefault(name, {})[after] = small_tensor(path, tensors, key)
    settings = JsonReader(raw, folder / "config.json")
    modes = settings.section("normalization_mapping").names()
    source = Source(path, statistics, modes, 1e-8, choices, always_add_eps=True)
    return Processing(
        text=TextSettings(max_length=settings.whole("tokenizer_max_length", 48, 1, 8_192), truncation=False),
        tokenizer_name="",
        state=source,
        action=source,
        aloha_outside=True,
    )
