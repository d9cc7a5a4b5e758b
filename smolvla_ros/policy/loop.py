"""The inference thread of the policy node, without ROS: who asks, who is answered first, who together.

One network serves any number of arms; one arm is the case of a list of one. Who asks now is collected, the earliest
deadline goes first, and as many go together as pays (`batching`); nobody waits for somebody else to ask. An arm's
deadline is the end of its running chunk, or, while it holds, the moment from which on it asked: it passes only once, so
nobody is overtaken for ever. Those who are left are looked at anew in the next round: there is no queue of old
observations. What fails in preparing one arm's question fails alone; what fails for several together is done again one
by one, so the guilty one fails alone there, too.

Threads: the inference thread runs `step` over and over; the predictor is its own. See `Asker` for the executor's calls.
"""

from __future__ import annotations

import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from smolvla_ros.execution.watch import ClockWatch

from .asker import Ask, Asker, Ready
from .batching import BatchLatencies, answered_within_s, batch_size
from .loop_types import LoopClocks, LoopState
from .questions import ChunkSource

_IDLE_PERIOD_S = 0.02
# As the controller's `clock_jump_s`: a ROS clock that gains more against the steady one was set.
_CLOCK_JUMP_NS = 1_000_000_000
_BUG = "bug in the inference thread:\n"
T = TypeVar("T")


class ArmFailure(RuntimeError):
    """A bug in one arm's side, which was told and has given up."""


class InferenceLoop:
    """Answers arms.

    Args:
        source: answers questions; used by the inference thread only.
        askers: the arms.
        clocks: what time it is.
        max_batch: so many questions are answered together at most.
    """

    def __init__(self, source: ChunkSource, askers: Sequence[Asker], clocks: LoopClocks, max_batch: int = 1):
        self._source = source
        self._askers = tuple(askers)
        self._clocks = clocks
        self._max_batch = max_batch
        self._latencies = BatchLatencies()
        self._bugs: list[tuple[str, Exception]] = []
        self._lock = threading.Lock()
        self._sizes: Counter[int] = Counter()
        self._clock_watch = ClockWatch(_CLOCK_JUMP_NS)
        self._clock_watch.start(clocks.ros_ns(), round(clocks.steady_s() * 1e9))

        self._stop = threading.Event()
        self._news = threading.Event()
        for asker in self._askers:
            asker.news = self._news
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    # Called by the executor's thread.

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ends the loop after the inference in flight, whose chunks are dropped; False if it still computes."""
        self._forget()
        self._stop.set()
        self._news.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def watch_clock(self) -> None:
        """To be called many times a second: drops what came before a jump of the ROS clock, and reports it once.

        Not done by the inference thread: while it infers, a simulation twice as fast as real time gains seconds.
        """
        jump_s = self._clock_watch.jump_s(self._clocks.ros_ns(), round(self._clocks.steady_s() * 1e9))
        if jump_s:
            self._forget()
            self._tell_all(
                LoopState.WAITING, f"the ROS clock jumped by {jump_s:+.3f} s: what came before is dropped"
            )

    def refusal(self, newcomer: Asker) -> str:
        """Why an arm without an instruction is to get none now, with figures; '' if it may have one, as always before
        anything is measured, and if it is the only one. Any thread.
        """
        moving = sum(asker.is_told for asker in self._askers if asker is not newcomer)
        if newcomer.is_told or not moving:
            return ""
        with self._lock:
            within_s = answered_within_s(moving + 1, self._clocks.steady_s(), self._latencies, self._max_batch)
        slack_s = newcomer.slack_s
        if within_s <= slack_s:
            return ""
        return (
            f"no room for another arm: beside the {moving} that are told something, an answer may take "
            f"{1e3 * within_s:.0f} ms as measured, and must come within {1e3 * slack_s:.0f} ms, or arms pause. "
            "Withdraw the instruction of another arm, ask earlier (request_threshold), or use a faster device or "
            "longer chunks"
        )

    @property
    def batch_sizes(self) -> dict[int, int]:
        """How often so many questions were answered together; any thread."""
        with self._lock:
            return dict(sorted(self._sizes.items()))

    # The inference thread.

    def _run(self) -> None:
        while not self._stop.is_set():
            self._news.wait(_IDLE_PERIOD_S)
            self._news.clear()
            try:
                self.step()
            except ArmFailure:
                continue  # told where it happened; the others go on
            except Exception:  # the thread must never end without a word
                self._tell_all(LoopState.GIVEN_UP, f"{_BUG}{traceback.format_exc()}")
                return

    def step(self) -> None:
        """Answers those who ask, as many as pays; the others are next.

        Raises:
            ArmFailure: of a bug in one arm's side, when all others are done.
        """
        self._bugs.clear()
        looked = [(self._own(asker, asker.look), asker) for asker in self._askers]
        asks = sorted(((ask, asker) for ask, asker in looked if ask), key=lambda pair: pair[0].deadline_s)
        if asks:
            self._round(asks)
        if self._bugs:
            raise ArmFailure(f"a bug in the side of arm '{self._bugs[0][0]}'") from self._bugs[0][1]

    def _round(self, asks: Sequence[tuple[Ask, Asker]]) -> None:
        begun_s = self._clocks.steady_s()
        deadlines_s = [ask.deadline_s for ask, _ in asks]
        with self._lock:
            size = batch_size(deadlines_s, begun_s, self._latencies, self._max_batch)
        if len(asks) > size:
            self._news.set()
        ready: list[tuple[Ready, Asker]] = []
        for ask, asker in asks:
            if len(ready) < size and (one := self._own(asker, partial(asker.prepare, ask))):
                ready.append((one, asker))  # whose question is none takes nobody's place
        if ready and self._answered(ready):
            now_s = self._clocks.steady_s()
            with self._lock:
                self._latencies.add(len(ready), now_s - begun_s, now_s)

    def _answered(self, ready: Sequence[tuple[Ready, Asker]]) -> bool:
        """Whether the questions could be answered together; if not, each is asked alone."""
        begun_s = self._clocks.steady_s()
        try:
            answers = self._source.predict([one.prepared for one, _ in ready])
        except Exception as error:  # whatever it was: reported, retried later, never turned into a chunk
            if len(ready) == 1:
                ready[0][1].fail(ready[0][0].ask, error)
            else:
                for alone in ready:
                    self._answered([alone])
            return False
        with self._lock:
            self._sizes[len(ready)] += 1
        for (one, asker), predicted in zip(ready, answers, strict=True):
            window_s = begun_s - one.ask.asked_s - one.own_s
            self._own(asker, partial(asker.answer, one.ask, predicted, window_s))
        return True

    def _own(self, asker: Asker, act: Callable[[], T]) -> T | None:
        """What one arm's side does; a bug there is the end of that side alone."""
        try:
            return act()
        except Exception as error:
            asker.give_up(f"{_BUG}{traceback.format_exc()}")
            self._bugs.append((asker.name, error))
            return None

    def _forget(self) -> None:
        for asker in self._askers:
            asker.forget()

    def _tell_all(self, state: LoopState, text: str) -> None:
        for asker in self._askers:
            asker.report(state, text)
