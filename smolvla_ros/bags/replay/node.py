"""The policy node that a replay asks, and the controller that executes what it says, in virtual time. One thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from smolvla_ros.execution.chunk import Rejection
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.policy.loop_types import LoopState
from smolvla_ros.policy.questions import Predicted
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.observation import Observation, ObservationBuffer, Pictures
from smolvla_ros.virtual.clock import VirtualClock
from smolvla_ros.virtual.policy import lone_arm
from smolvla_ros.virtual.stack import VirtualStack

from .motion import ReplayedMotion, open_settings
from .result import BagFinding, RecordedChunk, ReplayedChunk, Seams, Skipped
from .schedule import Latency

_SESSION = 1
# Both nodes were there before the part that is replayed.
_BEFORE_NS = 10**9


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


class ReplayedNodes:
    """Decides, infers and executes like the live nodes.

    Args:
        setup: what the policy node is made of.
        buffer: where its messages go.
        latency: when its chunks arrive.
        on_demand: it infers whenever it is asked to, instead of by the request rule.
        start_ns: when the replay begins.

    `chunks` (still without references), `skipped`, `findings` and `stage_s` are what it did.
    """

    def __init__(self, setup: Setup, buffer: ObservationBuffer, latency: Latency, on_demand: bool, start_ns: int):
        self.chunks: list[ReplayedChunk] = []
        self.skipped: list[Skipped] = []
        self.stage_s: dict[str, list[float]] = {}
        self.motion = ReplayedMotion(len(setup.robot.joints), setup.step_ns)
        self._latency = latency
        self._instruction = ""
        self._recorded: RecordedChunk | None = None
        self._step_ns = setup.step_ns
        self._clock = VirtualClock(start_ns - _BEFORE_NS)
        self._buffer = _Watched(buffer)
        self._predictor = policy_setup.predictor(setup.parameters, setup.policy, setup.robot)
        settings = policy_setup.loop_settings(setup.parameters, _SESSION)
        requests = policy_setup.request_policy(setup.parameters)
        self._rest = np.zeros(len(setup.robot.joints))
        if on_demand:
            settings = replace(settings, needs_status=False, min_change=0.0, hold_and_go=False, retry_backoff_s=0.0)
            requests = RequestPolicy("continuous")
        side = lone_arm(self._clock, self._predictor, self._buffer, requests, settings, self._answer)
        self._stack = VirtualStack(
            self._clock, open_settings(setup.robot.joint_names, setup.step_ns / 1e9), side
        )
        self._stack.measure(self._rest)
        self._clock.advance_to(start_ns)

    @property
    def rows(self) -> int:
        """Of a chunk."""
        return self._predictor.rows

    @property
    def findings(self) -> list[BagFinding]:
        """What is to be said of the policy."""
        slow = [text for state, text in self._stack.policy.reports if state is LoopState.TOO_SLOW]
        return [BagFinding("slow_policy", "warning", f"{text[0].upper()}{text[1:]}.") for text in slow[:1]]

    def instruct(self, text: str) -> None:
        """An instruction came; an empty one ends motion."""
        self._instruction = text
        self._stack.instruct(text)

    @property
    def busy(self) -> bool:
        """Whether an inference still runs."""
        return self._stack.policy.busy

    def move_to(self, now_ns: int) -> None:
        """Time passes; chunks that are there by then reach the controller."""
        self._clock.advance_to(now_ns)
        self._stack.deliver()

    def ask(self, recorded: RecordedChunk | None = None) -> None:
        """A moment at which the live node would look whether to infer; `recorded` is the chunk to be repeated."""
        self._recorded = recorded
        self._buffer.problem = ""
        self._stack.look()
        state, text = self._stack.policy.state
        if not self._instruction:
            self._skip("instruction", text)
        elif self._buffer.problem:
            self._skip("observation", self._buffer.problem)
        elif state in (LoopState.FAILING, LoopState.GIVEN_UP):
            self._skip("inference", text)

    def execute(self) -> None:
        """Executes the row of this tick."""
        self._stack.measure(self._rest)
        command = self._stack.command()
        status = self._stack.controller.status()
        rows = self.chunks[status.sequence - 1].positions if status.sequence else None
        self.motion.add(self._clock.ros_ns, command, status, rows, bool(self._instruction))

    def seams(self) -> Seams:
        """How one chunk went over into the next."""
        return self.motion.seams(self._stack.refused[Rejection.EXPIRED])

    def _answer(self, answers: Sequence[tuple[Observation, Predicted]]) -> int:
        """Keeps an answer of the policy; how long it takes [ns]."""
        ((observation, predicted),) = answers
        for stage, seconds in predicted.stage_s.items():
            self.stage_s.setdefault(stage, []).append(seconds)
        now_ns, inference_s = self._clock.ros_ns, predicted.stage_s["inference"]
        usable_ns = self._latency.usable_ns(now_ns, observation.stamp_ns, inference_s, self._recorded)
        self.chunks.append(
            ReplayedChunk(
                requested_ns=now_ns,
                stamp_ns=observation.stamp_ns,
                image_stamp_ns=observation.image_stamp_ns,
                start_ns=observation.stamp_ns,
                usable_ns=usable_ns,
                instruction=self._instruction,
                state=observation.positions,
                positions=predicted.positions,
                reference=np.full_like(predicted.positions, np.nan),
                frozen_rows=predicted.frozen_rows,
                inference_s=inference_s,
                recorded=self._recorded,
            )
        )
        return usable_ns - now_ns

    def _skip(self, kind: Any, reason: str) -> None:
        last = self.skipped[-1] if self.skipped else None
        now_ns = self._clock.ros_ns
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

    def clear(self) -> None:
        self._buffer.clear()
