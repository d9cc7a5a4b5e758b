"""From a chunk to a plan: everything that takes long about a merge, made from a snapshot and without any lock."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .chunk import Chunk
from .merge import weight_of_new
from .plan import Motion, Plan
from .settings import ControllerSettings

_S = 1e-9


class Merged(NamedTuple):
    """What a chunk becomes: its plan, and how far that begins from the motion it is joined to, [joints]."""

    plan: Plan
    distance: NDArray[np.float64]


class Seam(NamedTuple):
    """All that a plan is made from: while this stays the same, so would the plan.

    Attributes:
        settings: of the controller.
        running: the plan that is executed meanwhile; None: none.
        last: the motion commanded last, for the instant `at_ns`; at rest where the arm is, if nothing was.
        start_ns: the instant of the chunk's row 0.
    """

    settings: ControllerSettings
    running: Plan | None
    last: Motion
    at_ns: int
    start_ns: int

    def same(self, other: Seam) -> bool:
        """Whether a plan made from the other fits here, too."""
        return (
            self.settings is other.settings
            and self.running is other.running
            and (self.at_ns, self.start_ns) == (other.at_ns, other.start_ns)
            and np.array_equal(self.last, other.last)
        )

    def merge(self, chunk: Chunk) -> Merged:
        """Makes the plan; takes 1 to 3 ms."""
        settings, rows = self.settings, chunk.positions
        averaged = np.ones(chunk.rows, dtype=np.int64)
        if self.running is not None and settings.merge_rule != "latest_only":
            rows, averaged = _mean(self.running, rows, self.start_ns, chunk.step_ns, settings)
        plan = Plan(rows, averaged, self.start_ns, chunk.step_ns, settings.interpolation)
        # The last command was for the last step, which may have been just before row 0.
        distance = plan.join(self.last, self.at_ns, settings.room, settings.ease_in_rows * chunk.step_ns * _S)
        return Merged(plan, distance)


def _mean(
    old: Plan, rows: NDArray[np.float64], start_ns: int, step_ns: int, settings: ControllerSettings
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The rows of a new chunk averaged with an old plan where both cover the instant, and the chunks in each mean."""
    first = max(0, -((start_ns - old.start_ns) // step_ns))
    last = min(len(rows), -((start_ns - old.end_ns) // step_ns))
    averaged = np.ones(len(rows), dtype=np.int64)
    if first >= last:
        return rows, averaged
    old_rows, old_averaged = old.positions_at(start_ns + step_ns * np.arange(first, last, dtype=np.int64))
    weight = weight_of_new(settings.merge_rule, old_averaged, settings.ensemble_decay)
    merged = rows.copy()
    merged[first:last] = old_rows + weight * (rows[first:last] - old_rows)
    averaged[first:last] = old_averaged + 1
    return merged, averaged
