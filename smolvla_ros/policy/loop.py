"""The inference thread of the policy node, without ROS: waits for data, decides, infers, hands over chunks.

Threads: the executor's thread calls `set_*`, `notify` and `forget`; the inference thread runs `step` over and over.
`_lock` guards what both touch (instruction, status, request rule, epoch, latencies, last report); the predictor and all
bookkeeping of requests belong to the inference thread alone.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import replace

from smolvla_ros.execution.watch import ClockWatch
from smolvla_ros.policy.continuation import SentChunks
from smolvla_ros.policy.envelope import Envelope
from smolvla_ros.policy.latency import StageLatencies
from smolvla_ros.policy.requests import ExecutionView, Requester, RequestPolicy
from smolvla_ros.robot.observation import Observation, Pictures

from .loop_types import ChunkSource, Instruction, LoopSettings, LoopState, ObservationSource, SentChunk
from .predictor import Predicted

_IDLE_PERIOD_S = 0.02
# As the controller's `clock_jump_s`: a ROS clock that gains more against the steady one was set.
_CLOCK_JUMP_NS = 1_000_000_000


class InferenceLoop:
    """Decides, infers and hands over chunks; reports what it waits for.

    Args:
        predictor: asks the network; used by the inference thread only.
        buffer: where callbacks put images and joint states.
        requests: when to infer.
        settings: see `LoopSettings`.
        clock_ns: the ROS clock.
        steady_s: a clock that never jumps, for waits.
        publish: takes each finished chunk, in the inference thread.
        report: takes every change of (state, sentence); either thread.
    """

    def __init__(
        self,
        predictor: ChunkSource,
        buffer: ObservationSource,
        requests: RequestPolicy,
        settings: LoopSettings,
        clock_ns: Callable[[], int],
        steady_s: Callable[[], float],
        publish: Callable[[SentChunk], None],
        report: Callable[[LoopState, str], None],
    ):
        self._predictor = predictor
        self._buffer = buffer
        self._settings = settings
        self._clock_ns = clock_ns
        self._steady_s = steady_s
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

        self._requester = Requester(predictor.rows, settings.min_change)
        percentile = settings.delay_percentile
        self._sent = None if percentile is None else SentChunks(settings.step_s, percentile)
        self._envelope = Envelope(predictor.rows, settings.step_s)
        self._sequence = 0
        self._failures = 0
        self._retry_at_s = 0.0
        self._clock_watch = ClockWatch(_CLOCK_JUMP_NS)
        self._clock_watch.start(clock_ns(), round(steady_s() * 1e9))

        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    # Called by the executor's thread.

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ends the loop after the inference in flight, whose chunk is dropped; False if it still computes."""
        self.forget()
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

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
        self._wake.set()

    def set_status(self, status: ExecutionView | None) -> None:
        """What the controller executes; None when nothing was heard from it for too long."""
        with self._lock:
            self._status = status
        self._wake.set()

    def set_requests(self, requests: RequestPolicy) -> None:
        with self._lock:
            self._requests = requests

    def notify(self) -> None:
        """New data arrived."""
        self._wake.set()

    def watch_clock(self) -> None:
        """To be called many times a second: drops what came before a jump of the ROS clock, and reports it once.

        Not done by the inference thread: while it infers, a simulation twice as fast as real time gains seconds.
        """
        jump_s = self._clock_watch.jump_s(self._clock_ns(), round(self._steady_s() * 1e9))
        if jump_s:
            self.forget()
            self._report(LoopState.WAITING, f"the ROS clock jumped by {jump_s:+.3f} s: what came before is dropped")

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

    def latency_percentiles(self, p: float) -> dict[str, float]:
        """The p-th percentile [s] of every stage over the last hundred chunks; any thread."""
        with self._lock:
            return self._latencies.percentiles(p)

    # The inference thread.

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(_IDLE_PERIOD_S)
            self._wake.clear()
            try:
                self.step()
            except Exception:  # the thread must never end without a word
                self._report(LoopState.GIVEN_UP, f"bug in the inference thread:\n{traceback.format_exc()}")
                return

    def step(self) -> None:
        """Infers once if everything is there and the request rule asks for it."""
        if self._failures >= self._settings.max_failures or self._steady_s() < self._retry_at_s:
            return
        now_ns = self._clock_ns()
        with self._lock:
            instruction, status, requests, epoch = self._instruction, self._status, self._requests, self._epoch
        waiting = self._waiting_for(instruction, status)
        if instruction is None or waiting:
            self._report(LoopState.WAITING if instruction else LoopState.IDLE, waiting)
            return
        observation, problem = self._buffer.take(now_ns)
        if observation is None:
            self._report(LoopState.WAITING, problem)
            return
        state = self._predictor.normalised_state(observation)
        if not self._requester.wants(self._rule(requests), status, instruction.id, state, self._steady_s()):
            return
        pictures, problem = self._buffer.decode(observation)
        if pictures is None:
            self._report(LoopState.WAITING, problem)
            return
        if self._envelope.too_slow:
            mode = "; it holds, looks and goes" if self._settings.hold_and_go else ""
            self._report(LoopState.TOO_SLOW, self._envelope.too_slow + mode)
        else:
            self._report(LoopState.RUNNING, f"instruction: {instruction.text!r}")
        self._requester.started(status, instruction.id, state)
        self._infer(observation, pictures, instruction, status, now_ns, epoch)

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

    def _infer(
        self,
        observation: Observation,
        pictures: Pictures,
        instruction: Instruction,
        status: ExecutionView | None,
        now_ns: int,
        epoch: int,
    ) -> None:
        session = self._settings.session
        continuation = None
        if self._sent is not None and status is not None:
            continuation = self._sent.continuation(status, session, observation.stamp_ns, instruction.id)
        try:
            predicted = self._predictor.predict(observation, pictures, instruction.text, continuation)
        except Exception as error:  # whatever it was: reported, retried later, never turned into a chunk
            self._requester.failed()
            self._failed(error)
            return
        self._failures = 0
        latency_s = (self._clock_ns() - observation.stamp_ns) / 1e9
        with self._lock:
            if epoch != self._epoch:
                self._requester.failed()
                return
            self._sequence += 1
            self._publish(self._chunk(observation, instruction, predicted, latency_s))
        self._requester.sent(session, self._sequence, self._steady_s())
        self._envelope.add(latency_s)
        if self._sent is not None:
            self._sent.add(self._sequence, instruction.id, predicted.normalised, latency_s)
        self._measure(observation, predicted.stage_s, now_ns, latency_s)

    def _chunk(
        self, observation: Observation, instruction: Instruction, predicted: Predicted, latency_s: float
    ) -> SentChunk:
        return SentChunk(
            stamp_ns=observation.stamp_ns,
            image_stamp_ns=observation.image_stamp_ns,
            sequence=self._sequence,
            positions=predicted.positions,
            frozen_rows=predicted.frozen_rows,
            instruction=instruction,
            inference_s=predicted.stage_s["inference"],
            latency_s=latency_s,
        )

    def _measure(self, observation: Observation, stage_s: dict[str, float], now_ns: int, latency_s: float) -> None:
        """The stages from the oldest image to the chunk, their sum `total`, and `latency`, counted from row 0 on."""
        transport_s = (observation.received_ns - observation.image_stamp_ns) / 1e9
        wait_s = (now_ns - observation.received_ns) / 1e9
        published_s = (self._clock_ns() - observation.stamp_ns) / 1e9 - latency_s
        total_s = latency_s + (observation.stamp_ns - observation.image_stamp_ns) / 1e9
        stages_s = {"transport": transport_s, "wait": wait_s, **stage_s, "publish": published_s}
        with self._lock:
            self._latencies.add({**stages_s, "total": total_s, "latency": latency_s})

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._retry_at_s = self._steady_s() + self._settings.retry_backoff_s
        text = f"inference failed {self._failures} times in a row: {type(error).__name__}: {error}"
        if self._failures >= self._settings.max_failures:
            self._report(LoopState.GIVEN_UP, text)
        else:
            self._report(LoopState.FAILING, text)

    def _report(self, state: LoopState, text: str) -> None:
        with self._lock:
            if (state, text) == self._reported:
                return
            self._reported = (state, text)
        self._report_change(state, text)
