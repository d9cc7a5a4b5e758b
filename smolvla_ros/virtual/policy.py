"""The policy's side in virtual time: the node's inference loop, whose answers are there when a latency has passed.

An inference takes no virtual time by itself. While the loop handles it, its clocks stand at the instant at which the
answer would be there; afterwards time goes on from the question. One thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.policy.continuation import Continuation
from smolvla_ros.policy.loop import InferenceLoop
from smolvla_ros.policy.loop_types import ChunkSource, LoopSettings, LoopState, ObservationSource, SentChunk
from smolvla_ros.policy.predictor import Predicted
from smolvla_ros.policy.requests import ExecutionView, RequestPolicy
from smolvla_ros.robot.observation import Observation, Pictures

from .clock import VirtualClock

# From (observation, prediction) to the time [ns] between the question and the moment at which its chunk is there.
Latency = Callable[[Observation, Predicted], int]


class _UnderWay(NamedTuple):
    due_ns: int
    chunk: SentChunk


class VirtualPolicy:
    """Asks its predictor as the policy node would.

    Args:
        clock: driven by whoever owns this.
        predictor, buffer, requests, settings: of the `InferenceLoop`.
        latency: how long an answer takes; called once per inference. Also lets the caller see what was predicted.
    """

    def __init__(
        self,
        clock: VirtualClock,
        predictor: ChunkSource,
        buffer: ObservationSource,
        requests: RequestPolicy,
        settings: LoopSettings,
        latency: Latency,
    ):
        self.reports: list[tuple[LoopState, str]] = []
        self._clock = clock
        self._predictor = predictor
        self._latency = latency
        self._late_ns = 0
        self._under_way: list[_UnderWay] = []
        self._loop = InferenceLoop(
            self, buffer, requests, settings,
            clock_ns=lambda: clock.ros_ns + round(self._late_ns * clock.rate),
            steady_s=lambda: (clock.steady_ns + self._late_ns) * 1e-9,
            publish=self._send, report=lambda state, text: self.reports.append((state, text)),
        )  # fmt: skip

    @property
    def state(self) -> tuple[LoopState, str]:
        """What the loop reported last."""
        return self._loop.state

    def instruct(self, text: str) -> None:
        """The instruction from now on; without one, the inference under way gives no chunk."""
        self._loop.set_instruction(text)
        if not text:
            self._under_way.clear()

    def look(self, status: ExecutionView | None) -> None:
        """A moment at which the node would look whether to infer, unless it still does."""
        self._late_ns = 0
        self._loop.watch_clock()
        self._loop.set_status(status)
        if not self.busy:
            self._loop.step()
            self._late_ns = 0

    @property
    def busy(self) -> bool:
        """Whether an inference still runs."""
        return any(item.due_ns > self._clock.steady_ns for item in self._under_way)

    def take_arrived(self) -> list[SentChunk]:
        """The chunks that are there by now, oldest first; each once."""
        now_ns = self._clock.steady_ns
        arrived = sorted((item for item in self._under_way if item.due_ns <= now_ns), key=lambda item: item.due_ns)
        self._under_way = [item for item in self._under_way if item.due_ns > now_ns]
        return [item.chunk for item in arrived]

    # What the loop takes for its predictor.

    @property
    def rows(self) -> int:
        return self._predictor.rows

    def normalised_state(self, observation: Observation) -> NDArray[np.float32]:
        return self._predictor.normalised_state(observation)

    def predict(
        self, observation: Observation, pictures: Pictures, instruction: str, continuation: Continuation | None
    ) -> Predicted:
        """Infers, and sets the loop's clocks to when the result is there."""
        predicted = self._predictor.predict(observation, pictures, instruction, continuation)
        self._late_ns = self._latency(observation, predicted)
        return predicted

    def _send(self, chunk: SentChunk) -> None:
        self._under_way.append(_UnderWay(self._clock.steady_ns + self._late_ns, chunk))
