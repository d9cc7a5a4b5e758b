"""The policy node in virtual time: its own inference loop, whose clock is driven and whose chunks arrive later.

An inference takes no time here; instead the clock stands at the end of its latency when the chunk is handed over. One
thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.execution.chunk import Chunk
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.policy.continuation import Continuation
from smolvla_ros.policy.loop import InferenceLoop, LoopState, SentChunk
from smolvla_ros.policy.predictor import Predicted
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.observation import Observation, ObservationBuffer, Pictures

from .result import Finding, RecordedChunk, ReplayedChunk, Skipped
from .schedule import Latency
from .virtual_execution import VirtualExecution

_SESSION = 1


@dataclass(frozen=True)
class Setup:
    """The node that is replayed: robot, the policy node's parameters, and the loaded policy.

    `checkpoint` and `robot_config` are what the user calls them.
    """

    robot: RobotConfig
    parameters: PolicyParameters
    policy: Any
    checkpoint: str
    robot_config: str

    @property
    def step_ns(self) -> int:
        """Time between two rows of a chunk."""
        return round(self.parameters.step_s * 1e9)


class VirtualNode:
    """Decides and infers like the live node.

    Args:
        setup: what the node is made of.
        buffer: where its messages go.
        execution: gets its chunks.
        latency: when they arrive.
        on_demand: it infers whenever it is asked to, instead of by the request rule.

    `chunks` (still without references), `skipped`, `findings` and `stage_s` are what it did.
    """

    def __init__(
        self, setup: Setup, buffer: ObservationBuffer, execution: VirtualExecution, latency: Latency, on_demand: bool
    ):
        self.chunks: list[ReplayedChunk] = []
        self.skipped: list[Skipped] = []
        self.findings: list[Finding] = []
        self.stage_s: dict[str, list[float]] = {}
        self._execution = execution
        self._latency = latency
        self._now_ns = self._requested_ns = 0
        self._instruction = ""
        self._recorded: RecordedChunk | None = None
        self._observed: Observation | None = None
        self._step_ns = setup.step_ns
        self._buffer = _Watched(buffer)
        self._predictor = policy_setup.predictor(setup.parameters, setup.policy, setup.robot)
        settings = policy_setup.loop_settings(setup.parameters, _SESSION)
        requests = policy_setup.request_policy(setup.parameters)
        if on_demand:
            settings = replace(settings, needs_status=False, min_change=0.0, hold_and_go=False, retry_backoff_s=0.0)
            requests = RequestPolicy("continuous")
        self._loop = InferenceLoop(
            self, self._buffer, requests, settings,  # type: ignore[arg-type]
            clock_ns=lambda: self._now_ns, steady_s=lambda: self._now_ns * 1e-9,
            publish=self._publish, report=self._report,
        )  # fmt: skip

    def instruct(self, text: str, now_ns: int) -> None:
        """An instruction came; an empty one ends motion."""
        self._instruction = text
        self._loop.set_instruction(text)
        self._execution.instruct(text, now_ns)

    def ask(self, now_ns: int, recorded: RecordedChunk | None = None) -> None:
        """A moment at which the live node would look whether to infer; `recorded` is the chunk to be repeated."""
        self._now_ns = self._requested_ns = now_ns
        self._recorded = recorded
        self._buffer.problem = ""
        self._loop.set_status(self._execution.view(_SESSION, now_ns))
        self._loop.step()
        state, text = self._loop.state
        if not self._instruction:
            self._skip("instruction", text)
        elif self._buffer.problem:
            self._skip("observation", self._buffer.problem)
        elif state in (LoopState.FAILING, LoopState.GIVEN_UP):
            self._skip("inference", text)

    # What the loop takes for its predictor.

    @property
    def rows(self) -> int:
        return self._predictor.rows

    def normalised_state(self, observation: Observation) -> NDArray[np.float32]:
        return self._predictor.normalised_state(observation)

    def predict(
        self, observation: Observation, pictures: Pictures, instruction: str, continuation: Continuation | None
    ) -> Predicted:
        """Infers, and sets the clock to when the result is there."""
        predicted = self._predictor.predict(observation, pictures, instruction, continuation)
        for stage, seconds in predicted.stage_s.items():
            self.stage_s.setdefault(stage, []).append(seconds)
        self._now_ns = self._latency.usable_ns(
            self._requested_ns, observation.stamp_ns, predicted.stage_s["inference"], self._recorded
        )
        self._observed = observation
        return predicted

    # What the loop calls.

    def _publish(self, sent: SentChunk) -> None:
        assert self._observed is not None, "a chunk is predicted before it is sent"
        self._execution.send(
            Chunk(
                _SESSION, sent.sequence, sent.stamp_ns, self._step_ns, sent.positions, sent.frozen_rows,
                sent.image_stamp_ns,
            ),
            self._now_ns,
        )
        self.chunks.append(
            ReplayedChunk(
                requested_ns=self._requested_ns,
                stamp_ns=sent.stamp_ns,
                image_stamp_ns=sent.image_stamp_ns,
                start_ns=sent.stamp_ns,
                usable_ns=self._now_ns,
                instruction=sent.instruction.text,
                state=self._observed.positions,
                positions=sent.positions,
                reference=np.full_like(sent.positions, np.nan),
                frozen_rows=sent.frozen_rows,
                inference_s=sent.inference_s,
                recorded=self._recorded,
            )
        )

    def _report(self, state: LoopState, text: str) -> None:
        if state is LoopState.TOO_SLOW and not self.findings:
            self.findings.append(Finding("slow_policy", "warning", f"{text[0].upper()}{text[1:]}."))

    def _skip(self, kind: Any, reason: str) -> None:
        last = self.skipped[-1] if self.skipped else None
        now_ns = self._requested_ns
        if last and (last.kind, last.reason) == (kind, reason) and now_ns - last.last_ns <= 2 * self._step_ns:
            self.skipped[-1] = replace(last, last_ns=now_ns, instants=last.instants + 1)
        else:
            self.skipped.append(Skipped(kind, now_ns, now_ns, 1, reason))


class _Watched:
    """The buffer of the loop, which keeps why it had nothing to give when it was asked last."""

    def __init__(self, buffer: ObservationBuffer):
        self.problem = ""
        self._buffer = buffer

    def take(self, now_ns: int) -> tuple[Observation | None, str]:
        observation, self.problem = self._buffer.take(now_ns)
        return observation, self.problem

    def decode(self, observation: Observation) -> tuple[Pictures | None, str]:
        pictures, self.problem = self._buffer.decode(observation)
        return pictures, self.problem
