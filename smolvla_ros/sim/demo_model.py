"""Sizes, tokenizer and statistics of the demo policy: a SmolVLA small enough to train and run on two cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from smolvla_ros.model import SmolVLAConfig, SmolVLAPolicy, TextConfig, VisionConfig
from smolvla_ros.model.checkpoint.golden import record_golden
from smolvla_ros.model.tokenizer_training import train_word_tokenizer

from .dataset import CHUNK_STEPS, LabelledStates
from .task import COLOURS
from .tasks import TASKS
from .units import to_checkpoint
from .world import CAMERAS, JOINTS, PICTURE_SIZE, World

IMAGE_FEATURES = tuple(f"observation.images.{camera}" for camera in CAMERAS)
VALUE_NAMES = tuple(f"{joint}.pos" for joint in JOINTS)

_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
# Statistics need no more samples than these.
_IMAGE_SAMPLES = 500
# The wrist hardly rolls; scaled up to a deviation of 1, its noise would count as much as every other joint's way.
_LEAST_STD = 2.0


def demo_config(vocab_size: int) -> SmolVLAConfig:
    """Two pictures of 96 x 96 become 16 tokens each; four layers of language model and expert."""
    height, width = PICTURE_SIZE
    return SmolVLAConfig(
        vision=VisionConfig(
            hidden_size=64, intermediate_size=256, num_layers=3, num_heads=4, image_size=width, patch_size=12
        ),
        text=TextConfig(
            hidden_size=96, intermediate_size=256, num_layers=4, num_heads=3, num_kv_heads=3, head_dim=32,
            vocab_size=vocab_size,
        ),
        scale_factor=2,
        image_features=IMAGE_FEATURES,
        state_dim=len(JOINTS),
        action_dim=len(JOINTS),
        chunk_size=CHUNK_STEPS,
        n_action_steps=CHUNK_STEPS,
        image_size_wh=(width, height),
        num_vlm_layers=4,
        expert_width_multiplier=1.0,
    )  # fmt: skip


def known_words() -> list[str]:
    """Every word of the instructions that the policy is trained on, misspelt and made-up ones apart."""
    return sorted(frozenset(COLOURS).union(*(task.words for task in TASKS.values())))


def demo_tokenizer() -> Tokenizer:
    """Every word of the tasks is one token: spelled words never came to mean anything in training."""
    return train_word_tokenizer(known_words())


def statistics(samples: LabelledStates) -> dict[str, dict[str, torch.Tensor]]:
    """Statistics of every feature as LeRobot keeps them, in the checkpoint's units; images in [0, 1] by channel."""
    found = {
        "observation.state": _statistics(to_checkpoint(samples.states)),
        "action": _statistics(to_checkpoint(samples.actions[:, ::3]).reshape(-1, len(JOINTS))),
    }
    for values in found.values():
        values["std"] = values["std"].clamp(min=_LEAST_STD)
    for index, feature in enumerate(IMAGE_FEATURES):
        pixels = samples.images[:_IMAGE_SAMPLES, index].reshape(-1, 3) / np.float32(255.0)
        found[feature] = {
            name: value if name == "count" else value.reshape(3, 1, 1) for name, value in _statistics(pixels).items()
        }
    return found


def _statistics(values: NDArray[np.floating]) -> dict[str, torch.Tensor]:
    """values [N, D] -> mean, std, min, max and quantiles [D], count [1]."""
    computed = {
        "mean": values.mean(0, dtype=np.float64),
        "std": values.std(0, dtype=np.float64),
        "min": values.min(0),
        "max": values.max(0),
        "count": np.array([len(values)]),
    } | dict(zip(_QUANTILES, np.quantile(values, list(_QUANTILES.values()), axis=0), strict=True))
    return {name: torch.tensor(np.asarray(value), dtype=torch.float32) for name, value in computed.items()}


def record_golden_scene(folder: Path) -> None:
    """Stores one scene with the actions that the finished checkpoint in `folder` gives for it, see `golden`."""
    world = World(seed=1, scene="pick_place")
    images = {feature: world.render(camera) for feature, camera in zip(IMAGE_FEATURES, CAMERAS, strict=True)}
    state = to_checkpoint(world.joint_positions()).astype(np.float32)
    world.close()
    record_golden(SmolVLAPolicy.from_checkpoint(folder), folder, images, state, f"touch the {COLOURS[0]} cube")


def model_card(samples: int, step: int) -> str:
    """README.md of the checkpoint."""
    return f"""# Demo policy of smolvla_ros

A SmolVLA of about one million parameters for the simulated SO-101 of this package. It touches, picks up and places the
red, green, blue or yellow cube, as the instruction says: "touch the red cube", "put the blue block on the plate".

* Inputs: `observation.images.front`, `observation.images.wrist` (RGB, 96 x 96), `observation.state` (6 joints; degrees,
  gripper 0 to 100), an instruction in English. The words that it knows are listed in `smolvla_ros.json`.
* Output: chunks of {CHUNK_STEPS} actions at 30 per second, same units.
* Made by `smolvla-ros train-demo` from {samples} simulated samples in {step} steps, from scratch.

It knows this scene only and is of no use on a real arm.
"""
