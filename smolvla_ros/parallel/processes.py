"""A function on many inputs, over processes of this machine.

Each worker is a fresh interpreter (spawn) that takes one input after the other with one copy of the function, so what
that keeps, such as a loaded policy, serves all of them. Neither `concurrent.futures` nor `multiprocessing.Pool`: the
former gives up all inputs when one worker is killed and does not tell whose it was, the latter waits for it for ever.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from .outcome import ATTEMPTS, Lost

Input = TypeVar("Input")
Result = TypeVar("Result")

_POLL_S = 0.2
_END_S = 5.0


def over_processes(
    function: Callable[[Input], Result], inputs: Sequence[Input], jobs: int, check: Callable[[], Any] = lambda: None
) -> Iterator[tuple[int, Result | Lost]]:
    """Yields the place of an input and the function's result, as they come.

    Args:
        function: of a module; it and its inputs and results are pickled between our own processes.
        jobs: how many processes at most.
        check: called several times a second by the caller's thread; what it raises ends all processes.

    A worker that dies is replaced and its input is given to another one, once.
    """
    waiting = deque((place, 1) for place in range(len(inputs)))
    workers: list[_Worker[Input, Result]] = []
    try:
        while waiting or any(worker.busy for worker in workers):
            while waiting and len(workers) < jobs and all(worker.busy for worker in workers):
                workers.append(_Worker(function))
            for worker in workers:
                if waiting and not worker.busy:
                    place, attempt = waiting.popleft()
                    worker.give(place, attempt, inputs[place])
            wait([source for worker in workers for source in worker.sources], _POLL_S)
            check()
            for worker in list(workers):
                if (told := worker.result()) is not None:
                    yield told
                elif not worker.alive:
                    workers.remove(worker)
                    place, attempt = worker.place, worker.attempt
                    if not worker.busy:
                        continue  # its last result is there
                    if attempt < ATTEMPTS:
                        waiting.append((place, attempt + 1))
                    else:
                        yield place, Lost(worker.end)
    finally:
        for worker in workers:
            worker.stop()


class _Worker(Generic[Input, Result]):
    """A process and what it works on; owned by the thread that made it."""

    def __init__(self, function: Callable[[Input], Result]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(function, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.busy, self.place, self.attempt = False, -1, 0

    @property
    def sources(self) -> tuple[Connection, int]:
        """What is ready when a result is there or the process has ended."""
        return self._pipe, self._process.sentinel

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def end(self) -> str:
        """How the process ended."""
        self._process.join()
        code = self._process.exitcode or 0
        if code == -signal.SIGKILL:
            return "its process was killed (SIGKILL), as Linux does when memory runs out; try fewer --jobs"
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}; what it printed tells more"

    def give(self, place: int, attempt: int, item: Input) -> None:
        """Hands it an input; one that has died meanwhile shows it by `alive`."""
        self.busy, self.place, self.attempt = True, place, attempt
        with suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send(item)

    def result(self) -> tuple[int, Result] | None:
        """The result, if it is there."""
        with suppress(EOFError, ConnectionResetError):
            if self.busy and self._pipe.poll():
                told: Result = self._pipe.recv()
                self.busy = False
                return self.place, told
        return None

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        self._pipe.close()
        self._process.terminate()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _work(function: Callable[[Input], Result], pipe: Connection) -> None:
    """The life of a worker: until nobody gives it inputs any more. Ctrl-C is its parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            pipe.send(function(pipe.recv()))
