"""One arm's side of the inference loop, without ROS: what it was told, what it executes, whether it asks, what it got.

Threads: the executor's thread calls `set_*`, `notify` and `forget`; the inference thread `look`, `prepare`, `answer`
and `fail`. `_lock` guards what both touch (instruction, status, request rule, epoch, figures, last report); the
bookkeeping of requests belongs to the inference thread alone. Nothing of another arm is known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.policy.continuation import SentChunks
from smolvla_ros.policy.envelope import Envelope
from smolvla_ros.policy.latency import StageLatencies
from smolvla_ros.policy.requests import ExecutionView, Requester, RequestPolicy
from smolvla_ros.robot.observation import Observation

from .loop_types import Instruction, LoopClocks, LoopSettings, LoopState, ObservationSource, SentChunk
from .questions import ChunkSource, Predicted, Question


class Ask(NamedTuple):
    """An arm asks for a chunk now. Times in s are of the steady clock: since when it asks, when its chunk ends."""

    observation: Observation
    state: NDArray[np.float32]
    instruction: Instruction
    status: ExecutionView | None
    epoch: int
    looked_ns: int
    asked_s: float
    deadline_s: float


class Ready(NamedTuple):
    """An `Ask` whose question the source has prepared, which took `own_s`, pictures included."""

    ask: Ask
    prepared: Any
    own_s: float


class Asker:
    """Decides when one arm asks, takes its answers, and reports what it waits for.

    Args:
        name: of the arm; empty if there is one only.
        source: prepares its questions; shared with all arms of a loop.
        buffer: where callbacks put images and joint states.
        requests: when to ask.
        settings: see `LoopSettings`.
        clocks: what time it is.
        publish: takes each finished chunk, in the inference thread.
        report: takes every change of (state, sentence); either thread.

    `news` is set when there is something to look at.
    """

    def __init__(
        self,
        name: str,
        source: ChunkSource,
        buffer: ObservationSource,
        requests: RequestPolicy,
        settings: LoopSettings,
        clocks: LoopClocks,
        publish: Callable[[SentChunk], None],
        report: Callable[[LoopState, str], None],
    ):
        self.name = name
        self.news = threading.Event()
        self._source = source
        self._buffer = buffer
        self._settings = settings
        self._clocks = clocks
        self._publish = publish
        self._report_change = report

        self._lock = threading.Lock()
        self._requests = requests
        self._instruction: Instruction | None = None
        self._instructions = 0
        self._status: ExecutionView | None = None
        self._epoch = 0
        self._reported: tuple[LoopState, str] | None = None
        self._latencies = StageLatencies()
        self._ends_s: float | None = None  # of the running chunk
        self._missed = 0

        self._requester = Requester(source.rows, settings.min_change)
        percentile = settings.delay_percentile
        self._sent = None if percentile is None else SentChunks(settings.step_s, percentile)
        self._envelope = Envelope(source.rows, settings.step_s)
        self._sequence = 0
        self._asked_s: float | None = None
        self._failures = 0
        self._failed_for = 0  # the number of an instruction
        self._retry_at_s = 0.0

    # Called by the executor's thread.

    def set_instruction(self, text: str) -> None:
        """The instruction from now on; an empty one ends inference. The same text again changes nothing."""
        with self._lock:
            if text == (self._instruction.text if self._instruction else ""):
                return
            if text:
                self._instructions += 1
            self._instruction = Instruction(text, self._instructions) if text else None
            if not text:
                self._epoch += 1  # no instruction, no motion: also not from the inference in flight
        self.news.set()

    def set_status(self, status: ExecutionView | None) -> None:
        """What the controller executes; None when nothing was heard from it for too long."""
        now_ns, steady_s = self._clocks.ros_ns(), self._clocks.steady_s()
        with self._lock:
            self._status = status
            if status is None or not status.accepts_chunks:
                self._ends_s = None
            elif status.following:
                self._ends_s = _end_s(status, now_ns, steady_s)
        self.news.set()

    def set_requests(self, requests: RequestPolicy) -> None:
        with self._lock:
            self._requests = requests

    def notify(self) -> None:
        """New data arrived."""
        self.news.set()

    def forget(self) -> None:
        """Drops all data and the chunk in flight: the clock jumped, or the node goes down. Any thread."""
        with self._lock:
            self._epoch += 1
            self._status = None
        self._buffer.clear()

    @property
    def state(self) -> tuple[LoopState, str]:
        """The last report; any thread."""
        with self._lock:
            return self._reported or (LoopState.WAITING, "starting")

    @property
    def is_told(self) -> bool:
        """Whether it has an instruction; any thread."""
        with self._lock:
            return self._instruction is not None

    @property
    def slack_s(self) -> float:
        """How long before the end of a chunk the next one is asked for; any thread."""
        with self._lock:
            return self._requests.slack_s(self._source.rows, self._settings.step_s)

    @property
    def chunks(self) -> int:
        """How many were sent; any thread."""
        with self._lock:
            return self._sequence

    @property
    def missed(self) -> int:
        """How many of them came when the chunk before them had ended, though the rule asks for them earlier."""
        with self._lock:
            return self._missed

    def latency_percentiles(self, p: float) -> dict[str, float]:
        """The p-th percentile [s] of every stage over the last hundred chunks; any thread."""
        with self._lock:
            return self._latencies.percentiles(p)

    def report(self, state: LoopState, text: str) -> None:
        """Tells what the arm's side does, if that is a change; any thread."""
        with self._lock:
            if (state, text) == self._reported:
                return
            self._reported = (state, text)
        self._report_change(state, text)

    # The inference thread.

    def look(self) -> Ask | None:
        """What the arm asks, if everything is there and the request rule asks for it."""
        now_ns, steady_s = self._clocks.ros_ns(), self._clocks.steady_s()
        with self._lock:
            instruction, status, requests, epoch = self._instruction, self._status, self._requests, self._epoch
            if instruction is None:
                self._ends_s = None
        if instruction is not None and instruction.id != self._failed_for:
            self._failures = 0  # what is said anew is tried anew
        if self._failures and (self._failures >= self._settings.max_failures or steady_s < self._retry_at_s):
            return None
        asked_s, self._asked_s = self._asked_s, None
        waiting = self._waiting_for(instruction, status)
        if instruction is None or waiting:
            self.report(LoopState.WAITING if instruction else LoopState.IDLE, waiting)
            return None
        observation, problem = self._buffer.take(now_ns)
        if observation is None:
            self.report(LoopState.WAITING, problem)
            return None
        state = self._source.normalised_state(observation)
        if not self._requester.wants(self._rule(requests), status, instruction.id, state, steady_s):
            return None
        self._asked_s = steady_s if asked_s is None else asked_s
        deadline_s = self._asked_s  # an arm that holds has been waiting since it asked
        if status is not None and status.following:
            deadline_s = _end_s(status, now_ns, steady_s)
        return Ask(observation, state, instruction, status, epoch, now_ns, self._asked_s, deadline_s)

    def prepare(self, ask: Ask) -> Ready | None:
        """The question of an `Ask` just made; None if there is none: what is wrong is this arm's alone, and told."""
        begun_s = self._clocks.steady_s()
        pictures, problem = self._buffer.decode(ask.observation)
        if pictures is None:
            self.report(LoopState.WAITING, problem)
            return None
        if self._envelope.too_slow:
            mode = "; it holds, looks and goes" if self._settings.hold_and_go else ""
            self.report(LoopState.TOO_SLOW, self._envelope.too_slow + mode)
        else:
            self.report(LoopState.RUNNING, f"instruction: {ask.instruction.text!r}")
        self._asked_s = None
        self._requester.started(ask.status, ask.instruction.id, ask.state)
        continuation = None
        if self._sent is not None and ask.status is not None:
            continuation = self._sent.continuation(
                ask.status, self._settings.session, ask.observation.stamp_ns, ask.instruction.id
            )
        question = Question(self.name, ask.observation, pictures, ask.instruction.text, continuation)
        try:
            prepared = self._source.prepare(question)
        except Exception as error:  # whatever it was: reported, retried later, never turned into a chunk
            self.fail(ask, error)
            return None
        return Ready(ask, prepared, self._clocks.steady_s() - begun_s)

    def answer(self, ask: Ask, predicted: Predicted, window_s: float) -> None:
        """The chunk that was asked for, which had waited `window_s` for others; published unless it is out of date."""
        self._failures = 0
        latency_s = (self._clocks.ros_ns() - ask.observation.stamp_ns) / 1e9
        with self._lock:
            if ask.epoch != self._epoch:
                self._requester.failed()
                return
            self._sequence += 1
            ends_s, self._ends_s = self._ends_s, None
            asks_early = self._rule(self._requests).rule != "synchronous"
            self._missed += asks_early and ends_s is not None and self._clocks.steady_s() > ends_s
            self._publish(self._chunk(ask, predicted, latency_s))
        self._requester.sent(self._settings.session, self._sequence, self._clocks.steady_s())
        self._envelope.add(latency_s)
        if self._sent is not None:
            self._sent.add(self._sequence, ask.instruction.id, predicted.normalised, latency_s)
        self._measure(ask, predicted.stage_s, window_s, latency_s)

    def fail(self, ask: Ask, error: Exception) -> None:
        """There is no chunk; asked again after a while."""
        self._requester.failed()
        self._failures, self._failed_for = self._failures + 1, ask.instruction.id
        self._retry_at_s = self._clocks.steady_s() + self._settings.retry_backoff_s
        text = f"inference failed {self._failures} times in a row: {type(error).__name__}: {error}"
        given_up = self._failures >= self._settings.max_failures
        self.report(LoopState.GIVEN_UP if given_up else LoopState.FAILING, text)

    def give_up(self, text: str) -> None:
        """Nothing is asked any more, until something else is said."""
        self._requester.failed()
        with self._lock:
            self._failed_for = self._instruction.id if self._instruction else 0
        self._failures = self._settings.max_failures
        self.report(LoopState.GIVEN_UP, text)

    def _rule(self, requests: RequestPolicy) -> RequestPolicy:
        if self._envelope.too_slow and self._settings.hold_and_go:
            return replace(requests, rule="synchronous")
        return requests

    def _waiting_for(self, instruction: Instruction | None, status: ExecutionView | None) -> str:
        if instruction is None:
            return "no instruction (publish one on topic 'instruction')"
        if status is None and self._settings.needs_status:
            return "no execution_status from a controller"
        if status is not None and not status.accepts_chunks:
            return "the controller is stopped or inactive"
        return ""

    def _chunk(self, ask: Ask, predicted: Predicted, latency_s: float) -> SentChunk:
        return SentChunk(
            stamp_ns=ask.observation.stamp_ns,
            image_stamp_ns=ask.observation.image_stamp_ns,
            sequence=self._sequence,
            positions=predicted.positions,
            frozen_rows=predicted.frozen_rows,
            instruction=ask.instruction,
            inference_s=predicted.stage_s["inference"],
            latency_s=latency_s,
        )

    def _measure(self, ask: Ask, stage_s: dict[str, float], window_s: float, latency_s: float) -> None:
        """The stages from the oldest image to the chunk, their sum `total`, and `latency`, counted from row 0 on."""
        observation = ask.observation
        transport_s = (observation.received_ns - observation.image_stamp_ns) / 1e9
        wait_s = (ask.looked_ns - observation.received_ns) / 1e9
        published_s = (self._clocks.ros_ns() - observation.stamp_ns) / 1e9 - latency_s
        total_s = latency_s + (observation.stamp_ns - observation.image_stamp_ns) / 1e9
        stages_s = {"transport": transport_s, "wait": wait_s, "window": window_s, **stage_s, "publish": published_s}
        with self._lock:
            self._latencies.add({**stages_s, "total": total_s, "latency": latency_s})


def _end_s(status: ExecutionView, now_ns: int, steady_s: float) -> float:
    """When the running chunk ends, on the steady clock."""
    return steady_s + status.remaining_s - (now_ns - status.stamp_ns) / 1e9
