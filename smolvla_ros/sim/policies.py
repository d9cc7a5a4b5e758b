"""Policies for virtual time: the scripted expert, which sees the world, and a checkpoint, which sees its pictures.

Both are what an inference loop asks (`policy.questions.ChunkSource`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.policy.continuation import Continuation
from smolvla_ros.policy.questions import OneByOne, Predicted, Question
from smolvla_ros.robot.observation import Observation

from .expert import ScriptedExpert
from .labels import Labeller, Things
from .task import COLOURS
from .tasks import Asked
from .units import to_checkpoint, to_radians
from .world import CAMERAS, World

if TYPE_CHECKING:
    from smolvla_ros.model import Guidance, PreparedQuestion, SmolVLAPolicy

EXPERT_ROWS = 50
# Enough for the longest latency; labelling costs by the row.
MANIPULATOR_ROWS = 16


class ExpertPolicy(OneByOne):
    """The scripted expert as a policy: exact and deterministic. It goes to the cube whose colour the words name."""

    rows = EXPERT_ROWS

    def __init__(self, world: World) -> None:
        self._world = world
        self._expert = ScriptedExpert()

    def reset(self, seed: int) -> None:
        """There is nothing random in it."""

    def normalised_state(self, observation: Observation) -> NDArray[np.float32]:
        return observation.positions.astype(np.float32)

    def answer(self, question: Question) -> Predicted:
        rows = self.actions(question.observation.positions, question.instruction)
        return Predicted(rows, rows.astype(np.float32), {"inference": 0.0}, 0)

    def actions(self, positions: NDArray[np.float64], instruction: str) -> NDArray[np.float64]:
        """[rows, 6] in rad, from the joint positions [6] on."""
        colour = next(colour for colour in COLOURS if colour in instruction.lower())
        cube = self._world.layout.cube(colour)
        goal = self._expert.goal(self._world.cube_position(colour)[:2], cube.top_m)
        return self._expert.actions(positions, goal, EXPERT_ROWS)


class ManipulatorPolicy(OneByOne):
    """The expert of the scene with plate and bin. It does what it was asked, whatever the words.

    Args:
        noise_rad: deviation of an error that each chunk has on top, the same for all its rows.
    """

    rows = MANIPULATOR_ROWS

    def __init__(self, world: World, noise_rad: float = 0.0, seed: int = 0) -> None:
        self._world, self._noise_rad = world, noise_rad
        self._labeller = Labeller()
        self.ask(Asked("stay"))
        self.reset(seed)

    def ask(self, asked: Asked) -> None:
        self.asked = asked

    def reset(self, seed: int) -> None:
        """The errors start anew from this seed."""
        self._rng = np.random.default_rng(seed)

    def normalised_state(self, observation: Observation) -> NDArray[np.float32]:
        return observation.positions.astype(np.float32)

    def answer(self, question: Question) -> Predicted:
        state = (question.observation.positions, Things.of(self._world))
        rows = self._labeller.chunks([state], [self.asked], self.rows)[0, 0]
        rows = rows + self._rng.normal(0.0, self._noise_rad, 6)
        return Predicted(rows, rows.astype(np.float32), {"inference": 0.0}, 0)


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
        self._noise: defaultdict[str, np.random.Generator] = defaultdict(lambda: np.random.default_rng(seed))

    def ask(self, asked: Asked) -> None:
        """It reads the words."""

    def normalised_state(self, observation: Observation) -> NDArray[np.float32]:
        return self._model.normalised_state(to_checkpoint(observation.positions))

    def prepare(self, question: Question) -> tuple[PreparedQuestion, int]:
        config, continuation = self._model.config, question.continuation if self._guide else None
        prepared = self._model.prepare(
            {f"observation.images.{camera}": question.pictures.images[camera] for camera in CAMERAS},
            to_checkpoint(question.observation.positions),
            question.instruction,
            noise=self._noise[question.arm].standard_normal(
                (config.chunk_size, config.max_action_dim), dtype=np.float32
            ),
            guidance=self._guide(continuation) if self._guide and continuation else None,
        )
        return prepared, continuation.delay if continuation else 0

    def predict(self, prepared: Sequence[tuple[PreparedQuestion, int]]) -> list[Predicted]:
        predictions = self._model.predict_together([question for question, _ in prepared])
        return [
            Predicted(to_radians(prediction.actions), prediction.normalised, {"inference": 0.0}, frozen_rows)
            for prediction, (_, frozen_rows) in zip(predictions, prepared, strict=True)
        ]
