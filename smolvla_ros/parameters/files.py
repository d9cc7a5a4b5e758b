"""Reads a node's parameters out of a YAML file of ROS parameters where no node runs: for the tools."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from smolvla_ros.foreign_yaml import YamlError, load_yaml_file

from .declaration import ParameterSet
from .table import ParameterError, Value

_Set = TypeVar("_Set", bound=ParameterSet)

# Arms of a hundred joints have a thousand. What comes after grows faster than the file.
_MAX_VALUES = 3000
_MAX_UNKNOWN = 20
_MAX_NAME = 255  # as in ROS


def read_parameters(
    file: Path, node: str, kind: type[_Set], overrides: Mapping[str, Value] | None = None
) -> _Set:
    """The parameters that rcl would give to a node from this file.

    Sections follow one another as in rcl: each that matches the node's full name ('/**', '/**/policy_node', ...) adds
    to those before. A section for all nodes may hold names that this one does not have; its own section may not.

    Args:
        file: YAML, `section: {ros__parameters: {...}}`.
        node: full name of the node, such as '/policy_node' or '/left/policy_node'.
        kind: the node's parameters.
        overrides: values that count instead of those in the file.

    Raises:
        ParameterError: the file is no such file, or a value cannot be used; the text names the file.
    """
    try:
        sections = load_yaml_file(file, _MAX_VALUES)
        flat = [(str(name), flatten(section["ros__parameters"])) for name, section in sections.items()]
    except (OSError, YamlError, AttributeError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ParameterError(
            [f"{file} is not a YAML file of ROS parameters, 'section: {{ros__parameters: ...}}' ({reason})"]
        ) from error
    values: dict[str, Value] = {}
    declared = kind.declared()

    @functools.cache
    def is_known(name: str) -> bool:
        return any(parameter.stands_for(name) for parameter in declared)

    for name, section in flat:
        if _matches(name, node):
            if name.rpartition("/")[2] in ("*", "**"):  # of all nodes, so also what others have
                section = {key: value for key, value in section.items() if is_known(key)}
            values |= section
    unknown = [name[:_MAX_NAME] for name in values if not is_known(name)]
    if len(unknown) > _MAX_UNKNOWN:
        raise ParameterError([f"{file}: {len(unknown)} parameters are not known, such as {', '.join(unknown[:3])}"])
    try:
        return kind.from_values(values | dict(overrides or {}))
    except ParameterError as error:
        raise ParameterError([f"{file}: {problem}" for problem in error.problems]) from None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters with dots in their names, as ROS reads them."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _matches(section: str, node: str) -> bool:
    """Whether a section's name, with '*' for one level and '**' for any number of them, names the node."""
    if len(section) > _MAX_NAME:
        return False
    parts = [{"**": "(/[^/]+)*", "*": "/[^/]+"}.get(part, "/" + re.escape(part)) for part in section.split("/") if part]
    return re.fullmatch("".join(parts), "/" + node.strip("/")) is not None
