"""Commands as messages: one class per type of message that an arm's controller may take.

Called by the control thread only. A message is made once and refilled, and arrays are filled from bytes, because
converting lists element by element would cost more than the control step itself.
"""

from __future__ import annotations

import array
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from scipy.interpolate import CubicHermiteSpline
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from smolvla_ros.execution.commander import Command
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits, stopping
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import CommandGroup, ControllerParameters

from .gripper_action import GripperAction

_QOS = QoSProfile(depth=1)
_NS = 1_000_000_000
# Points of a trajectory that brake, and the least time between two of them [s].
_STOPPING, _SHORTEST_S = 4, 0.001
# After so long without a command the arm's controller has come to rest: what was commanded before is not repeated.
_SILENCE_NS = 500_000_000


class CommandOutput(Protocol):
    """Sends commands to one arm (or gripper)."""

    publishers: list[Any]

    def send(self, command: Command, now_ns: int) -> None:
        """Publishes the command of this period, at `now_ns` on the ROS clock."""

    def carry_on(self, at_ns: int) -> Command | None:
        """After a stall: where the last message has led all joints until `at_ns`; None: it stands as it was."""


class Selection:
    """The joints of a group out of a command, in its order and its unit."""

    def __init__(self, group: CommandGroup, joints: Sequence[str]):
        self.group = group
        self._columns = np.array([joints.index(name) for name in group.joints])

    def positions(self, motion: Command) -> NDArray[np.float64]:
        positions: NDArray[np.float64] = motion.positions[self._columns] * self.group.scale + self.group.offset
        return positions

    def velocities(self, motion: Command) -> NDArray[np.float64]:
        velocities: NDArray[np.float64] = motion.velocities[self._columns] * self.group.scale
        return velocities


class PositionArray:
    """std_msgs/Float64MultiArray: positions in an order that both sides agree on; no names."""

    def __init__(self, node: Node, selection: Selection):
        self._selection = selection
        self._message = Float64MultiArray()
        self.publishers = [node.create_publisher(Float64MultiArray, selection.group.topic, _QOS)]

    def carry_on(self, at_ns: int) -> None:
        """A set point stands."""

    def send(self, command: Command, now_ns: int) -> None:
        self._message.data = _doubles(self._selection.positions(command))
        self.publishers[0].publish(self._message)


class JointStateCommand:
    """sensor_msgs/JointState: names, positions and velocities."""

    def __init__(self, node: Node, selection: Selection):
        self._selection = selection
        self._message = JointState(name=list(selection.group.joints))
        self.publishers = [node.create_publisher(JointState, selection.group.topic, _QOS)]

    def carry_on(self, at_ns: int) -> None:
        """A set point stands."""

    def send(self, command: Command, now_ns: int) -> None:
        _set(self._message.header.stamp, now_ns)
        self._message.position = _doubles(self._selection.positions(command))
        self._message.velocity = _doubles(self._selection.velocities(command))
        self.publishers[0].publish(self._message)


class TrajectoryOutput:
    """trajectory_msgs/JointTrajectory: a stream of short trajectories, each replacing the one before.

    As joint_trajectory_controller wants it. The arm follows the commands a fixed `delay` late, one control period and
    the slack, so that where it is in the plan a message only repeats what the one before said: `header.stamp` is the
    ROS time at which the first point, a command of the past, was due, and later points lie on the same time. A message
    that comes up to `slack` late or early, at whatever period the arm's controller has, therefore changes nothing, and
    its point of departure (the measured state, or its last command) plays no part. Only after a silence the first
    point, where the motion begins, lies ahead by the slack, for the arm to go there from wherever it is held.

    Points have velocities, so they are joined by cubics; the last velocity is zero, because anything else is refused by
    default. The last points brake, each joint with the acceleration that its limits allow and inside its position
    limits, so an arm whose commands stop coming glides to a standstill.
    """

    def __init__(
        self,
        node: Node,
        selection: Selection,
        controller: Controller,
        limits: JointLimits,
        parameters: ControllerParameters,
    ):
        self._selection = selection
        self._controller, self._limits = controller, limits
        slack_s = parameters.trajectory_slack_s
        self._period_ns = round(_NS / parameters.control_rate_hz)
        self._delay_ns = self._period_ns + round(slack_s * _NS)
        self._slack_ns = round(slack_s * _NS)
        self._spacing_s, self._points = parameters.trajectory_spacing_s, parameters.trajectory_points
        self._past: deque[tuple[int, Command]] = deque()
        self._told: Sequence[tuple[int, Command]] = ()  # by the last message
        self._pool: list[JointTrajectoryPoint] = []
        self._message = JointTrajectory(joint_names=list(selection.group.joints))
        self.publishers = [node.create_publisher(JointTrajectory, selection.group.topic, _QOS)]

    def send(self, command: Command, now_ns: int) -> None:
        self._remember(command, now_ns)
        ahead = self._controller.look_ahead(self._spacing_s, self._points) or [command]
        spacing_ns = round(self._spacing_s * _NS)
        motions = [*self._past, *((now_ns + i * spacing_ns, ahead[i]) for i in range(1, len(ahead)))]
        end_ns = motions[-1][0]
        braking_s, standing = stopping(self._limits, *ahead[-1][:2], _STOPPING)
        braking_ns = round(max(braking_s, _SHORTEST_S) * _NS)
        motions += (
            (end_ns + i * braking_ns, Command(motion.position, motion.velocity))
            for i, motion in enumerate(standing, start=1)
        )
        self._told = motions
        first_ns = motions[0][0]
        _set(self._message.header.stamp, first_ns + self._delay_ns)
        self._message.points = self._filled(motions, first_ns)
        self.publishers[0].publish(self._message)

    def carry_on(self, at_ns: int) -> Command | None:
        """Goes on from what the last message told for `at_ns`, and repeats it up to there."""
        passed = [motion for motion in self._told if motion[0] < at_ns]
        if not passed:
            return None
        first_ns = passed[0][0]
        path = CubicHermiteSpline(
            [(told_ns - first_ns) / _NS for told_ns, _ in self._told],
            [motion.positions for _, motion in self._told],
            [motion.velocities for _, motion in self._told],
        )
        end_s = (self._told[-1][0] - first_ns) / _NS
        now_s, before_s = (min((ns - first_ns) / _NS, end_s) for ns in (at_ns, at_ns - self._period_ns))
        led = Command(path(now_s), path(now_s, 1), path(before_s))
        self._past = deque([*passed, (at_ns, led)])
        return led

    def _remember(self, command: Command, now_ns: int) -> None:
        """Keeps the commands that a message repeats, oldest first; none from before a silence or a clock's jump."""
        past = self._past
        if not past or not 0 < now_ns - past[-1][0] < _SILENCE_NS:
            past.clear()
            start = command.positions if command.before is None else command.before
            past.append((now_ns - self._delay_ns + self._slack_ns, Command(start, np.zeros_like(start))))
        past.append((now_ns, command))
        while len(past) > 1 and past[1][0] <= now_ns - self._delay_ns - self._slack_ns:
            past.popleft()

    def _filled(self, motions: Sequence[tuple[int, Command]], first_ns: int) -> list[JointTrajectoryPoint]:
        self._pool += (JointTrajectoryPoint() for _ in range(len(motions) - len(self._pool)))
        points = self._pool[: len(motions)]
        for point, (at_ns, motion) in zip(points, motions, strict=True):
            _set(point.time_from_start, at_ns - first_ns)
            point.positions = _doubles(self._selection.positions(motion))
            point.velocities = _doubles(self._selection.velocities(motion))
        return points


def outputs_from(
    node: Node,
    parameters: ControllerParameters,
    controller: Controller,
    limits: JointLimits,
) -> list[CommandOutput]:
    """One output for each group of joints that the parameters describe.

    Raises:
        ParameterError: a joint that the robot does not have or that two groups share, none to command, two groups on
            one topic, a type that cannot be streamed or whose package is not installed.
    """
    problems = _problems(parameters)
    if problems:
        raise ParameterError(problems)
    outputs: list[CommandOutput] = []
    for group in parameters.groups:
        selection = Selection(group, parameters.joints)
        if group.type == "position_array":
            outputs.append(PositionArray(node, selection))
        elif group.type == "joint_state":
            outputs.append(JointStateCommand(node, selection))
        elif group.type == "joint_trajectory":
            outputs.append(TrajectoryOutput(node, selection, controller, limits, parameters))
        else:
            outputs.append(GripperAction(node, selection))
    return outputs


def _problems(parameters: ControllerParameters) -> list[str]:
    """What contradicts itself in the groups."""
    groups, joints = parameters.groups, parameters.joints
    where = "'command.<group>.joints'" if parameters.command_groups else "'command_joints'"
    lists = " and ".join(str(list(group.joints)) for group in groups)
    named = [joint for group in groups for joint in group.joints]
    problems = []
    if not set(named) <= set(joints) or len(set(named)) != len(named) or not all(group.joints for group in groups):
        expected = f"expected some in each, and each at most once out of {', '.join(joints)}"
        problems.append(f"parameter {where} gives {lists}, {expected}")
    topics = [group.topic for group in groups]
    problems += [
        f"two command groups have the topic '{topic}', expected one for each: set 'command.<group>.topic'"
        for topic in sorted({topic for topic in topics if topics.count(topic) > 1})
    ]
    for group in groups:
        if group.scale == 0.0:
            problems.append("parameter 'command.<group>.scale' is 0, expected any other number")
        if group.type == "follow_joint_trajectory":
            problems.append(
                "command type 'follow_joint_trajectory' cannot be streamed: an action has one goal at a time, whose "
                "successor cancels it. The same controller listens on a topic: choose 'joint_trajectory'"
            )
        elif group.is_action and len(group.joints) != 1:
            problems.append(f"command type '{group.type}' is for one joint, not for {list(group.joints)}")
    if parameters.command_groups and (parameters.command_topic or parameters.command_joints):
        problems.append("command_groups are named, and command_topic or command_joints too: set those of the groups")
    return problems


def _set(time: Any, ns: int) -> None:
    """Sets a Time or Duration; converting through rclpy's own types takes ten times as long."""
    time.sec, time.nanosec = divmod(ns, _NS)


def _doubles(vector: NDArray[np.float64]) -> array.array[float]:
    return array.array("d", vector.tobytes())
