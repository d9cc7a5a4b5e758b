"""The inference thread of the policy node, without ROS: observation -> policy -> chunk.

Threads: the executor's thread calls `set_*`, `notify` and `forget`; the inference thread runs `step` over and over.
`_lock` guards what both touch (instruction, status, request rule, epoch, latencies, last report); the policy and the
request bookkeeping belong to the inference thread alone.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.execution.latency import StageLatencies
from smolvla_ros.execution.requests import InFlight, RequestPolicy
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.images import decode_image
from smolvla_ros.robot.observation import Observation, ObservationBuffer

from .lifecycle import THREAD_PREFIX

_IDLE_PERIOD_S = 0.02


class Policy(Protocol):
    """What is asked of `smolvla_ros.model.SmolVLAPolicy`."""

    def predict(
        self, images: dict[str, NDArray[np.uint8]], state: NDArray[np.float32], instruction: str,
        noise: NDArray[np.float32] | None = None,
    ) -> Any: ...  # fmt: skip


class State(Enum):
    """What the inference thread does, for people."""

    WAITING = "waiting"
    RUNNING = "running"
    FAILING = "failing"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class Instruction:
    """An instruction and its number within the session, from 1."""

    text: str
    id: int


@dataclass(frozen=True)
class ExecutionView:
    """What the controller says it is doing (see ExecutionStatus.msg)."""

    accepts_chunks: bool
    session: int
    sequence: int
    remaining_rows: int
    rows_executed: int


@dataclass(frozen=True)
class PredictedChunk:
    """A chunk ready to publish; positions [rows, joints] in rad or m, times in seconds."""

    stamp_ns: int
    sequence: int
    positions: NDArray[np.float64]
    instruction: Instruction
    inference_s: float
    latency_s: float


@dataclass(frozen=True)
class Settings:
    """Parameters of the loop; `rows` are published of the `chunk_rows` predicted; `seed` None: fresh noise."""

    session: int
    rows: int
    noise_shape: tuple[int, int]
    seed: int | None
    needs_status: bool
    retry_backoff_s: float
    max_failures: int


class InferenceLoop:
    """Decides, infers and hands over chunks; reports what it waits for.

    Args:
        policy: the network; used by the inference thread only.
        robot: cameras, joints and units.
        buffer: where callbacks put images and joint states.
        requests: when to infer.
        settings: see `Settings`.
        clock_ns: the ROS clock.
        steady_s: a clock that never jumps, for waits.
        publish: takes each finished chunk, in the inference thread.
        report: takes every change of (state, sentence), in the inference thread.
    """

    def __init__(
        self,
        policy: Policy,
        robot: RobotConfig,
        buffer: ObservationBuffer,
        requests: RequestPolicy,
        settings: Settings,
        clock_ns: Callable[[], int],
        steady_s: Callable[[], float],
        publish: Callable[[PredictedChunk], None],
        report: Callable[[State, str], None],
    ):
        self._policy = policy
        self._robot = robot
        self._buffer = buffer
        self._settings = settings
        self._clock_ns = clock_ns
        self._steady_s = steady_s
        self._publish = publish
        self._report_change = report
        self._features = {camera.name: camera.feature for camera in robot.cameras}
        self._noise = np.random.default_rng(settings.seed)

        self._lock = threading.Lock()
        self._requests = requests
        self._instruction: Instruction | None = None
        self._instructions = 0
        self._status: ExecutionView | None = None
        self._epoch = 0
        self._reported: tuple[State, str] | None = None

        self._latencies = StageLatencies()
        self._in_flight = InFlight()
        self._sequence = 0
        self._executed_at_request = 0
        self._requested_instruction = 0
        self._failures = 0
        self._retry_at_s = 0.0

        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{THREAD_PREFIX}_inference", daemon=True)

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

    def forget(self) -> None:
        """Drops all data and the chunk in flight: the clock jumped, or the node goes down."""
        with self._lock:
            self._epoch += 1
            self._status = None
        self._buffer.clear()

    @property
    def state(self) -> tuple[State, str]:
        """The last report; any thread."""
        with self._lock:
            return self._reported or (State.WAITING, "starting")

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
                self._report(State.GIVEN_UP, f"bug in the inference thread:\n{traceback.format_exc()}")
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
            self._report(State.WAITING, waiting)
            return
        observation, problem = self._buffer.take(now_ns)
        if observation is None:
            self._report(State.WAITING, problem)
            return
        if not self._should_request(instruction, status, requests):
            return
        self._report(State.RUNNING, f"instruction: {instruction.text!r}")
        self._executed_at_request = status.rows_executed if status else 0
        self._requested_instruction = instruction.id
        self._infer(observation, instruction, now_ns, epoch)

    def _waiting_for(self, instruction: Instruction | None, status: ExecutionView | None) -> str:
        if instruction is None:
            return "no instruction (publish one on topic 'instruction')"
        if status is None and self._settings.needs_status:
            return "no execution_status from a controller"
        if status is not None and not status.accepts_chunks:
            return "the controller is stopped or inactive"
        return ""

    def _should_request(self, instruction: Instruction, status: ExecutionView | None, requests: RequestPolicy) -> bool:
        if status is not None:
            self._in_flight.answered(status.session, status.sequence)
        busy = self._in_flight.busy(self._steady_s())
        if instruction.id != self._requested_instruction:
            return not busy
        executed = status.rows_executed if status else 0
        return requests.should_request(
            remaining_rows=status.remaining_rows if status else 0,
            chunk_rows=self._settings.rows,
            # The counter of the controller starts again with its activation.
            executed_since_request=executed - min(executed, self._executed_at_request),
            in_flight=busy,
        )

    def _infer(self, observation: Observation, instruction: Instruction, now_ns: int, epoch: int) -> None:
        self._in_flight.start()
        try:
            chunk, stage_s = self._predict(observation, instruction)
        except Exception as error:  # whatever it was: reported, retried later, never turned into a chunk
            self._in_flight.failed()
            self._failed(error)
            return
        self._failures = 0
        latency_s = (self._clock_ns() - observation.stamp_ns) / 1e9
        with self._lock:
            if epoch != self._epoch:
                self._in_flight.failed()
                return
            self._sequence += 1
            self._publish(replace(chunk, sequence=self._sequence, latency_s=latency_s))
        self._in_flight.sent(self._settings.session, self._sequence, self._steady_s())
        stage_s["transport"] = (observation.received_ns - observation.stamp_ns) / 1e9
        stage_s["wait"] = (now_ns - observation.received_ns) / 1e9
        stage_s["total"] = latency_s
        with self._lock:
            self._latencies.add(stage_s)

    def _predict(self, observation: Observation, instruction: Instruction) -> tuple[PredictedChunk, dict[str, float]]:
        start_s = time.perf_counter()
        images = {self._features[name]: decode_image(message) for name, message in observation.images.items()}
        decoded_s = time.perf_counter()
        state = self._robot.to_policy_units(observation.positions).astype(np.float32)
        noise = self._noise.standard_normal(self._settings.noise_shape, dtype=np.float32)
        prediction = self._policy.predict(images, state, instruction.text, noise=noise)
        positions = self._robot.to_ros_units(prediction.actions[: self._settings.rows])
        if not np.isfinite(positions).all():
            raise FloatingPointError("the policy returned actions that are not finite")
        inference_s = time.perf_counter() - start_s
        chunk = PredictedChunk(observation.stamp_ns, 0, positions, instruction, inference_s, latency_s=0.0)
        return chunk, {"decode": decoded_s - start_s, **prediction.stage_s, "inference": inference_s}

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._retry_at_s = self._steady_s() + self._settings.retry_backoff_s
        text = f"inference failed {self._failures} times in a row: {type(error).__name__}: {error}"
        if self._failures >= self._settings.max_failures:
            self._report(State.GIVEN_UP, text)
        else:
            self._report(State.FAILING, text)

    def _report(self, state: State, text: str) -> None:
        with self._lock:
            if (state, text) == self._reported:
                return
            self._reported = (state, text)
        self._report_change(state, text)
