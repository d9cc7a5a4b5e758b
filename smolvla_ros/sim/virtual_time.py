"""The simulated arm in virtual time: world, policy, request rule and controller in one loop that no clock drives.

One tick is one action period. A policy looks at the world at a tick; the chunk that it makes, however long that really
took, reaches the controller `delay` ticks later. So results depend on nothing but seeds. The request rule, the
continuation of chunks and the controller are the very ones that the nodes run; synchronous execution is the rule of
that name in the same loop. With a delay of 0 the world stands still during inference.

Within a tick: a chunk that is due reaches the controller, then the policy is asked, then the controller commands and
the physics move on, as many times as control periods fit into the tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.execution.chunk import Chunk, ChunkError
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.status import ControllerState, Status
from smolvla_ros.policy.continuation import Continuation, SentChunks
from smolvla_ros.policy.requests import ExecutionView, Requester, RequestPolicy

from .expert import STEP_S
from .world import JOINTS, World

_STEP_NS = round(STEP_S * 1e9)
_START_NS = 10**9
_SESSION = 1


@dataclass(frozen=True)
class Prediction:
    """A chunk: `positions` [rows, 6] in rad, and `normalised` [rows, 6] as a network made it, to be continued."""

    positions: NDArray[np.float64]
    normalised: NDArray[np.float32]


class Policy(Protocol):
    """Looks at the world as it is now and says what to do from now on; row 0 is for this very instant."""

    def __call__(self, world: World, instruction: str, continuation: Continuation | None) -> Prediction: ...


@dataclass(frozen=True)
class Instruction:
    """An instruction and its number, which changes with it."""

    text: str
    id: int


@dataclass(frozen=True)
class Tick:
    """What happened in one tick.

    Attributes:
        tick: its number, from 0.
        remaining_rows: what was left at the end.
        commands: [control steps, 6] in rad; without rows before the first command.
        sequence: number of the chunk being executed, or executed last; 0: none yet.
        observation_tick: when the observation behind that chunk was made; -1: none yet.
        merged: a chunk reached the controller in this tick and was taken.
        idle: there was no row to execute.
    """

    tick: int
    remaining_rows: int
    commands: NDArray[np.float64]
    sequence: int
    observation_tick: int
    merged: bool
    idle: bool


@dataclass(frozen=True)
class _UnderWay:
    due: int
    chunk: Chunk
    instruction_id: int
    normalised: NDArray[np.float32]


class VirtualArm:
    """An arm that has just been switched on.

    Args:
        world: moved on by `step`.
        policy: what looks at it.
        chunk_rows: rows of its chunks.
        settings: of the controller; its period divides the action period.
        requests: when the policy is asked.
        delay: ticks from an observation to its chunk; called once per inference.
        delay_percentile: of the delays so far that real-time chunking plans for; None: chunks continue nothing.
    """

    def __init__(
        self,
        world: World,
        policy: Policy,
        *,
        chunk_rows: int,
        settings: ControllerSettings,
        requests: RequestPolicy,
        delay: Callable[[], int],
        delay_percentile: float | None = None,
    ):
        self.world = world
        self.chunks_refused = 0
        self._policy = policy
        self._requests = requests
        self._delay = delay
        self._control_steps = round(STEP_S / settings.period_s)
        self._controller = Controller(settings)
        self._controller.activate(_START_NS, _START_NS)
        self._requester = Requester(chunk_rows)
        self._sent = None if delay_percentile is None else SentChunks(STEP_S, delay_percentile)
        self._under_way: _UnderWay | None = None
        self._observation_ticks = [-1]  # by sequence number
        self._tick = 0

    def status(self) -> Status:
        """The controller's, at the last control step."""
        return self._controller.status()

    def step(self, instruction: Instruction) -> Tick:
        """One action period under this instruction."""
        now_ns = _START_NS + self._tick * _STEP_NS
        self._controller.receive_joint_positions(self.world.joint_positions(), now_ns, now_ns)
        merged = self._deliver(now_ns)
        view = self._view(now_ns)
        state = self.world.joint_positions().astype(np.float32)
        if self._requester.wants(self._requests, view, instruction.id, state, now_ns * 1e-9):
            self._requester.started(view, instruction.id, state)
            self._infer(instruction, view, now_ns)
            merged = self._deliver(now_ns) or merged
        commands = self._move(now_ns)
        after = self._controller.status()
        self._tick += 1
        return Tick(
            tick=self._tick - 1,
            remaining_rows=after.remaining_rows,
            commands=commands,
            sequence=after.sequence,
            observation_tick=self._observation_ticks[after.sequence],
            merged=merged,
            idle=after.state != ControllerState.FOLLOWING,
        )

    def _view(self, now_ns: int) -> ExecutionView:
        status = self._controller.status()
        # The status is of the last control step; what is left counts from the present tick.
        since_s = (now_ns - status.now_ns) * 1e-9
        return ExecutionView(
            stamp_ns=now_ns,
            accepts_chunks=status.state in (ControllerState.HOLDING, ControllerState.FOLLOWING),
            following=status.state == ControllerState.FOLLOWING,
            session=status.session,
            sequence=status.sequence,
            remaining_rows=status.remaining_rows,
            remaining_s=status.remaining_s - since_s,
            rows_executed=status.rows_executed,
        )

    def _infer(self, instruction: Instruction, view: ExecutionView, now_ns: int) -> None:
        continuation = self._sent.continuation(view, _SESSION, now_ns, instruction.id) if self._sent else None
        prediction = self._policy(self.world, instruction.text, continuation)
        sequence = len(self._observation_ticks)
        self._observation_ticks.append(self._tick)
        chunk = Chunk(_SESSION, sequence, now_ns, _STEP_NS, prediction.positions)
        self._under_way = _UnderWay(self._tick + self._delay(), chunk, instruction.id, prediction.normalised)

    def _deliver(self, now_ns: int) -> bool:
        arriving = self._under_way
        if arriving is None or arriving.due > self._tick:
            return False
        self._under_way = None
        self._requester.sent(_SESSION, arriving.chunk.sequence, now_ns * 1e-9)
        if self._sent is not None:
            latency_s = (now_ns - arriving.chunk.stamp_ns) * 1e-9
            self._sent.add(arriving.chunk.sequence, arriving.instruction_id, arriving.normalised, latency_s)
        try:
            self._controller.receive_chunk(arriving.chunk, now_ns, now_ns)
        except ChunkError:
            self.chunks_refused += 1
            self._requester.failed()
            return False
        return True

    def _move(self, now_ns: int) -> NDArray[np.float64]:
        sent = []
        for step in range(self._control_steps):
            at_ns = now_ns + step * _STEP_NS // self._control_steps
            command = self._controller.step(at_ns, at_ns)
            if command is not None:
                self.world.set_targets(command.positions)
                sent.append(command.positions)
            self.world.step(STEP_S / self._control_steps)
        return np.array(sent).reshape(len(sent), len(JOINTS))
