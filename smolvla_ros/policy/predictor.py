"""From an observation to a chunk in rad and m: units, noise, guidance, check of the result.

Used by the inference thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.policy.continuation import Continuation
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.observation import Observation, Pictures

# Makes the policy's own description of what a chunk continues (`smolvla_ros.model.Guidance`).
Guide = Callable[[Continuation], Any]


class Policy(Protocol):
    """What is asked of `smolvla_ros.model.SmolVLAPolicy`."""

    def predict(
        self, images: dict[str, NDArray[np.uint8]], state: NDArray[np.float32], instruction: str,
        noise: NDArray[np.float32] | None = None, guidance: Any = None,
    ) -> Any: ...  # fmt: skip

    def normalised_state(self, state: NDArray[np.float32]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Predicted:
    """A chunk: `positions` [rows, joints] in rad or m, `normalised` [rows, joints] as the network made it.

    `stage_s` are the seconds of every stage; `inference` is their sum. `frozen_rows` continue the chunk before.
    """

    positions: NDArray[np.float64]
    normalised: NDArray[np.float32]
    stage_s: dict[str, float]
    frozen_rows: int


class Predictor:
    """Asks the policy.

    Args:
        policy: the network.
        robot: cameras, joints and units.
        rows: how many rows of a chunk are used.
        noise_shape: of the sampler's noise.
        seed: of that noise; None: fresh noise.
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
        self._noise = np.random.default_rng(seed)
        self._guide = guide

    def normalised_state(self, observation: Observation) -> NDArray[np.float32]:
        """The joint positions [joints] as the network sees them."""
        return self._policy.normalised_state(self._state(observation))

    def predict(
        self, observation: Observation, pictures: Pictures, instruction: str, continuation: Continuation | None
    ) -> Predicted:
        """One chunk from an observation and its pictures.

        Raises:
            FloatingPointError: the policy returned something that is not finite. Whatever the policy itself raises.
        """
        start_s = time.perf_counter()
        images = {self._features[name]: image for name, image in pictures.images.items()}
        noise = self._noise.standard_normal(self._noise_shape, dtype=np.float32)
        guidance = self._guide(continuation) if self._guide and continuation else None
        state = self._state(observation)
        prediction = self._policy.predict(images, state, instruction, noise=noise, guidance=guidance)
        positions = self._robot.to_ros_units(prediction.actions[: self.rows])
        if not np.isfinite(positions).all():
            raise FloatingPointError("the policy returned actions that are not finite")
        seconds = pictures.decode_s + time.perf_counter() - start_s
        stage_s = {"decode": pictures.decode_s, **prediction.stage_s, "inference": seconds}
        frozen_rows = continuation.delay if self._guide and continuation else 0
        return Predicted(positions, prediction.normalised[: self.rows], stage_s, frozen_rows)

    def _state(self, observation: Observation) -> NDArray[np.float32]:
        return self._robot.to_policy_units(observation.positions).astype(np.float32)
