"""What an arm asks the policy, what it answers, and who answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.policy.continuation import Continuation
from smolvla_ros.robot.observation import Observation, Pictures


@dataclass(frozen=True)
class Question:
    """What to do next, as `arm` asks: its observation, the pictures of it, what it was told, what a chunk continues."""

    arm: str
    observation: Observation
    pictures: Pictures
    instruction: str
    continuation: Continuation | None


@dataclass(frozen=True)
class Predicted:
    """A chunk: `positions` [rows, joints] in rad or m, `normalised` [rows, joints] as the network made it.

    `stage_s` are the seconds of every stage; `inference` is their sum. `frozen_rows` continue the chunk before.
    """

    positions: NDArray[np.float64]
    normalised: NDArray[np.float32]
    stage_s: dict[str, float]
    frozen_rows: int


class ChunkSource(Protocol):
    """Whom the inference loop asks for chunks: a `Predictor`, or what stands for one. The inference thread only."""

    @property
    def rows(self) -> int: ...

    def normalised_state(self, observation: Observation) -> NDArray[np.float32]: ...

    def prepare(self, question: Question) -> Any:
        """What belongs to one question alone; whatever is wrong with it is raised here."""

    def predict(self, prepared: Sequence[Any]) -> list[Predicted]:
        """The chunks of questions that `prepare` made ready, computed together; raises if there is none for one."""


class OneByOne(ABC):
    """A `ChunkSource` that gains nothing from several questions at once."""

    @abstractmethod
    def answer(self, question: Question) -> Predicted:
        """The chunk of one question."""

    def prepare(self, question: Question) -> Question:
        return question

    def predict(self, prepared: Sequence[Question]) -> list[Predicted]:
        return [self.answer(question) for question in prepared]
