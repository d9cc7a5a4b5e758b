"""SIGINT and SIGTERM as a flag, which may also interrupt what the main thread is doing."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

_AGAIN_S = 0.02


class StopSignals:
    """Listens from its making on, in the main thread.

    Attributes:
        requested: whether one came.
        interrupt: whether the first one raises KeyboardInterrupt in the main thread besides.
    """

    def __init__(self) -> None:
        self.requested = self.interrupt = False
        signal.signal(signal.SIGINT, self._request)
        signal.signal(signal.SIGTERM, self._request)
        signal.signal(signal.SIGALRM, self._raise)
        sys.unraisablehook = self._again

    def _request(self, signum: int, frame: FrameType | None) -> None:
        first, self.requested = not self.requested, True
        if first:
            self._raise(signum, frame)

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        if self.interrupt:
            raise KeyboardInterrupt

    def _again(self, unraisable: Any) -> None:
        """A signal that falls into a finalizer or another callback of the interpreter raises to nobody: once more."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        else:
            sys.__unraisablehook__(unraisable)
