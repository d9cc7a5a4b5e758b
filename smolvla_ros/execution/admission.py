"""Whether a chunk may be merged at this moment: order, age, steps and the jump at the seam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .chunk import Chunk, ChunkError, Rejection, check_steps
from .settings import ControllerSettings

_S = 1e-9


class Admission:
    """Remembers what was merged last: within a session numbers only grow, and a session that was replaced stays so.

    Not locked: the controller owns it.
    """

    def __init__(self, settings: ControllerSettings):
        self.apply(settings)
        self._session = self._sequence = 0
        self._replaced: set[int] = set()
        # Observations made before this instant (ROS clock) are not wanted.
        self.not_before_ns = 0

    def apply(self, settings: ControllerSettings) -> None:
        self._settings = settings

    def merged(self, chunk: Chunk) -> None:
        """From now on only newer chunks are admitted."""
        if chunk.session != self._session:
            self._replaced.add(self._session)
        self._session, self._sequence = chunk.session, chunk.sequence

    def check_order(self, chunk: Chunk) -> None:
        """Refuses a chunk that is not newer than the last one merged.

        Raises:
            ChunkError: typed.
        """
        if chunk.session in self._replaced:
            raise ChunkError(
                Rejection.OLD_SESSION,
                f"session {chunk.session} was replaced by {self._session}: two policies publish",
            )
        if chunk.session == self._session and chunk.sequence <= self._sequence:
            raise ChunkError(Rejection.OLD_SEQUENCE, f"chunk {chunk.sequence} is not newer than {self._sequence}")

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
