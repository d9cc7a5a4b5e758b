"""When the policy asks for its next chunk: decided by what was really executed, never by a clock of its own.

Pure and without locks: the policy node calls it from its inference thread with the latest execution status.
Rules and their analysis: SmolVLA paper (arXiv 2506.01844), algorithm 1; docs/explanation/execution.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.execution.status import ControllerState

RULES = ("synchronous", "threshold", "every_n", "continuous")


@dataclass(frozen=True)
class RequestPolicy:
    """Decides whether the next inference starts now.

    Whatever the rule, at most one inference is in flight, and a queue that ran empty always asks: no rule can
    leave the arm without a chunk for good.

    Attributes:
        rule: 'synchronous' looks at nothing, not even a new instruction, until no row is left (threshold 0);
            'threshold' asks when less than that fraction of the chunk is left; 'every_n' after that many executed
            rows; 'continuous' as soon as the last one is done. The last three answer a new instruction at once.
        threshold: fraction g of a chunk, in [0, 1]; starvation-free needs g >= latency / (rows * step).
        every_n: executed rows between two requests, at least 1.
    """

    rule: str = "threshold"
    threshold: float = 0.5
    every_n: int = 10

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"request rule is {self.rule!r}, expected one of {', '.join(RULES)}")
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"request threshold is {self.threshold}, expected 0 to 1")
        if self.every_n < 1:
            raise ValueError(f"request every_n is {self.every_n}, expected at least 1")

    def slack_s(self, rows: int, step_s: float) -> float:
        """What is left of a chunk when the next is asked for; infinite where the arm holds meanwhile in any case."""
        if self.rule == "synchronous":
            return math.inf
        left = {"threshold": self.threshold * rows, "every_n": rows - self.every_n, "continuous": rows}[self.rule]
        return max(0.0, left) * step_s

    def should_request(
        self,
        *,
        remaining_rows: int,
        chunk_rows: int,
        executed_since_request: int,
        in_flight: bool,
        new_instruction: bool = False,
    ) -> bool:
        """Whether to start the next inference.

        Args:
            remaining_rows: rows that the controller still has to execute (`ExecutionStatus.remaining_rows`).
            chunk_rows: rows of a full chunk.
            executed_since_request: growth of `ExecutionStatus.rows_executed` since the last request.
            in_flight: an inference runs, or its chunk was sent and not yet seen in the status (see `InFlight`).
            new_instruction: the running chunk was made for another instruction.
        """
        if in_flight:
            return False
        if remaining_rows == 0:
            return True
        if self.rule == "synchronous":
            return False
        if new_instruction or self.rule == "continuous":
            return True
        if self.rule == "threshold":
            return remaining_rows < self.threshold * chunk_rows
        return executed_since_request >= self.every_n


class InFlight:
    """Whether a chunk is on its way: from the start of its inference until the controller has answered it.

    Without the second half, a status that was sent before the chunk arrived would ask for the same chunk again.
    A chunk or an answer that is lost stops counting after `timeout_s`, so the arm never waits for good.
    """

    def __init__(self, timeout_s: float = 0.5):
        self._timeout_s = timeout_s
        self._computing = False
        self._awaited: tuple[int, int] | None = None
        self._sent_s = 0.0

    def start(self) -> None:
        """An inference begins."""
        self._computing = True

    def sent(self, session: int, sequence: int, steady_s: float) -> None:
        """Its chunk was published at `steady_s`."""
        self._computing = False
        self._awaited = (session, sequence)
        self._sent_s = steady_s

    def failed(self) -> None:
        """The inference ended without a chunk."""
        self._computing = False

    def answered(self, session: int, sequence: int) -> bool:
        """A status says that this chunk was looked at or is being executed; whether that is the one awaited."""
        if self._awaited is None or session != self._awaited[0] or sequence < self._awaited[1]:
            return False
        self._awaited = None
        return True

    def busy(self, steady_s: float) -> bool:
        """Whether an inference runs or its chunk is still unanswered and not timed out."""
        waiting = self._awaited is not None and steady_s - self._sent_s < self._timeout_s
        return self._computing or waiting


@dataclass(frozen=True)
class ExecutionView:
    """What the controller says it is doing (see ExecutionStatus.msg), as far as asking for chunks goes.

    Attributes:
        stamp_ns: when this was so, on the ROS clock.
        accepts_chunks: it is neither inactive nor stopped.
        following: rows of the chunk `sequence` are being executed.
        session, sequence: the chunk being executed, or executed last; session 0: none.
        last_session, last_sequence, last_refused: the chunk looked at last, and if it was refused; session 0: none.
        remaining_rows, remaining_s: what is left of it; 0 if it is of another session.
        rows_executed: counter since activation.
    """

    stamp_ns: int
    accepts_chunks: bool
    following: bool
    session: int
    sequence: int
    remaining_rows: int
    remaining_s: float
    rows_executed: int
    last_session: int = 0
    last_sequence: int = 0
    last_refused: bool = False

    @classmethod
    def of(cls, status: Any, session: int, stamp_ns: int, last_chunk: tuple[int, int, bool]) -> Self:
        """What the policy of this session makes of a status.

        Args:
            status: an ExecutionStatus or the controller's own; the fields of both have the same names and values.
            session: of the policy.
            stamp_ns: when the status was taken, on the ROS clock.
            last_chunk: session, sequence and refusal of the chunk looked at last.
        """
        mine = status.session == session
        return cls(
            stamp_ns=stamp_ns,
            accepts_chunks=status.state in (ControllerState.HOLDING, ControllerState.FOLLOWING),
            following=status.state == ControllerState.FOLLOWING,
            session=status.session,
            sequence=status.sequence,
            remaining_rows=status.remaining_rows if mine else 0,
            remaining_s=status.remaining_s if mine else 0.0,
            rows_executed=status.rows_executed,
            last_session=last_chunk[0],
            last_sequence=last_chunk[1],
            last_refused=last_chunk[2],
        )


class Requester:
    """Applies a request rule to what the controller reports: one inference in flight, new instructions, the filter.

    Args:
        chunk_rows: rows of a published chunk.
        min_change: the observation filter: a state within this distance (largest difference of any joint, normalised
            units) of the one inferred from last is not worth an inference; 0 switches it off. A new instruction and
            an empty queue ask whatever the state, so the filter delays by one chunk at most.
        timeout_s: a chunk that the controller has not answered after this time counts as lost.
    """

    def __init__(self, chunk_rows: int, min_change: float = 0.0, timeout_s: float = 0.5):
        self._chunk_rows = chunk_rows
        self._min_change = min_change
        self._in_flight = InFlight(timeout_s)
        self._executed = 0
        self._instruction_id = 0
        self._state: NDArray[np.float32] | None = None

    def wants(
        self,
        policy: RequestPolicy,
        view: ExecutionView | None,
        instruction_id: int,
        state: NDArray[np.float32],
        steady_s: float,
    ) -> bool:
        """Whether an inference from the state [joints], normalised, is to start now; `view` None: no controller."""
        if view is not None:
            self._hear(view)
        executed = view.rows_executed if view else 0
        remaining = view.remaining_rows if view else 0
        new_instruction = instruction_id != self._instruction_id
        asked = policy.should_request(
            remaining_rows=remaining,
            chunk_rows=self._chunk_rows,
            # The counter of the controller starts again with its activation.
            executed_since_request=executed - self._executed if executed >= self._executed else executed,
            in_flight=self._in_flight.busy(steady_s),
            new_instruction=new_instruction,
        )
        return asked and (remaining == 0 or new_instruction or self._is_news(state))

    def started(self, view: ExecutionView | None, instruction_id: int, state: NDArray[np.float32]) -> None:
        """An inference begins."""
        self._in_flight.start()
        self._executed = view.rows_executed if view else 0
        self._instruction_id = instruction_id
        self._state = state

    def sent(self, session: int, sequence: int, steady_s: float) -> None:
        """Its chunk was published."""
        self._in_flight.sent(session, sequence, steady_s)

    def failed(self) -> None:
        """It ended without a chunk, so its state and instruction were not answered."""
        self._in_flight.failed()
        self._forget_question()

    def _hear(self, view: ExecutionView) -> None:
        self._in_flight.answered(view.session, view.sequence)
        if self._in_flight.answered(view.last_session, view.last_sequence) and view.last_refused:
            self._forget_question()

    def _forget_question(self) -> None:
        self._state = None
        self._instruction_id = 0

    def _is_news(self, state: NDArray[np.float32]) -> bool:
        return self._state is None or bool(np.abs(state - self._state).max() >= self._min_change)
