"""Options of the commands that read bags: whose bag it is, and how its topics are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bringup.options import BringUpError

from .robot_option import read_values

if TYPE_CHECKING:
    from smolvla_ros.bags.reader import Bag
    from smolvla_ros.parameters import Parameter
    from smolvla_ros.parameters.table import Value


def node_values(
    bag: Bag, robot: str, node: str, table: Sequence[Parameter], namespace: str, overrides: Mapping[str, Value]
) -> dict[str, Value]:
    """The parameters of a node: as in the robot config of this name or, without one, as the bag tells them.

    Args:
        node: 'policy_node', 'controller_node', ...
        table: all that the node has.
        namespace: of the robot in the bag.
        overrides: values that count instead.

    Raises:
        BagError: the bag does not tell. BringUpError: the config cannot be used.
    """
    from smolvla_ros.bags.streams import recorded_parameters
    from smolvla_ros.parameters import ParameterError, check_values

    if robot:
        folder = f"/{namespace.strip('/')}" if namespace else ""
        return read_values(robot, f"{folder}/{node}", table, overrides)
    recorded = recorded_parameters(bag, namespace).get(node)
    if recorded is None:
        raise BagError(f"{bag.path} does not tell the parameters of {node} when it was recorded: give --robot")
    try:
        return check_values(table, {**recorded, **overrides})
    except ParameterError as error:
        raise BagError(f"{bag.path}: {node} as it was recorded: {error}; give --robot") from error


def name_pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """`NAME:=VALUE` of an option that may be given more than once.

    Raises:
        BringUpError: a text is no pair.
    """
    pairs = {}
    for text in texts:
        name, mark, value = text.partition(":=")
        if not (mark and name and value):
            raise BringUpError(f"{option} is '{text}', expected NAME:=VALUE")
        pairs[name.strip()] = value.strip()
    return pairs
