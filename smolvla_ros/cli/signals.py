"""How SIGINT and SIGTERM end a command: exit code 130 or 143, and one line that says what was kept.

Nothing is ever raised out of the handler: it would strike anywhere, also inside libraries that swallow it, turn it into
another or abort (imports of torch do all three). A command with nothing at stake is left where it is. One that holds
something to be brought to an order asks at places of its own, within `deferred`, whether to stop.

Imports nothing heavy: the handlers are there before anything else of the package is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLL_S = 0.05


class CommandStopped(KeyboardInterrupt):
    """The command was told to stop; raised by `CommandSignals.check` only, never out of a signal handler."""


class CommandSignals:
    """Listens from its making on, in the main thread, until `close`.

    Attributes:
        command: its name, for the line at the end.
        kept: what is left of the work if it ends now, for the same line.
        number: of the signal that came within `deferred`; 0: none.
    """

    def __init__(self, command: str = "") -> None:
        self.command, self.kept, self.number = command, "nothing was changed", 0
        self._deferrals = 0
        self._process = os.getpid()
        self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}

    @contextlib.contextmanager
    def deferred(self) -> Iterator[Callable[[], None]]:
        """Within, a first signal is only noted: `check`, which is yielded, raises. A second one ends the process."""
        self._deferrals += 1
        try:
            yield self.check
        finally:
            self._deferrals -= 1

    def check(self) -> None:
        """A place at which the command may be left in order.

        Raises:
            CommandStopped: a signal came.
        """
        if self.number:
            raise CommandStopped

    def wait_for(self, work: Callable[[], T]) -> T:
        """The result of `work`, which has no place to ask at: it runs in a thread that is left behind on a signal.

        Raises:
            CommandStopped: a signal came. Whatever `work` raises.
        """
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as error:  # raised again in the thread that waits
                errors.append(error)

        thread = threading.Thread(target=run, name="work", daemon=True)
        with self.deferred():
            thread.start()
            while thread.is_alive():
                self.check()
                thread.join(_POLL_S)
        if errors:
            raise errors[0]
        return results[0]

    def exit_code(self, code: int) -> int:
        """The exit code of a command that returned `code`, told in one line if a signal ended it."""
        number = self.number or code - 128
        if number not in _SIGNALS:
            return code
        self.close(ignore=True)
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
        print(self._line(number), file=sys.stderr, flush=True)
        return 128 + number

    def close(self, ignore: bool = False) -> None:
        """Ends listening; with `ignore` nothing that comes later has an effect."""
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if ignore else before)

    def _line(self, number: int) -> str:
        name = f"smolvla-ros {self.command}".strip()
        return f"{name}: stopped by {signal.Signals(number).name}; {self.kept}"

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked helper has nothing to tell
            os._exit(128 + number)
        if self._deferrals and not self.number:
            self.number = number
            return
        self._leave(number)

    def _leave(self, number: int) -> None:
        """Ends the process from wherever the main thread is."""
        text = self._line(number) if not self.number else f"{self._line(number)}; told twice, it was left unfinished"
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # it may have been writing just now
            sys.stdout.flush()
        show_cursor = "\x1b[?25h" if os.isatty(2) else ""
        with contextlib.suppress(OSError):
            os.write(2, f"{show_cursor}{text}\n".encode())
        os._exit(128 + number)
