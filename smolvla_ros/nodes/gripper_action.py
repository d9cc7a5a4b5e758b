"""A gripper whose controller takes an action only: GripperActionController, parallel_gripper_action_controller.

`control_msgs` is not among the packages that pip installs; it is imported where a robot's description asks for it. A
goal replaces the one before, which a controller answers; so goals are sent when the command has changed, and a few per
second at most. The last one is the position at which the command came to rest.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.action import ActionClient
from rclpy.node import Node

from smolvla_ros.execution.commander import Command
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import CommandGroup

_LEAST_INTERVAL_NS = 200_000_000
_CHANGE = 1e-3  # rad or m


class _Selected(Protocol):
    group: CommandGroup

    def positions(self, motion: Command) -> NDArray[np.float64]: ...


class GripperAction:
    """Goals of a GripperCommand or ParallelGripperCommand for one joint. Called by the control thread only.

    Raises:
        ParameterError: control_msgs is not installed.
    """

    publishers: list[Any]

    def __init__(self, node: Node, selection: _Selected):
        group = selection.group
        self._selection = selection
        self._goal = _goal_type(group)
        self._client = ActionClient(node, self._goal, group.topic)
        self.publishers = []
        self._sent_ns, self._sent = 0, np.inf

    def carry_on(self, at_ns: int) -> None:
        """A goal stands."""

    def send(self, command: Command, now_ns: int) -> None:
        position = float(self._selection.positions(command)[0])
        waits = 0 <= now_ns - self._sent_ns < _LEAST_INTERVAL_NS
        if waits or abs(position - self._sent) < _CHANGE or not self._client.server_is_ready():
            return
        self._sent_ns, self._sent = now_ns, position
        self._client.send_goal_async(self._filled(position))

    def _filled(self, position: float) -> Any:
        group, goal = self._selection.group, self._goal.Goal()
        if group.type == "gripper_command":
            goal.command.position, goal.command.max_effort = position, group.max_effort
            return goal
        goal.command.name, goal.command.position = list(group.joints), [position]
        if group.max_effort:
            goal.command.effort = [group.max_effort]
        return goal


def _goal_type(group: CommandGroup) -> Any:
    name = "GripperCommand" if group.type == "gripper_command" else "ParallelGripperCommand"
    try:
        import control_msgs.action as actions

        return getattr(actions, name)
    except (ImportError, AttributeError):
        raise ParameterError(
            [f"command type '{group.type}' needs the action {name} of control_msgs, which is not installed: "
             "apt install ros-$ROS_DISTRO-control-msgs (pip has none), or command the gripper on a topic"]
        ) from None  # fmt: skip
