"""Whether a chunk may be merged at this moment: order, age, steps and the jump at the seam."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .chunk import Chunk, ChunkError, Rejection, check_steps
from .settings import ControllerSettings

_S = 1e-9
# Two sessions that are heard in turns within this time are two policies, and the arm is held for as long after.
_RIVALS_NS = 5_000_000_000
_SESSIONS_KEPT = 16


@dataclass
class _Heard:
    """The last chunk of a session: its largest number, the largest one merged, and when it came (steady clock)."""

    sequence: int = 0
    merged: int = 0
    steady_ns: int = 0


class Admission:
    """Remembers which chunks came, by session: within one numbers only grow, and between sessions there is no order.

    A session that was not heard before takes over at once, whatever its number and its clock. Two that are heard in
    turns are two policies: neither is followed until only one of them is left.

    Not locked: the controller owns it.
    """

    def __init__(self, settings: ControllerSettings):
        self.apply(settings)
        self.forget()
        # Observations made before this instant (ROS clock) are not wanted.
        self.not_before_ns = 0

    def apply(self, settings: ControllerSettings) -> None:
        self._settings = settings

    def forget(self) -> None:
        """No session was ever heard."""
        self._latest = 0
        self._heard: OrderedDict[int, _Heard] = OrderedDict()
        # What the two sessions are, and until when (steady clock) that is a reason to hold.
        self.rivals, self.rivals_until_ns = "", 0

    def merged(self, chunk: Chunk) -> None:
        """From now on only newer chunks of this session are admitted."""
        self._heard.setdefault(chunk.session, _Heard()).merged = chunk.sequence

    def hear(self, chunk: Chunk, steady_ns: int) -> None:
        """Notes that a chunk came; once for each, and before it is checked."""
        heard = self._heard.setdefault(chunk.session, _Heard())
        if chunk.sequence <= heard.merged:
            return
        other, again = self._latest, heard.sequence and chunk.sequence > heard.sequence
        if other not in (0, chunk.session) and again and steady_ns - heard.steady_ns < _RIVALS_NS:
            self.rivals = f"two policies publish, sessions {chunk.session} and {other}"
            self.rivals_until_ns = steady_ns + _RIVALS_NS
        heard.sequence, heard.steady_ns = max(heard.sequence, chunk.sequence), steady_ns
        self._latest = chunk.session
        self._heard.move_to_end(chunk.session)
        while len(self._heard) > _SESSIONS_KEPT:
            self._heard.popitem(last=False)

    def check_order(self, chunk: Chunk, steady_ns: int) -> None:
        """Refuses a chunk that is not newer than the last one merged of its session, and all of two that take turns.

        Raises:
            ChunkError: OLD_SEQUENCE, or OLD_SESSION if two sessions are heard in turns.
        """
        heard = self._heard.get(chunk.session)
        if heard is not None and chunk.sequence <= heard.merged:
            text = f"chunk {chunk.sequence} is not newer than {heard.merged}; who begins anew takes another session"
            raise ChunkError(Rejection.OLD_SEQUENCE, text)
        if steady_ns < self.rivals_until_ns:
            raise ChunkError(Rejection.OLD_SESSION, self.rivals)

    def check(self, chunk: Chunk, now_ns: int) -> None:
        """Refuses a chunk that is too old, from the future, or jumps between its rows.

        Raises:
            ChunkError: typed.
        """
        settings, age_s = self._settings, (now_ns - chunk.observed_ns) * _S
        ahead_s = (max(chunk.stamp_ns, chunk.image_stamp_ns) - now_ns) * _S
        if ahead_s > settings.future_tolerance_s:
            raise ChunkError(Rejection.FUTURE_STAMP, f"the observation lies {ahead_s:.3f} s in the future")
        if age_s > settings.max_action_age_s:
            text = f"the observation is {age_s:.2f} s old, allowed {settings.max_action_age_s:.2f} s"
            raise ChunkError(Rejection.TOO_OLD, text)
        if chunk.observed_ns < self.not_before_ns:
            raise ChunkError(Rejection.BEFORE_HOLD, "the observation was made before the last hold or activation")
        check_steps(chunk, settings.limits.joints, settings.limits.step)

    def check_seam(self, offset: NDArray[np.float64]) -> None:
        """Refuses a plan that begins too far from where the arm is commanded to be.

        Args:
            offset: [joints] the distance between the two.

        Raises:
            ChunkError: typed.
        """
        limits, jump = self._settings.limits, np.abs(offset)
        if not (jump <= limits.jump).all():
            joint = int(np.argmax(jump / limits.jump))
            raise ChunkError(
                Rejection.JUMP_TOO_LARGE,
                f"{limits.joints[joint]} would start {jump[joint]:.3g} from where it is, "
                f"allowed {limits.jump[joint]:.3g}",
            )
