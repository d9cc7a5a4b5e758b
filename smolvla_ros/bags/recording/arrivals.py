"""Messages that were sent and never came, by the numbers that publishers give them, whoever they are.

Each publisher counts its own messages, and which publisher a number is of cannot be told. So the numbers are sorted
into sequences: one that follows another without a gap belongs to it. A gap counts only as long as no other number
explains it: where a second publisher is heard for the first time, the first one goes on, and what looked like
thousands of lost messages was a beginning.
"""

from __future__ import annotations

from dataclasses import dataclass

_ENDS = 16  # sequences that are remembered; a gap is settled when its own is forgotten


@dataclass
class _End:
    """The last number of a sequence so far, and how many are missing before whatever was taken to follow it."""

    number: int
    missing: int = 0


class Arrivals:
    """Counts what is missing in the numbers of one topic. Not locked.

    Attributes:
        missing: how many, as far as is known.
    """

    def __init__(self) -> None:
        self.missing = 0
        self._ends: list[_End] = []  # the latest first

    def add(self, number: int) -> None:
        """The number of the next message that arrived."""
        before = max((end for end in self._ends if end.number < number), key=lambda end: end.number, default=None)
        if before is not None:
            gap = number - before.number - 1
            self._settle(before, gap)
            if not gap:
                self._ends.remove(before)
        # Two publishers may be at the same number: then there are two ends of it.
        self._ends = [_End(number), *self._ends][:_ENDS]

    def _settle(self, end: _End, gap: int) -> None:
        """Of all that may follow a number, the next one does; others begin sequences of their own."""
        claimed = end.missing
        if claimed and claimed <= gap:
            return
        end.missing = gap
        self.missing += gap - claimed
