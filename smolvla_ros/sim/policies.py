"""Policies for virtual time: the scripted expert, which sees the world, and a checkpoint, which sees its pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from smolvla_ros.policy.continuation import Continuation

from .expert import ScriptedExpert
from .task import COLOURS
from .units import to_checkpoint, to_radians
from .virtual_time import Prediction
from .world import CAMERAS, World

if TYPE_CHECKING:
    from smolvla_ros.model import Guidance, SmolVLAPolicy

EXPERT_ROWS = 50


class ExpertPolicy:
    """The scripted expert as a policy: exact and deterministic. It goes to the cube whose colour the words name."""

    rows = EXPERT_ROWS

    def __init__(self) -> None:
        self._expert = ScriptedExpert()

    def reset(self, seed: int) -> None:
        """There is nothing random in it."""

    def __call__(self, world: World, instruction: str, continuation: Continuation | None) -> Prediction:
        colour = next(colour for colour in COLOURS if colour in instruction.lower())
        cube = world.layout.cube(colour)
        goal = self._expert.goal(world.cube_position(colour)[:2], cube.top_m)
        rows = self._expert.actions(world.joint_positions(), goal, EXPERT_ROWS)
        return Prediction(rows, rows.astype(np.float32))


class CheckpointPolicy:
    """A SmolVLA checkpoint of the simulated arm.

    Args:
        model: the loaded checkpoint.
        guide: makes of a continuation what the model takes; None: chunks continue nothing.
    """

    def __init__(self, model: SmolVLAPolicy, guide: Callable[[Continuation], Guidance] | None = None):
        self.rows = model.config.chunk_size
        self._model = model
        self._guide = guide
        self.reset(0)

    def reset(self, seed: int) -> None:
        """The sampler's noise starts anew from this seed."""
        self._noise = np.random.default_rng(seed)

    def __call__(self, world: World, instruction: str, continuation: Continuation | None) -> Prediction:
        config = self._model.config
        prediction = self._model.predict(
            {f"observation.images.{camera}": world.render(camera) for camera in CAMERAS},
            to_checkpoint(world.joint_positions()),
            instruction,
            noise=self._noise.standard_normal((config.chunk_size, config.max_action_dim), dtype=np.float32),
            guidance=self._guide(continuation) if self._guide and continuation else None,
        )
        return Prediction(to_radians(prediction.actions), prediction.normalised)
