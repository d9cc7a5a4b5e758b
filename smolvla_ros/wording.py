"""Text from outside in sentences of ours: whatever its length, a line of the log stays a line."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

_MOST_NAMES = 12
_MOST_CHARACTERS = 80


def shortened(text: str) -> str:
    """The text, without its middle if it is long."""
    if len(text) <= _MOST_CHARACTERS:
        return text
    half = _MOST_CHARACTERS // 2
    return f"{text[:half]}...{text[-half:]}"


def listed(names: Iterable[str]) -> str:
    """The names as 'a, b, c', the first dozen of them if there are many; 'none' if there is none."""
    names = iter(names)
    first = [shortened(name) for name in islice(names, _MOST_NAMES)]
    more = sum(1 for _ in names)
    return (", ".join(first) or "none") + (f" and {more} more" if more else "")
