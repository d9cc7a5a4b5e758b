"""Typed reading of JSON objects: the one place where a value of a checkpoint becomes one of the program's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from smolvla_ros.model.errors import CheckpointError

_MOST_TEXT = 4096


class JsonReader:
    """One JSON object of a file.

    Each method gives the value of a key, its default where it is absent or null, and refuses what is of another type
    or out of its range, naming file, key, value and what was expected.
    """

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.values = values
        self.path = path

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number from `least` to `most`."""
        value = self._value(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.refuse(key, f"a whole number from {least} to {most}")
        return value

    def number(self, key: str, default: float, least: float, most: float) -> float:
        """A number from `least` to `most`; 1 is as good as 1.0."""
        value = self._value(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
            raise self.refuse(key, f"a number from {least:g} to {most:g}")
        return float(value)

    def text(self, key: str, default: str = "") -> str:
        value = self._value(key, default)
        if not isinstance(value, str) or len(value) > _MOST_TEXT:
            raise self.refuse(key, f"a text of at most {_MOST_TEXT} characters")
        return value

    def texts(self, key: str, most: int) -> tuple[str, ...]:
        """A list of at most `most` texts."""
        found = self._value(key, [])
        if not isinstance(found, list) or len(found) > most or not all(isinstance(item, str) for item in found):
            raise self.refuse(key, f"a list of at most {most} texts")
        return tuple(found)

    def section(self, key: str) -> JsonReader:
        """The object of `key`, empty where it is absent."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            raise self.refuse(key, "an object")
        return JsonReader(value, self.path)

    def names(self) -> dict[str, str]:
        """The whole object, where it maps names to names."""
        if not all(isinstance(value, str) for value in self.values.values()):
            raise CheckpointError(f"{self.path}: found {shown(dict(self.values))}, expected names mapped to names")
        return dict(self.values)

    def refuse(self, key: str, expected: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {key!r} is {shown(self.values.get(key))}, expected {expected}")

    def _value(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        return default if value is None else value


def shown(value: Any) -> str:
    """A value for a message, of a length that fits in one."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 120 else text[:120] + " ..."


def listed(names: Iterable[str], most: int = 3) -> str:
    """The first of some names for a message, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name[:120] for name in names[:most]) + rest
