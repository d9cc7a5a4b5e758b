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
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from smolvla_ros.execution.commander import Command
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits, stopping
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import ControllerParameters

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


class PositionArray:
    """std_msgs/Float64MultiArray: positions in an order that both sides agree on; no names."""

    def __init__(self, node: Node, topic: str, columns: Sequence[int], scale: float = 1.0, offset: float = 0.0):
        self._columns, self._scale, self._offset = np.array(columns), scale, offset
        self._message = Float64MultiArray()
        self.publishers = [node.create_publisher(Float64MultiArray, topic, _QOS)]

    def send(self, command: Command, now_ns: int) -> None:
        self._message.data = _doubles(command.positions[self._columns] * self._scale + self._offset)
        self.publishers[0].publish(self._message)


class JointStateCommand:
    """sensor_msgs/JointState: names, positions and velocities."""

    def __init__(self, node: Node, topic: str, joints: Sequence[str], columns: Sequence[int]):
        self._columns = np.array(columns)
        self._message = JointState(name=list(joints))
        self.publishers = [node.create_publisher(JointState, topic, _QOS)]

    def send(self, command: Command, now_ns: int) -> None:
        _set(self._message.header.stamp, now_ns)
        self._message.position = _doubles(command.positions[self._columns])
        self._message.velocity = _doubles(command.velocities[self._columns])
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
        topic: str,
        joints: Sequence[str],
        columns: Sequence[int],
        controller: Controller,
        *,
        period_s: float,
        slack_s: float,
        spacing_s: float,
        points: int,
        limits: JointLimits,
    ):
        self._columns = np.array(columns)
        self._controller = controller
        self._delay_ns, self._slack_ns = round((period_s + slack_s) * _NS), round(slack_s * _NS)
        self._spacing_s, self._points = spacing_s, points
        self._limits = limits
        self._past: deque[tuple[int, Command]] = deque()
        self._pool: list[JointTrajectoryPoint] = []
        self._message = JointTrajectory(joint_names=list(joints))
        self.publishers = [node.create_publisher(JointTrajectory, topic, _QOS)]

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
        first_ns = motions[0][0]
        _set(self._message.header.stamp, first_ns + self._delay_ns)
        self._message.points = self._filled(motions, first_ns)
        self.publishers[0].publish(self._message)

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
            point.positions = _doubles(motion.positions[self._columns])
            point.velocities = _doubles(motion.velocities[self._columns])
        return points


def outputs_from(
    node: Node,
    parameters: ControllerParameters,
    controller: Controller,
    limits: JointLimits,
) -> list[CommandOutput]:
    """The outputs that the parameters ask for.

    Raises:
        ParameterError: a joint of the command that the robot does not have, or none left to command.
    """
    joints, gripper, commanded = parameters.joints, parameters.gripper_joint, parameters.commanded_joints
    unknown = [name for name in (*commanded, *([gripper] if gripper else [])) if name not in joints]
    if unknown or len(set(commanded)) != len(commanded) or not commanded:
        raise ParameterError(
            [f"parameters 'command_joints' and 'gripper_joint' give {list(commanded)} and '{gripper}', expected each "
             f"at most once out of {', '.join(joints)}"]
        )  # fmt: skip
    kind, topic = parameters.command_type, parameters.command_topic_name
    columns = [joints.index(name) for name in commanded]
    outputs: list[CommandOutput] = []
    if kind == "position_array":
        outputs.append(PositionArray(node, topic, columns))
    elif kind == "joint_state":
        outputs.append(JointStateCommand(node, topic, commanded, columns))
    else:
        outputs.append(
            TrajectoryOutput(
                node, topic, commanded, columns, controller,
                period_s=1.0 / parameters.control_rate_hz,
                slack_s=parameters.trajectory_slack_s,
                spacing_s=parameters.trajectory_spacing_s,
                points=parameters.trajectory_points,
                limits=limits,
            )
        )  # fmt: skip
    if gripper:
        scale, offset = parameters.gripper_scale, parameters.gripper_offset
        outputs.append(
            PositionArray(node, parameters.gripper_topic, [joints.index(gripper)], scale, offset)
        )
    return outputs


def _set(time: Any, ns: int) -> None:
    """Sets a Time or Duration; converting through rclpy's own types takes ten times as long."""
    time.sec, time.nanosec = divmod(ns, _NS)


def _doubles(vector: NDArray[np.float64]) -> array.array[float]:
    return array.array("d", vector.tobytes())
