"""The policy's side in virtual time: the node's inference loop, whose answers are there when a latency has passed.

An inference takes no virtual time by itself. While the loop handles it, its clocks stand at the instant at which the
answer would be there; afterwards time goes on from the question. One thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.policy.asker import Asker
from smolvla_ros.policy.loop import InferenceLoop
from smolvla_ros.policy.loop_types import LoopClocks, LoopSettings, LoopState, ObservationSource, SentChunk
from smolvla_ros.policy.questions import ChunkSource, Predicted, Question
from smolvla_ros.policy.requests import ExecutionView, RequestPolicy
from smolvla_ros.robot.observation import Observation

from .clock import VirtualClock

# From the (observation, prediction) of those that are answered together to the time [ns] between the question and the
# moment at which their chunks are there.
Latency = Callable[[Sequence[tuple[Observation, Predicted]]], int]


class VirtualSide(NamedTuple):
    """What an `Asker` of one arm is made of."""

    name: str
    buffer: ObservationSource
    requests: RequestPolicy
    settings: LoopSettings


class _UnderWay(NamedTuple):
    due_ns: int
    chunk: SentChunk


class VirtualAsker:
    """One arm's side of a `VirtualPolicy`. `reports` is what it told."""

    def __init__(self, policy: VirtualPolicy, side: VirtualSide, source: ChunkSource, clocks: LoopClocks):
        self.settings = side.settings
        self.reports: list[tuple[LoopState, str]] = []
        self.under_way: list[_UnderWay] = []
        self._policy = policy
        self.asker = Asker(
            side.name, source, side.buffer, side.requests, side.settings, clocks,
            publish=self._send, report=lambda state, text: self.reports.append((state, text)),
        )  # fmt: skip

    @property
    def state(self) -> tuple[LoopState, str]:
        """What was reported last."""
        return self.asker.state

    def instruct(self, text: str) -> None:
        """The instruction from now on; without one, the inference under way gives no chunk."""
        self.asker.set_instruction(text)
        if not text:
            self.under_way.clear()

    def hear(self, status: ExecutionView | None) -> None:
        """What the controller executes, by the clock as it is now."""
        self._policy.loop.watch_clock()
        self.asker.set_status(status)

    def look(self) -> None:
        """See `VirtualPolicy.look`."""
        self._policy.look()

    @property
    def busy(self) -> bool:
        """Whether an inference still runs."""
        return self._policy.busy

    def take_arrived(self) -> list[SentChunk]:
        """The chunks that are there by now, oldest first; each once."""
        now_ns = self._policy.clock.steady_ns
        arrived = sorted((item for item in self.under_way if item.due_ns <= now_ns), key=lambda item: item.due_ns)
        self.under_way = [item for item in self.under_way if item.due_ns > now_ns]
        return [item.chunk for item in arrived]

    def _send(self, chunk: SentChunk) -> None:
        self.under_way.append(_UnderWay(self._policy.due_ns, chunk))


class VirtualPolicy:
    """Asks its source as the policy node would.

    Args:
        clock: driven by whoever owns this.
        source: of the `InferenceLoop`.
        sides: the arms.
        latency: how long an answer takes; called once per inference. Also lets the caller see what was predicted.
        max_batch: of the `InferenceLoop`.

    `arms` are their sides in the given order.
    """

    def __init__(
        self, clock: VirtualClock, source: ChunkSource, sides: Sequence[VirtualSide], latency: Latency,
        max_batch: int = 1,
    ):  # fmt: skip
        self.clock = clock
        self._source = source
        self._latency = latency
        self._late_ns = 0
        clocks = LoopClocks(
            lambda: clock.ros_ns + round(self._late_ns * clock.rate),
            lambda: (clock.steady_ns + self._late_ns) * 1e-9,
        )
        self.arms = [VirtualAsker(self, side, self, clocks) for side in sides]
        self.loop = InferenceLoop(self, [arm.asker for arm in self.arms], clocks, max_batch)

    @property
    def due_ns(self) -> int:
        """When the answer that is handled now would be there, on the steady clock."""
        return self.clock.steady_ns + self._late_ns

    @property
    def busy(self) -> bool:
        """Whether an inference still runs."""
        return any(item.due_ns > self.clock.steady_ns for arm in self.arms for item in arm.under_way)

    def look(self) -> None:
        """A moment at which the node would look whether to infer, unless it still does."""
        if not self.busy:
            self.loop.step()
            self._late_ns = 0

    # What the loop takes for its source.

    @property
    def rows(self) -> int:
        return self._source.rows

    def normalised_state(self, observation: Observation) -> NDArray[np.float32]:
        return self._source.normalised_state(observation)

    def prepare(self, question: Question) -> tuple[Observation, Any]:
        return question.observation, self._source.prepare(question)

    def predict(self, prepared: Sequence[tuple[Observation, Any]]) -> list[Predicted]:
        """Infers, and sets the loop's clocks to when the result is there."""
        found = self._source.predict([content for _, content in prepared])
        observations = [observation for observation, _ in prepared]
        self._late_ns += self._latency(list(zip(observations, found, strict=True)))
        return found


def lone_arm(
    clock: VirtualClock,
    source: ChunkSource,
    buffer: ObservationSource,
    requests: RequestPolicy,
    settings: LoopSettings,
    latency: Latency,
) -> VirtualAsker:
    """The side of the only arm of a policy."""
    return VirtualPolicy(clock, source, [VirtualSide("", buffer, requests, settings)], latency).arms[0]
