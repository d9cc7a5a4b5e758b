"""From observations to chunks in rad and m: units, noise, guidance, check of the result.

Used by the inference thread only.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.policy.continuation import Continuation
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.observation import Observation

from .questions import Predicted, Question

# Makes the policy's own description of what a chunk continues (`smolvla_ros.model.Guidance`).
Guide = Callable[[Continuation], Any]


class Policy(Protocol):
    """What is asked of `smolvla_ros.model.SmolVLAPolicy`."""

    def prepare(
        self, images: dict[str, NDArray[np.uint8]], state: NDArray[np.float32], instruction: str,
        noise: NDArray[np.float32] | None = None, guidance: Any = None,
    ) -> Any: ...  # fmt: skip

    def predict_together(self, questions: Sequence[Any]) -> list[Any]: ...

    def normalised_state(self, state: NDArray[np.float32]) -> NDArray[np.float32]: ...


class _Prepared(NamedTuple):
    question: Any  # the policy's own
    decode_s: float
    prepare_s: float
    frozen_rows: int


class Predictor:
    """Asks the policy, for any number of arms that are built alike.

    Args:
        policy: the network.
        robot: cameras, joints and units.
        rows: how many rows of a chunk are used.
        noise_shape: of the sampler's noise.
        seed: of that noise, which every arm draws as if it were alone; None: fresh noise.
        guide: how chunks are made to continue the one before; None: they are not.
    """

    def __init__(
        self,
        policy: Policy,
        robot: RobotConfig,
        *,
        rows: int,
        noise_shape: tuple[int, int],
        seed: int | None = None,
        guide: Guide | None = None,
    ):
        self.rows = rows
        self._policy = policy
        self._robot = robot
        self._features = {camera.name: camera.feature for camera in robot.cameras}
        self._noise_shape = noise_shape
        self._noise: defaultdict[str, np.random.Generator] = defaultdict(lambda: np.random.default_rng(seed))
        self._guide = guide

    def normalised_state(self, observation: Observation) -> NDArray[np.float32]:
        """The joint positions [joints] as the network sees them."""
        return self._policy.normalised_state(self._state(observation))

    def prepare(self, question: Question) -> _Prepared:
        """One question as the network takes it. Raises whatever the policy finds wrong with it."""
        start_s = time.perf_counter()
        images = {self._features[name]: image for name, image in question.pictures.images.items()}
        noise = self._noise[question.arm].standard_normal(self._noise_shape, dtype=np.float32)
        continuation = question.continuation if self._guide else None
        prepared = self._policy.prepare(
            images, self._state(question.observation), question.instruction, noise=noise,
            guidance=self._guide(continuation) if self._guide and continuation else None,
        )  # fmt: skip
        frozen_rows = continuation.delay if continuation else 0
        return _Prepared(prepared, question.pictures.decode_s, time.perf_counter() - start_s, frozen_rows)

    def predict(self, prepared: Sequence[_Prepared]) -> list[Predicted]:
        """A chunk for each question.

        Raises:
            FloatingPointError: the policy returned something that is not finite. Whatever the policy itself raises.
        """
        start_s = time.perf_counter()
        predictions = self._policy.predict_together([one.question for one in prepared])
        found = [self._robot.to_ros_units(prediction.actions[: self.rows]) for prediction in predictions]
        if not all(np.isfinite(positions).all() for positions in found):
            raise FloatingPointError("the policy returned actions that are not finite")
        together_s = time.perf_counter() - start_s
        return [
            Predicted(
                positions,
                prediction.normalised[: self.rows],
                {
                    "decode": one.decode_s,
                    **prediction.stage_s,
                    "inference": one.decode_s + one.prepare_s + together_s,
                },
                one.frozen_rows,
            )
            for one, prediction, positions in zip(prepared, predictions, found, strict=True)
        ]

    def _state(self, observation: Observation) -> NDArray[np.float32]:
        return self._robot.to_policy_units(observation.positions).astype(np.float32)
