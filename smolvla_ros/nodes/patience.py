"""How waiting is logged: ordinary while a node starts, and worth a warning once it lasts or comes back."""

from __future__ import annotations

import time
from typing import Any

_PATIENCE_S = 3.0


class WaitLog:
    """Logs what a node waits for: as information until it has worked once, and as a warning if that lasts.

    Args:
        logger: of the node.
        patience_s: a wait that lasts longer is warned of.
    """

    def __init__(self, logger: Any, patience_s: float = _PATIENCE_S):
        self._logger, self._patience_s = logger, patience_s
        self._has_worked = False
        self._waiting: tuple[str, float] | None = None

    def begin(self, text: str, ordinary: bool = False) -> None:
        """A wait began; one that is `ordinary` may last for ever. Any thread."""
        if self._has_worked and not ordinary:
            self._waiting = None
            self._logger.warning(text)
            return
        self._waiting = None if ordinary else (text, time.monotonic())
        self._logger.info(text)

    def end(self) -> None:
        """It is over, the node works. Any thread."""
        self._has_worked, self._waiting = True, None

    def look(self) -> None:
        """Warns of a wait that lasts; called now and then."""
        waiting = self._waiting
        if waiting is not None and time.monotonic() - waiting[1] > self._patience_s:
            self._waiting = None
            self._logger.warning(f"still {waiting[0]}")
