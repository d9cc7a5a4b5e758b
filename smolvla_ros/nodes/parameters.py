"""Declares a `ParameterSet` on an rclpy node and reads it back.

Every parameter is declared with its descriptor at construction. What is wrong with the overrides is kept and
raised by `read`, at configure, where a lifecycle node can refuse it in one text; the node itself always
comes up, so that the parameter can be mended and configure tried again.

Everything here runs in the executor's thread.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.parameter import Parameter as RosParameter

from smolvla_ros.parameters import Parameter, ParameterError, ParameterSet, Value, check_values, expand

from .boundary import GuardedNode

# Names that rclpy itself declares or reads.
_RCLPY_NAMES = ("use_sim_time", "start_type_description_service", "qos_overrides.")


_Set = TypeVar("_Set", bound=ParameterSet)


class NodeParameters(Generic[_Set]):
    """The parameters of one node.

    Args:
        node: the node they are declared on.
        kind: the node's own parameters.
        tolerated: parameters of other nodes that may stand in a shared section of the same file.
        is_configured: tells whether only live parameters may be changed at present.
        on_change: called with the names of parameters after they were changed live to other values.
    """

    def __init__(
        self,
        node: GuardedNode,
        kind: type[_Set],
        tolerated: type[ParameterSet],
        is_configured: Callable[[], bool],
        on_change: Callable[[set[str]], None],
    ):
        self._node = node
        self._kind = kind
        self._table = kind.declared()
        self._tolerated = tolerated.declared()
        self._is_configured = is_configured
        self._on_change = on_change
        self._bad_overrides: dict[str, str] = {}
        self._differing: set[str] = set()
        self._declare()
        unchecked = SetParametersResult(successful=False, reason="internal error, see the log of the node")
        node.add_on_set_parameters_callback(node.boundary.guarded(self._check_change, lambda _: unchecked))
        node.add_post_set_parameters_callback(node.boundary.guarded(self._changed))

    def read(self) -> _Set:
        """The settings that the present values give.

        Raises:
            ParameterError: naming every unknown, wrong or missing one.
        """
        self._declare()  # `joints` may have changed since
        ranges = {parameter.over for parameter in self._table}
        if causes := [problem for name, problem in self._bad_overrides.items() if name in ranges]:
            raise ParameterError(causes)  # whatever is wrong with joint.<joint>... follows from it
        try:
            settings = self._kind.from_values(self._current())
        except ParameterError as error:
            problems = [p for p in error.problems if not any(f"'{name}'" in p for name in self._bad_overrides)]
            raise ParameterError([*self._unknown(), *self._bad_overrides.values(), *problems]) from None
        problems = [*self._unknown(), *self._bad_overrides.values()]
        if problems:
            raise ParameterError(problems)
        return settings

    def meant(self, changes: Sequence[RosParameter]) -> list[RosParameter]:
        """The changes with values as they were meant (`Parameter.coerce`), without those that change nothing.

        `ros2 param load` sets everything that a node has, also what rclpy has made read-only.
        """
        table = {parameter.name: parameter for parameter in self._expanded(self._table)}
        differing = []
        for change in changes:
            value = table[change.name].coerce(change.value) if change.name in table else change.value
            known = self._node.has_parameter(change.name)
            if known and _same(value, self._node.get_parameter(change.name).value):
                continue
            differing.append(change if _same(value, change.value) else RosParameter(change.name, value=value))
        return differing

    def _overrides(self) -> dict[str, Value]:
        return {name: parameter.value for name, parameter in self._node._parameter_overrides.items()}

    def _expanded(self, table: Sequence[Parameter]) -> list[Parameter]:
        arrays = {}
        for name in {parameter.over for parameter in table if parameter.over}:
            declared = self._node.has_parameter(name)
            arrays[name] = self._node.get_parameter(name).value if declared else self._overrides().get(name, [])
        return expand(table, arrays)

    def _declare(self) -> None:
        ranges = {parameter.over for parameter in self._table}
        for parameter in self._table:
            if parameter.name in ranges:
                self._declare_one(parameter)
        for parameter in self._expanded(self._table):
            self._declare_one(parameter)

    def _declare_one(self, parameter: Parameter) -> None:
        if self._node.has_parameter(parameter.name):
            return
        value = parameter.coerce(self._overrides().get(parameter.name, parameter.default))
        # A required value that is missing is no bad override: check_values reports it.
        problem = parameter.problem(value) if value != parameter.default else None
        if problem:
            self._bad_overrides[parameter.name] = problem
            value = parameter.default
        self._node.declare_parameter(parameter.name, value, _descriptor(parameter), ignore_override=True)

    def _current(self) -> dict[str, Value]:
        return {p.name: self._node.get_parameter(p.name).value for p in self._expanded(self._table)}

    def _unknown(self) -> list[str]:
        known = {p.name for p in (*self._expanded(self._table), *self._expanded(self._tolerated))}
        names = [n for n in self._overrides() if n not in known and not n.startswith(_RCLPY_NAMES)]
        if not names:
            return []
        try:
            check_values([p for p in self._expanded(self._table) if not p.required], dict.fromkeys(names, 0))
        except ParameterError as error:
            return list(error.problems)
        return []

    def _check_change(self, changes: list[RosParameter]) -> SetParametersResult:
        table = {parameter.name: parameter for parameter in self._expanded(self._table)}
        differing = set()
        for change in changes:
            parameter = table.get(change.name)
            if parameter is None:
                continue  # rclpy's own, or a joint that is being declared
            differing.add(change.name)
            if self._is_configured() and not parameter.live:
                reason = f"parameter '{change.name}' is read at configure: clean up the node, set it, configure again"
                return SetParametersResult(successful=False, reason=reason)
            problem = parameter.problem(change.value)
            if problem and not (parameter.required and change.value == parameter.default):
                return SetParametersResult(successful=False, reason=problem)
        if differing and self._is_configured() and (conflict := self._conflict(changes)):
            return SetParametersResult(successful=False, reason=conflict)
        self._differing = differing
        return SetParametersResult(successful=True)

    def _conflict(self, changes: list[RosParameter]) -> str:
        """What is wrong with the settings as a whole after these changes; '' if nothing is."""
        values = self._current()
        try:
            self._kind.from_values(values | {one.name: one.value for one in changes if one.name in values})
        except ParameterError as error:
            return "; ".join(error.problems)
        return ""

    def _changed(self, changes: list[RosParameter]) -> None:
        for change in changes:
            self._bad_overrides.pop(change.name, None)
        names, self._differing = self._differing & {change.name for change in changes}, set()
        if names and self._is_configured():
            self._on_change(names)


def _same(value: object, other: object) -> bool:
    """Whether two values are one, of one type: 1 is not True."""
    arrays = (list, tuple, array)
    if isinstance(value, arrays) and isinstance(other, arrays):
        return len(value) == len(other) and all(map(_same, value, other))
    return type(value) is type(other) and value == other


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    unit = f" [{parameter.unit}]" if parameter.unit else ""
    descriptor = ParameterDescriptor(
        name=parameter.name,
        description=parameter.description + unit,
        additional_constraints=parameter.allowed if parameter.choices else "",
        # The type is checked by the table; rclpy cannot tell the type of an empty array.
        dynamic_typing=True,
    )
    bounded = parameter.minimum is not None or parameter.maximum is not None
    if bounded and parameter.kind is float:
        low = -1.7e308 if parameter.minimum is None else parameter.minimum
        high = 1.7e308 if parameter.maximum is None else parameter.maximum
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    elif bounded and parameter.kind is int:
        low = -(2**63) if parameter.minimum is None else parameter.minimum
        high = 2**63 - 1 if parameter.maximum is None else parameter.maximum
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return descriptor
