"""The parameters of a node as the fields of a frozen dataclass: declared once, read as typed settings. Knows no ROS.

    @dataclass(frozen=True)
    class JointParameters(ParameterSet):
        scale: float = parameter(1.0, "Checkpoint value = scale * ROS value.")

    @dataclass(frozen=True)
    class RobotParameters(ParameterSet):
        joints: tuple[str, ...] = parameter((), "Names of the joints.", required=True)
        joint: Mapping[str, JointParameters] = records(JointParameters, over="joints")

declares the ROS parameters ``joints`` and, for each name in it, ``joint.<joint>.scale``; the node reads
``parameters.joint["elbow"].scale``, a float.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from .table import Parameter, Value, check_values

_PARAMETER, _RECORD, _OVER = "parameter", "record", "over"


def parameter(
    default: bool | int | float | str | tuple[float, ...] | tuple[str, ...],
    description: str,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    choices: tuple[str, ...] = (),
    live: bool = False,
    required: bool = False,
    is_topic: bool = False,
) -> Any:
    """A field of a `ParameterSet`: one ROS parameter of the field's name; see `Parameter`.

    The choices of a field annotated as a Literal are those of the Literal.
    """
    value: Value = list(default) if isinstance(default, tuple) else default  # type: ignore[assignment]
    facts = Parameter("", value, description, unit, minimum, maximum, choices, live, required, is_topic=is_topic)
    return dataclasses.field(default=default, metadata={_PARAMETER: facts})


def records(kind: type[ParameterSet], over: str) -> Any:
    """A field of a `ParameterSet`: one `kind` for each name in the string array `over`, by name."""
    return dataclasses.field(default_factory=dict, metadata={_RECORD: kind, _OVER: over})


@dataclasses.dataclass(frozen=True)
class ParameterSet:
    """Checked values of declared parameters. Immutable: a change gives a new object."""

    @classmethod
    def declared(cls) -> tuple[Parameter, ...]:
        """The ROS parameters, templates unexpanded, in the order of the fields."""
        hints = get_type_hints(cls)
        found: list[Parameter] = []
        for field in dataclasses.fields(cls):
            if _PARAMETER in field.metadata:
                facts = dataclasses.replace(field.metadata[_PARAMETER], name=field.name)
                if get_origin(hints[field.name]) is Literal:
                    facts = dataclasses.replace(facts, choices=get_args(hints[field.name]))
                elif get_origin(hints[field.name]) is tuple:
                    facts = dataclasses.replace(facts, listed=get_args(hints[field.name])[0])
                found.append(facts)
            else:
                prefix, over = f"{field.name}.<{field.name}>.", field.metadata[_OVER]
                templates = field.metadata[_RECORD].declared()
                found += (dataclasses.replace(one, name=prefix + one.name, over=over) for one in templates)
        return tuple(found)

    @classmethod
    def from_values(cls, values: Mapping[str, Value]) -> Self:
        """The settings that these values, by ROS name, and the defaults of all others give.

        Raises:
            ParameterError: naming every unknown name and every value of a wrong type or out of range.
        """
        return cls._typed(check_values(cls.declared(), values))

    @classmethod
    def _typed(cls, values: Mapping[str, Value]) -> Self:
        """The settings of complete, checked values."""
        fields: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if _PARAMETER in field.metadata:
                value = values[field.name]
                fields[field.name] = tuple(value) if isinstance(value, list) else value
            else:
                names = values[field.metadata[_OVER]]
                kind: type[ParameterSet] = field.metadata[_RECORD]
                fields[field.name] = {
                    str(name): kind._typed(_below(f"{field.name}.{name}.", values))
                    for name in (names if isinstance(names, list | tuple) else ())
                }
        return cls(**fields)

    def values(self) -> dict[str, Value]:
        """All values by their ROS names, as they stand in a parameter file: the reverse of `from_values`."""
        found: dict[str, Value] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if _PARAMETER in field.metadata:
                found[field.name] = list(value) if isinstance(value, tuple) else value
            else:
                for name, record in value.items():
                    found |= {f"{field.name}.{name}.{key}": inner for key, inner in record.values().items()}
        return found


def _below(prefix: str, values: Mapping[str, Value]) -> dict[str, Value]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
