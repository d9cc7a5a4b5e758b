"""How waiting and refusing are logged: ordinary while a node starts, worth a warning once it lasts or comes back."""

from __future__ import annotations

import time
from typing import Any

_PATIENCE_S = 3.0
_REFUSAL_PERIOD_S = 5.0
_TROUBLE_PERIOD_S = 2.0


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

    @property
    def has_worked(self) -> bool:
        """Whether the node has done its work once."""
        return self._has_worked

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


class RefusalLog:
    """One line per stream and reason in some seconds: a flood of one must not hide another.

    Args:
        logger: of the node.
        period_s: between two lines about the same.
    """

    def __init__(self, logger: Any, period_s: float = _REFUSAL_PERIOD_S):
        self._logger, self._period_s = logger, period_s
        self._told_s: dict[tuple[str, str], float] = {}

    def tell(self, stream: str, reason: str, text: str, ordinary: bool = False) -> None:
        """A message of `stream` was refused for `reason`; what is `ordinary` needs no look. One thread."""
        now_s = time.monotonic()
        if now_s - self._told_s.get((stream, reason), -self._period_s) < self._period_s:
            return
        self._told_s[stream, reason] = now_s
        if ordinary:
            self._logger.info(f"{stream} refused: {text}")
        else:
            self._logger.warning(f"{stream} refused: {text}")


class TroubleLog:
    """One line when a trouble begins, one now and then while it changes, one when it ends.

    Args:
        logger: of the node.
        over: what to say at its end.
        period_s: between two lines about a trouble that changes.
    """

    def __init__(self, logger: Any, over: str, period_s: float = _TROUBLE_PERIOD_S):
        self._logger, self._over, self._period_s = logger, over, period_s
        self._told, self._told_s = "", -period_s

    def tell(self, trouble: str) -> None:
        """What the trouble is now; empty: none. One thread."""
        now_s = time.monotonic()
        if trouble == self._told or (trouble and now_s - self._told_s < self._period_s):
            return
        self._told, self._told_s = trouble, now_s
        if trouble:
            self._logger.error(trouble)
        else:
            self._logger.info(self._over)
