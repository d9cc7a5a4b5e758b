"""One ROS parameter: name, default, range, unit, sentence; and values held against many of them. Knows no ROS.

`expand` turns templates (``joint.<joint>.scale``) into one parameter for each joint or camera; `check_values` holds a
complete set of values against a table and names everything that is wrong at once.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

Value: TypeAlias = bool | int | float | str | list[float] | list[str]

_MARK = re.compile("<[^>]*>")  # of a template: where each name of the array that it runs over goes


def is_topic_name(text: str) -> bool:
    """Whether ROS takes it for the name of a topic, absolute, relative or private."""
    return re.fullmatch(r"(~/|/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", text, re.ASCII) is not None


class ParameterError(ValueError):
    """One or more parameters cannot be used. The text names each of them, its value and what is allowed."""

    def __init__(self, problems: Sequence[str]):
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


# Words of YAML 1.1 for false and true, which `ros2 param` takes even quoted ones for.
_SWITCHES = ("off", "no", "false"), ("on", "yes", "true")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a node.

    The type is that of `default`; an empty list is a list of `listed`. `minimum` and `maximum` are inclusive and
    apply to each element of a list. `live` parameters may be changed while the node is active, all others are
    read at configure. A `required` parameter has no usable default: leaving it at `default` is refused. `is_topic`: it
    names a topic. A parameter with a mark in its name, such as ``joint.<joint>.scale``, is a template: it stands for
    one parameter for each name in the string array `over`.
    """

    name: str
    default: Value
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    required: bool = False
    over: str = ""
    is_topic: bool = False
    listed: type = str

    def stands_for(self, name: str) -> bool:
        """Whether a parameter may be called so: `joint.pan.scale` if this is ``joint.<joint>.scale``."""
        return re.fullmatch(".+".join(map(re.escape, _MARK.split(self.name))), name) is not None

    @property
    def kind(self) -> type:
        return type(self.default)

    @property
    def element_kind(self) -> type:
        """The type of one element: that of the first one of a list, else of the value itself."""
        if isinstance(self.default, list):
            return type(self.default[0]) if self.default else self.listed
        return type(self.default)

    @property
    def kind_name(self) -> str:
        name = {bool: "bool", int: "integer", float: "double", str: "string"}[self.element_kind]
        return f"{name} array" if self.kind is list else name

    @property
    def allowed(self) -> str:
        """The allowed values in words, for error texts and the documentation; empty if anything goes."""
        if self.is_topic:
            return "a topic name: words of letters, digits and '_' with '/' between them"
        if self.choices:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"at least {self.minimum:g}"
        if self.maximum is not None:
            return f"at most {self.maximum:g}"
        return ""

    def problem(self, value: object) -> str | None:
        """What is wrong with `value` in one sentence, or None."""
        if not self._has_kind(value):
            article = "an" if self.kind_name.startswith("i") else "a"
            return f"parameter '{self.name}' is {value!r}, expected {article} {self.kind_name}"
        if self.required and value == self.default:
            return f"parameter '{self.name}' must be set ({self.description.rstrip('.')})"
        elements: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
        for element in elements:
            if isinstance(element, float) and not math.isfinite(element):
                return f"parameter '{self.name}' is {value!r}, expected finite numbers"
            if not self._is_allowed(element):
                unit = f" {self.unit}" if self.unit else ""
                return f"parameter '{self.name}' is {value!r}, expected {self.allowed}{unit}"
        return None

    def coerce(self, value: Value) -> Value:
        """`value` as it was meant in YAML: integers are doubles where those are expected, and `off` is a word where the
        parameter has that choice, not false.
        """
        if self.kind is str and isinstance(value, bool):
            return next((word for word in _SWITCHES[value] if word in self.choices), value)
        if self.element_kind is not float:
            return value
        if isinstance(value, list | tuple):
            return [float(item) if type(item) is int else item for item in value]  # type: ignore[return-value]
        return float(value) if type(value) is int else value

    def _has_kind(self, value: object) -> bool:
        if self.kind is list:
            return isinstance(value, list | tuple) and all(type(item) is self.element_kind for item in value)
        return type(value) is self.kind

    def _is_allowed(self, element: bool | int | float | str) -> bool:
        if self.is_topic:
            return is_topic_name(str(element)) or element == self.default == ""
        if self.choices:
            return element in self.choices
        if isinstance(element, str | bool):
            return True
        return (self.minimum is None or element >= self.minimum) and (self.maximum is None or element <= self.maximum)


def expand(table: Iterable[Parameter], values: Mapping[str, Value]) -> list[Parameter]:
    """The table with every template replaced by one parameter for each name.

    Args:
        table: parameters, possibly templates.
        values: the values of the string arrays that the templates run over.
    """
    expanded = []
    for parameter in table:
        if not parameter.over:
            expanded.append(parameter)
            continue
        names = values.get(parameter.over, [])
        expanded += [
            replace(parameter, name=_MARK.sub(lambda _, name=name: str(name), parameter.name), over="")  # type: ignore[misc]
            for name in (names if isinstance(names, list | tuple) else [])
        ]
    return expanded


def check_values(table: Iterable[Parameter], values: Mapping[str, Value]) -> dict[str, Value]:
    """The complete, checked values of `table` (templates expanded): those given, defaults for the others.

    Raises:
        ParameterError: naming every unknown name and every value of a wrong type or out of range.
    """
    table = list(table)
    ranges = {parameter.over for parameter in table}
    arrays = {p.name: values.get(p.name, p.default) for p in table if p.name in ranges}
    wrong = [problem for p in table if p.name in ranges & values.keys() and (problem := p.problem(arrays[p.name]))]
    if wrong:  # whatever is wrong with joint.<joint>... follows from it
        raise ParameterError(wrong)
    known = {parameter.name: parameter for parameter in expand(table, arrays)}
    problems = [_unknown(name, known) for name in values if name not in known]
    checked: dict[str, Value] = {}
    for name, parameter in known.items():
        checked[name] = parameter.coerce(values.get(name, parameter.default))
        problem = parameter.problem(checked[name])
        if problem:
            problems.append(problem)
    if problems:
        raise ParameterError(problems)
    return checked


def _unknown(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f", did you mean '{close[0]}'?" if close else ""
    return f"parameter '{name}' is not known{hint}"
