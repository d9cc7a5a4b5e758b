"""What every node has."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import ParameterSet, parameter


@dataclass(frozen=True)
class NodeParameterSet(ParameterSet):
    """The parameters of a lifecycle node."""

    autostart: bool = parameter(
        True, "Configure and activate the node at its start; false: a lifecycle manager does."
    )
