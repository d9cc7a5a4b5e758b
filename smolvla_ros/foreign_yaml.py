"""YAML that others wrote: metadata of bags, robot configs, values on a command line.

A file of some hundred bytes can stand for 10^9 values (an anchor used ten times in one that is used ten times, and so
on), tags and odd numbers make PyYAML raise whatever comes, and its pure parser takes seconds for a megabyte. So there
are no aliases here, everything is counted before it is built, and there is one error. rcl reads no aliases either.
"""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 2**22
MAX_VALUES = 200_000  # a second of work, and 100 MB while it is done
MAX_DEPTH = 50
_MAX_DIGITS = 64

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What PyYAML's constructors raise on values that are not what their tag or form says.
_NO_VALUE = (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError)


class YamlError(ValueError):
    """A text that is no YAML, or more of it than is read; the text says what and where."""


class _Loader(_Parser):  # type: ignore[misc]
    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """An integer of a length that can be converted; base 60 and conversion to text take quadratic time."""
        if len(node.value) > _MAX_DIGITS:
            raise yaml.constructor.ConstructorError(None, None, f"{len(node.value)} digits", node.start_mark)
        return int(self.construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)


def load_yaml(text: str, max_values: int = MAX_VALUES) -> Any:
    """The content of one YAML document, of plain values, lists and dicts; these are counted together.

    Raises:
        YamlError: it is none, has aliases, or is larger than the bounds above.
    """
    if len(text) > MAX_BYTES:
        raise YamlError(f"it has {len(text)} characters, expected {MAX_BYTES} at most")
    try:
        _look_through(text, max_values)
        return yaml.load(text, Loader=_Loader)
    except _NO_VALUE as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(_reason(error)) from error


def load_yaml_file(file: Path, max_values: int = MAX_VALUES) -> Any:
    """As `load_yaml`, of a file.

    Raises:
        YamlError: see `load_yaml`; also what is no file or no UTF-8.
        OSError: it cannot be read.
    """
    if file.exists() and not file.is_file():
        raise YamlError("it is no file")
    with file.open("rb") as source:
        data = source.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise YamlError(f"it has more than {MAX_BYTES} bytes")
    try:
        return load_yaml(data.decode("utf-8-sig"), max_values)
    except UnicodeDecodeError as error:
        raise YamlError(f"it is no text in UTF-8 ({error.reason} at byte {error.start})") from error


def _look_through(text: str, max_values: int) -> None:
    """Goes through a document without building anything of it. Raises: YamlError."""
    values = depth = 0
    for event in yaml.parse(text, Loader=_Parser):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1
            raise YamlError(f"line {line} has the alias '*{reprlib.repr(event.anchor)[1:-1]}', expected none")
        values += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if values > max_values or depth > MAX_DEPTH:
            raise YamlError(f"it has more than {max_values} values, or lists and maps more than {MAX_DEPTH} deep")


def _reason(error: Exception) -> str:
    """One short line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or f"{type(error).__name__}: {error}"
    place = f"line {mark.line + 1}: " if mark else ""
    return place + " ".join(str(problem).split())[:200]
