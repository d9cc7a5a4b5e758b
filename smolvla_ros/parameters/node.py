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
    exit_on_failed_start: bool = parameter(
        False, "End the process, with exit code 1, when that fails; false: the node stays up, to be mended and "
        "configured anew."
    )
