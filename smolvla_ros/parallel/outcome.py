"""What both ways of running a function on many inputs give back."""

from __future__ import annotations

from dataclasses import dataclass

# How often an input is given to a process, so that one that was killed for another's sake gets a second chance.
ATTEMPTS = 2


@dataclass(frozen=True)
class Lost:
    """In place of a result: whoever worked on this input was gone `ATTEMPTS` times; `reason` says how it ended."""

    reason: str
