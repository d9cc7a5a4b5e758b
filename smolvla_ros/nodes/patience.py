"""How waiting and refusing are logged: ordinary while a node starts, worth a warning once it lasts or comes back."""

from __future__ import annotations

import time
from typing import Any

_PATIENCE_S = 3.0
_REFUSAL_PERIOD_S = 5.0
_TROUBLE_PERIOD_S = 2.0
# States that come and go: how often the same is told, and how long one must last to be told all the same [s].
_STATE_PERIOD_S, _LASTING_S = 10.0, 2.0


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


class StateLog:
    """Tells states, of which the same may come again and again: then once in a while, with how often it came.

    The state told last is the present one, unless that is younger than `lasting_s`. One thread.

    Args:
        logger: of the node.
        period_s: between two lines about the same state, which is what a text begins with, up to a colon.
        lasting_s: a state that lasts for longer is told whatever was told before.
    """

    def __init__(self, logger: Any, period_s: float = _STATE_PERIOD_S, lasting_s: float = _LASTING_S):
        self._logger, self._period_s, self._lasting_s = logger, period_s, lasting_s
        self._told: dict[str, tuple[float, int]] = {}  # when it was told, and how often it came since
        self._waiting: tuple[str, str, float] | None = None  # level, text, since when

    def info(self, text: str) -> None:
        """A state that is as it should be."""
        self._take("info", text)

    def warning(self, text: str) -> None:
        """A state that needs a look."""
        self._take("warning", text)

    def look(self) -> None:
        """Tells a state that lasts; called now and then."""
        if self._waiting is not None and time.monotonic() - self._waiting[2] > self._lasting_s:
            self._tell(*self._waiting[:2])

    def _take(self, level: str, text: str) -> None:
        now_s, key = time.monotonic(), text.partition(":")[0]
        then_s, since = self._told.get(key, (-self._period_s, 0))
        self._told[key] = then_s, since + 1
        self._waiting = level, text, now_s
        if now_s - then_s >= self._period_s:
            self._tell(level, text)

    def _tell(self, level: str, text: str) -> None:
        now_s, key = time.monotonic(), text.partition(":")[0]
        then_s, came = self._told[key]
        often = f" ({came} times in {now_s - then_s:.0f} s)" if came > 1 else ""
        self._told[key], self._waiting = (now_s, 0), None
        if level == "warning":  # rclpy knows a line of code by one level
            self._logger.warning(text + often)
        else:
            self._logger.info(text + often)


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
