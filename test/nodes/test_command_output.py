"""What each command type puts into its messages, and that joint_trajectory_controller can follow them smoothly."""

from dataclasses import replace

import numpy as np
import pytest
import rclpy
from rclpy.time import Time

from smolvla_ros.execution.chunk import Chunk
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits, stopping
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.nodes.command_output import outputs_from
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import COMMAND_TOPICS, ControllerParameters

JOINTS = ("shoulder", "elbow", "gripper")
PERIOD_NS = 10_000_000


class Recorder:
    """Stands for a publisher: keeps what would be sent."""

    def __init__(self, kind, topic):
        self.kind, self.topic, self.messages = kind, topic, []

    def publish(self, message):
        from copy import deepcopy

        self.messages.append(deepcopy(message))


class FakeNode:
    def create_publisher(self, kind, topic, qos):
        return Recorder(kind, topic)


def limits():
    one = np.ones(3)
    return JointLimits(JOINTS, -2 * one, 2 * one, 3 * one, 20 * one, one, one, one)


def run(ticks=150, **changes):
    """The recorders of all outputs after following a sine, and the commands themselves."""
    parameters = ControllerParameters.from_values({"joints": list(JOINTS), **changes})
    controller = Controller(ControllerSettings(limits(), PERIOD_NS * 1e-9))
    outputs = outputs_from(FakeNode(), parameters, controller, limits())
    now_ns, commands = 10**12, []
    controller.activate(now_ns, now_ns)
    rows = 0.5 * np.sin(np.arange(40)[:, None] * 0.04 * np.array([1.0, 2.0, 3.0]))
    for tick in range(ticks):
        now_ns += PERIOD_NS
        for _ in range(3):
            controller.receive_joint_positions(commands[-1].positions if commands else np.zeros(3), now_ns, now_ns)
        command = controller.step(now_ns, now_ns)
        if tick == 0:
            controller.receive_chunk(Chunk(1, 1, now_ns, 40_000_000, rows), now_ns, now_ns)
        if command is not None:
            commands.append(command)
            for output in outputs:
                output.send(command, now_ns)
    return [output.publishers[0] for output in outputs], commands


def test_a_joint_state_command_names_its_joints_and_has_the_stamp_of_its_period():
    (recorder,), commands = run(command_type="joint_state")
    message = recorder.messages[-1]
    assert recorder.topic == "joint_command"
    assert tuple(message.name) == JOINTS
    np.testing.assert_allclose(message.position, commands[-1].positions)
    np.testing.assert_allclose(message.velocity, commands[-1].velocities)
    assert Time.from_msg(message.header.stamp).nanoseconds == 10**12 + 150 * PERIOD_NS


def test_a_position_array_has_the_order_that_the_arm_wants():
    (recorder,), commands = run(command_type="position_array", command_joints=["elbow", "shoulder"])
    assert recorder.topic == "forward_position_controller/commands"
    np.testing.assert_allclose(recorder.messages[-1].data, commands[-1].positions[[1, 0]])


def test_a_gripper_may_have_its_own_topic_and_unit():
    (arm, gripper), commands = run(
        command_type="position_array", gripper_joint="gripper", gripper_scale=100.0, gripper_offset=5.0
    )
    assert gripper.topic == "gripper_controller/commands"
    assert len(arm.messages[-1].data) == 2
    np.testing.assert_allclose(gripper.messages[-1].data, [100.0 * commands[-1].positions[2] + 5.0])


def test_the_topic_may_be_chosen():
    (recorder,), _ = run(ticks=1, command_topic="/arm/set")
    assert recorder.topic == "/arm/set"


@pytest.mark.parametrize(
    "wrong",
    [
        {"command_joints": ["shoulder", "wrist"]},
        {"command_joints": ["shoulder", "shoulder"]},
        {"gripper_joint": "hand"},
    ],
)
def test_joints_that_the_robot_does_not_have_are_refused(wrong):
    with pytest.raises(ParameterError, match="shoulder, elbow, gripper"):
        run(ticks=1, **wrong)


def seconds(duration):
    return duration.sec + duration.nanosec * 1e-9


def test_every_trajectory_keeps_the_rules_of_joint_trajectory_controller():
    (recorder,), _ = run(command_type="joint_trajectory")
    assert len(recorder.messages) > 100
    for message in recorder.messages:
        assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0)  # begin now
        assert tuple(message.joint_names) == JOINTS
        times = [seconds(point.time_from_start) for point in message.points]
        assert times[0] > 0.0  # a point at 0 would be a jump
        assert (np.diff(times) > 0.0).all()
        assert all(len(point.positions) == len(point.velocities) == 3 for point in message.points)
        assert not any(message.points[-1].velocities)  # refused otherwise
        positions = np.array([point.positions for point in message.points])
        assert np.isfinite(positions).all()
        assert (np.abs(positions) <= 2.0 + 1e-9).all()
        assert (np.abs(np.diff(positions, axis=0)) <= 3.0 * np.diff(times)[:, None] + 1e-9).all()


def test_the_way_to_a_standstill_stays_inside_the_position_limits_of_every_joint():
    """All joints once braked over the time of the slowest, and left their limits by up to 0.04 rad."""
    tight = replace(limits(), acceleration=np.array([20.0, 5.0, 20.0]))
    near = np.array([2.0 - 1.0 / 40.0, -1.0, 0.0])  # just room for 1 rad/s
    spacing_s, motions = stopping(tight, near, np.array([1.0, -2.0, 0.0]), 4)
    assert spacing_s == pytest.approx(0.1)
    positions = np.array([near, *(motion.position for motion in motions)])
    assert (np.abs(positions) <= 2.0).all()
    np.testing.assert_allclose(positions[-1], [2.0, -1.4, 0.0])
    assert not motions[-1].velocity.any()
    change = np.diff([[1.0, -2.0, 0.0], *(motion.velocity for motion in motions)], axis=0)
    assert (np.abs(change) <= tight.acceleration * spacing_s + 1e-9).all()


class TrajectoryFollower:
    """joint_trajectory_controller with interpolate_from_desired_state, as its documentation describes it.

    Each message replaces the trajectory; the desired state at that instant is the first knot; knots with positions and
    velocities are joined by cubics; after the last one its position is held.
    """

    def __init__(self, position):
        self.position, self.velocity = np.array(position), np.zeros(3)
        self.knots = None

    def receive(self, message, now_s):
        points = [(seconds(p.time_from_start), np.array(p.positions), np.array(p.velocities)) for p in message.points]
        self.knots = [(now_s, self.position, self.velocity)]
        self.knots += [(now_s + time, position, velocity) for time, position, velocity in points]

    def update(self, now_s):
        for (t0, q0, v0), (t1, q1, v1) in zip(self.knots, self.knots[1:], strict=False):
            if now_s <= t1:
                h, x = t1 - t0, (now_s - t0) / (t1 - t0)
                slope = (q1 - q0) / h
                c2, c3 = 3 * slope - 2 * v0 - v1, v0 + v1 - 2 * slope
                self.position = q0 + h * (v0 * x + c2 * x**2 + c3 * x**3)
                self.velocity = v0 + 2 * c2 * x + 3 * c3 * x**2
                return
        self.position, self.velocity = self.knots[-1][1], np.zeros(3)


def follow(messages, silent_after=None):
    """Positions of a follower at 1 kHz that receives one message per period, [ticks, joints]."""
    follower, path = TrajectoryFollower(np.zeros(3)), []
    for index, message in enumerate(messages):
        if silent_after is None or index < silent_after:
            follower.receive(message, index * 0.01)
        for millisecond in range(1, 11):
            follower.update(index * 0.01 + millisecond * 1e-3)
            path.append(follower.position)
    return np.array(path)


def test_a_follower_of_the_stream_moves_as_smoothly_as_the_commands_and_one_period_behind():
    (recorder,), commands = run(command_type="joint_trajectory")
    path = follow(recorder.messages)
    sent = np.array([command.positions for command in commands])
    np.testing.assert_allclose(path[9::10], sent, atol=2e-3)
    acceleration = np.abs(np.diff(path, n=2, axis=0)).max() / 1e-6
    assert acceleration < 3 * 20.0


def test_a_follower_glides_to_a_standstill_when_the_stream_breaks_off():
    (recorder,), _ = run(command_type="joint_trajectory")
    path = follow(recorder.messages, silent_after=40)
    steps = np.abs(np.diff(path, axis=0))
    assert steps[380:395].max() > 5e-4  # it was moving
    assert steps[-100:].max() == 0.0
    assert (np.abs(np.diff(path, n=2, axis=0)).max() / 1e-6) < 3 * 20.0


def test_the_real_publishers_take_the_messages(ros_domain):
    rclpy.init()
    node = rclpy.create_node("outputs")
    controller = Controller(ControllerSettings(limits(), 0.01))
    for kind in COMMAND_TOPICS:
        parameters = ControllerParameters.from_values({"joints": list(JOINTS), "command_type": kind})
        (output,) = outputs_from(node, parameters, controller, limits())
        from smolvla_ros.execution.commander import Command

        output.send(Command(np.zeros(3), np.zeros(3)), 1)
        node.destroy_publisher(output.publishers[0])
    node.destroy_node()
    rclpy.shutdown()
