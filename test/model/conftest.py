"""Whole checkpoints out of the de-duplicated reference files, and good checkpoints to break."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from smolvla_ros.model import Guidance, Prediction, SmolVLAPolicy

REFERENCE = Path(__file__).parent.parent / "fixtures" / "lerobot"
DEFAULT_HORIZON = 8  # `rtc_config.execution_horizon` of the reference


def assemble(variant: str, target: Path) -> Path:
    """Writes the whole checkpoint of a variant into `target`."""
    processors = [p.name for p in (REFERENCE / "default").glob("policy_p*")]
    absent = shutil.ignore_patterns(*processors) if variant == "old_format" else None
    shutil.copytree(REFERENCE / "default", target, ignore=absent)
    shutil.copytree(REFERENCE / variant, target, dirs_exist_ok=True)
    if variant == "old_format":
        tensors = load_file(target / "model.safetensors")
        statistics = json.loads((target / "norm_keys.json").read_text())
        save_file(
            tensors | {key: torch.tensor(values) for key, values in statistics.items()}, target / "model.safetensors"
        )
    return target


@dataclass(frozen=True)
class Case:
    """One reference case: what goes in and what LeRobot made of it."""

    images: dict[str, np.ndarray]
    state: np.ndarray
    task: str
    guidance: Guidance | None
    expected: dict[str, torch.Tensor]

    def predict(self, policy: SmolVLAPolicy) -> Prediction:
        return policy.predict(self.images, self.state, self.task, self.expected["noise"][0].numpy(), self.guidance)


def read_cases(folder: Path) -> list[Case]:
    observations, outputs = np.load(folder / "observations.npz"), load_file(folder / "cases.safetensors")
    features = json.loads((folder / "config.json").read_text())["input_features"]
    cases = []
    for index, case in enumerate(json.loads((folder / "cases.json").read_text())):
        expected = {key.partition(".")[2]: value for key, value in outputs.items() if key.startswith(f"case{index}.")}
        prefix = f"obs{case['obs']}."
        given = {name: observations[prefix + name] for name in features if prefix + name in observations}
        state = given.pop("observation.state")
        images = {name: image for name, image in given.items() if name not in case.get("dropped_keys", [])}
        cases.append(Case(images, state, case["task"], guidance_of(case, expected), expected))
    return cases


def guidance_of(case: dict, expected: dict[str, torch.Tensor]) -> Guidance | None:
    if "prev_chunk_left_over" not in expected:
        return None
    rows = expected["prev_chunk_left_over"].reshape(-1, expected["prev_chunk_left_over"].shape[-1])
    horizon = case["execution_horizon"] or DEFAULT_HORIZON
    return Guidance(rows, case["inference_delay"], horizon, case["schedule"].lower(), case["max_guidance_weight"])


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a variant's checkpoint, shared by all tests: not to be changed."""
    made: dict[str, Path] = {}

    def checkpoint(variant: str) -> Path:
        if variant not in made:
            made[variant] = assemble(variant, tmp_path_factory.mktemp("checkpoints") / variant)
        return made[variant]

    return checkpoint


@pytest.fixture(scope="session")
def cases_of() -> Callable[[Path], list[Case]]:
    """The reference cases of a checkpoint folder."""
    return read_cases


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A good checkpoint of one's own, to be broken by one mutation."""
    return assemble("default", tmp_path / "checkpoint")
