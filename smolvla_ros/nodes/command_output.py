"""Commands as messages: one class per type of message that an arm's controller may take.

Called by the control thread only. A message is made once and refilled, and arrays are filled from bytes, because
converting lists element by element would cost more than the control step itself.
"""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
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
# Points of a trajectory that brake, and the least time between two of them [s].
_STOPPING, _SHORTEST_S = 4, 0.001


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
        stamp = self._message.header.stamp
        stamp.sec, stamp.nanosec = divmod(now_ns, 1_000_000_000)
        self._message.position = _doubles(command.positions[self._columns])
        self._message.velocity = _doubles(command.velocities[self._columns])
        self.publishers[0].publish(self._message)


class TrajectoryOutput:
    """trajectory_msgs/JointTrajectory: a stream of short trajectories, each replacing the one before.

    As joint_trajectory_controller (Jazzy) wants it: stamp 0 means from now on; the first point lies one period ahead,
    because one at time 0 would be a jump; points have velocities, so they are joined by cubics; the last velocity is
    zero, because anything else is refused by default. The last points brake, each joint with the acceleration that its
    limits allow and inside its position limits, so an arm whose commands stop coming glides to a standstill.
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
        spacing_s: float,
        points: int,
        limits: JointLimits,
    ):
        self._columns = np.array(columns)
        self._controller = controller
        self._period_s, self._spacing_s, self._points = period_s, spacing_s, points
        self._limits = limits
        self._message = JointTrajectory(
            joint_names=list(joints), points=[JointTrajectoryPoint() for _ in range(points + _STOPPING)]
        )
        for index, point in enumerate(self._message.points):
            point.time_from_start = Duration(seconds=period_s + index * spacing_s).to_msg()
        self.publishers = [node.create_publisher(JointTrajectory, topic, _QOS)]

    def send(self, command: Command, now_ns: int) -> None:
        ahead = self._controller.look_ahead(self._spacing_s, self._points) or [command]
        for point, future in zip(self._message.points, ahead, strict=False):
            point.positions = _doubles(future.positions[self._columns])
            point.velocities = _doubles(future.velocities[self._columns])
        spacing_s, motions = stopping(self._limits, *ahead[-1], _STOPPING)
        at_s = self._period_s + (len(ahead) - 1) * self._spacing_s
        for point, motion in zip(self._message.points[-_STOPPING:], motions, strict=True):
            at_s += max(spacing_s, _SHORTEST_S)
            point.positions = _doubles(motion.position[self._columns])
            point.velocities = _doubles(motion.velocity[self._columns])
            point.time_from_start = Duration(seconds=at_s).to_msg()
        self.publishers[0].publish(self._message)


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


def _doubles(vector: NDArray[np.float64]) -> array.array[float]:
    return array.array("d", vector.tobytes())
