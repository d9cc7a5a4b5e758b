"""SIGINT and SIGTERM as a flag, which may also call something while the main thread cannot look at the flag."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopSignals:
    """Listens from its making on, in the main thread.

    Nothing is raised: an exception out of a signal handler strikes the main thread anywhere, also inside libraries that
    swallow it, turn it into another or, being C++, call `std::terminate`; imports of torch do all three.

    Attributes:
        requested: whether one came.
    """

    def __init__(self) -> None:
        self.requested = False
        self._call: Callable[[], None] | None = None
        signal.signal(signal.SIGINT, self._request)
        signal.signal(signal.SIGTERM, self._request)

    @contextmanager
    def calling(self, action: Callable[[], None]) -> Iterator[None]:
        """The first signal that comes meanwhile, or came before, calls the action, in the main thread, wherever it is.

        The action should not need locks that the main thread may hold.
        """
        self._call = action
        try:
            if self.requested:
                action()
            yield
        finally:
            self._call = None

    def _request(self, signum: int, frame: FrameType | None) -> None:
        first, self.requested = not self.requested, True
        if first and self._call is not None:
            self._call()
