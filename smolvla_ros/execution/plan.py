"""A plan: the rows of one merged chunk as a continuous motion, joined to the motion before it.

Without help, a new chunk begins where the policy believed the arm to be, not where the last command left it. The plan
adds the difference in position, velocity and acceleration at the seam as an offset that a quintic takes to zero within
the ease-in time. So commands are continuous to the second derivative across every seam (with cubic interpolation), and
reach the new chunk exactly. Averaging the overlap does not do that; it was measured not to help
(docs/explanation/execution.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .interpolation import decay_to_zero, evaluate_cubic, evaluate_quintic, segments

_S = 1e-9


class Motion(NamedTuple):
    """Position, velocity and acceleration of all joints at one instant, each [joints]."""

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    acceleration: NDArray[np.float64]

    @classmethod
    def at_rest(cls, position: NDArray[np.float64]) -> Motion:
        return cls(position, np.zeros_like(position), np.zeros_like(position))


class Plan:
    """Rows at `start_ns + i * step_ns`, a polynomial between each two, and the ease-in. Not changed once it is in use.

    Args:
        rows: [n, joints] in rad or m.
        averaged: [n] how many chunks are in the mean of each row.
        start_ns: instant of row 0 on the ROS clock.
        step_ns: time between two rows.
        interpolation: 'linear' or 'cubic'.
    """

    def __init__(
        self, rows: NDArray[np.float64], averaged: NDArray[np.int64], start_ns: int, step_ns: int, interpolation: str
    ):
        self.rows = rows
        self.averaged = averaged
        self.start_ns = start_ns
        self.step_ns = step_ns
        self._segments = segments(rows, step_ns * _S, interpolation)
        self._ease_start_ns = start_ns
        self._ease_ns = 0
        self._ease: NDArray[np.float64] | None = None

    def offset_of(self, motion: Motion, at_ns: int) -> NDArray[np.float64]:
        """How far `motion` is from this plan at `at_ns`: [3, joints], position, velocity and acceleration."""
        return np.array(motion) - self._sample(at_ns)

    def ease_in(self, offset: NDArray[np.float64], at_ns: int, duration_ns: int) -> None:
        """Begins `offset` away at the instant `at_ns`, and is itself again `duration_ns` later; once, before use."""
        if duration_ns > 0:
            self._ease_start_ns, self._ease_ns = at_ns, duration_ns
            self._ease = decay_to_zero(offset, duration_ns * _S)

    @property
    def end_ns(self) -> int:
        """The last row holds for one step; from this instant on there is nothing to execute."""
        return self.start_ns + len(self.rows) * self.step_ns

    def index_at(self, now_ns: int) -> int:
        """The row that is executed at `now_ns`; negative before the first, len(rows) or more after the end."""
        return (now_ns - self.start_ns) // self.step_ns

    def sample(self, now_ns: int) -> Motion:
        """The motion at `now_ns`; before the first row and after the last one, those rows at rest."""
        return Motion(*self._sample(now_ns))

    def _sample(self, now_ns: int) -> NDArray[np.float64]:
        index = min(max(self.index_at(now_ns), 0), len(self.rows) - 1)
        u = min(max(now_ns - self.start_ns - index * self.step_ns, 0), self.step_ns) * _S
        motion = evaluate_cubic(self._segments[index], u)
        since_ease_ns = now_ns - self._ease_start_ns
        if self._ease is not None and since_ease_ns < self._ease_ns:
            x = max(since_ease_ns, 0) / self._ease_ns
            motion += evaluate_quintic(self._ease, x, self._ease_ns * _S)
        return motion

    def positions_at(self, times_ns: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Rows interpolated linearly at `times_ns`, without the ease-in, and how many chunks each is a mean of.

        The times must lie between the first row and `end_ns`.
        """
        place = (times_ns - self.start_ns) / self.step_ns
        lower = place.astype(np.int64)
        upper = np.minimum(lower + 1, len(self.rows) - 1)
        before, fraction = self.rows[lower], (place - lower)[:, None]
        rows = before + fraction * (self.rows[upper] - before)
        return rows, self.averaged[lower]
