"""A golden input: one observation stored with the actions that the checkpoint must give for it.

Replayed after every load, it shows that this machine, its libraries and its device compute what the machine that
wrote the checkpoint computed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from smolvla_ros.model.checkpoint.files import open_safetensors
from smolvla_ros.model.checkpoint.reader import listed
from smolvla_ros.model.config import SmolVLAConfig
from smolvla_ros.model.engines.arithmetic import TOLERANCE
from smolvla_ros.model.errors import CheckpointError, ModelError

GOLDEN_FILE = "golden.safetensors"
_MOST_VALUES = 100_000_000

Images = Mapping[str, NDArray[np.uint8]]


class Replayable(Protocol):
    """What is asked of a policy here: `SmolVLAPolicy`, which itself replays its golden input while it is loaded."""

    @property
    def config(self) -> SmolVLAConfig: ...

    @property
    def engine(self) -> Any: ...

    def predict(
        self, images: Images, state: NDArray[np.float32], instruction: str, noise: NDArray[np.float32] | None = None
    ) -> Any: ...


def record_golden(
    policy: Replayable, folder: Path, images: Images, state: NDArray[np.float32], instruction: str, seed: int = 0
) -> None:
    """Writes the golden input of the checkpoint in `folder`, which `policy` was loaded from in float32 on a CPU."""
    shape = (policy.config.chunk_size, policy.config.max_action_dim)
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    found = policy.predict(images, state, instruction, noise)
    tensors = {f"images.{name}": torch.from_numpy(image.copy()) for name, image in images.items()}
    arrays = {"state": state, "noise": noise, "normalised": found.normalised}
    tensors |= {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    save_file(tensors, folder / GOLDEN_FILE, metadata={"instruction": instruction})


def replay_golden(policy: Replayable, folder: Path, dtype: str) -> float | None:
    """The largest difference from the golden actions, normalised; None if the checkpoint has no golden input.

    Raises:
        CheckpointError: the policy gives other actions, or the file does not belong to it.
    """
    path = folder / GOLDEN_FILE
    if not os.path.lexists(path):
        return None
    images, stored, instruction = _read(path)
    try:
        found = policy.predict(images, stored["state"], instruction, stored["noise"]).normalised
        difference = float(np.abs(found - stored["normalised"]).max())
    except (KeyError, ValueError) as error:
        reason = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
        raise CheckpointError(
            f"{path} does not belong to this checkpoint ({reason}); delete it or copy both again"
        ) from error
    if not difference <= TOLERANCE[dtype]:
        raise CheckpointError(
            f"{path}: the stored observation gives actions that differ by {difference:.3g} (normalised), expected at "
            f"most {TOLERANCE[dtype]:g}; weights, statistics or tokenizer were changed, or this device computes wrong"
        )
    return difference


def fewer_steps(policy: Replayable, folder: Path, counts: Sequence[int] = (10, 5, 3)) -> dict[int, float]:
    """What each number of denoising steps changes on the golden input.

    The largest difference of a normalised action from the stored ones. The policy keeps its own number of steps.
    """
    images, stored, instruction = _read(folder / GOLDEN_FILE)
    own, changes = policy.engine.num_steps, {}
    try:
        for count in counts:
            policy.engine.take_steps(count)
            found = policy.predict(images, stored["state"], instruction, stored["noise"]).normalised
            changes[count] = float(np.abs(found - stored["normalised"]).max())
    finally:
        policy.engine.take_steps(own)
    return changes


def _read(path: Path) -> tuple[dict[str, NDArray[np.uint8]], dict[str, NDArray[np.float32]], str]:
    """Images by camera, all arrays by name, and the instruction; nothing is read that cannot be an observation."""
    with open_safetensors(path) as tensors:
        names = list(tensors.keys())
        values = sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
        types = {str(tensors.get_slice(name).get_dtype()) for name in names}
        if values > _MOST_VALUES or not types <= {"U8", "F32"}:
            raise CheckpointError(
                f"{path} holds {values} values of types {listed(sorted(types))}, expected images and numbers of one "
                "observation; delete it or copy it again"
            )
        stored = {name: tensors.get_tensor(name).numpy().copy() for name in names}
        instruction = (tensors.metadata() or {}).get("instruction", "")
    images = {name.removeprefix("images."): stored[name] for name in stored if name.startswith("images.")}
    return images, stored, instruction
