"""What each command type puts into its messages, and that joint_trajectory_controller can follow them smoothly."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from rclpy.time import Time
from scipy.interpolate import CubicHermiteSpline

from smolvla_ros.execution.chunk import Chunk
from smolvla_ros.execution.commander import Command
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits, stopping
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.nodes.command_output import outputs_from
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import COMMAND_TOPICS, ControllerParameters
from smolvla_ros.sim.trajectory_follower import FollowedTrajectory, TrajectoryFollower

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


def run(ticks=150, stop_at=None, **changes):
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
        if tick == stop_at:
            controller.stop()
        command = controller.step(now_ns, now_ns)
        if tick == 0:
            controller.receive_chunk(Chunk(1, 1, now_ns, 40_000_000, rows), now_ns, now_ns)
        if command is not None:
            commands.append(command)
            for output in outputs:
                output.send(command, now_ns)
    return [output.publishers[0] for output in outputs if output.publishers], commands


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


ARM_AND_GRIPPER = {
    "command_groups": ["arm", "gripper"], "command.gripper.type": "position_array",
    "command.gripper.joints": ["gripper"], "command.gripper.topic": "gripper_controller/commands",
    "command.gripper.scale": 100.0, "command.gripper.offset": 5.0,
}  # fmt: skip


def test_a_gripper_may_have_its_own_controller_topic_and_unit():
    (arm, gripper), commands = run(**ARM_AND_GRIPPER)
    assert (arm.topic, gripper.topic) == (COMMAND_TOPICS["joint_trajectory"], "gripper_controller/commands")
    assert tuple(arm.messages[-1].joint_names) == ("shoulder", "elbow")  # those that no other group names
    np.testing.assert_allclose(gripper.messages[-1].data, [100.0 * commands[-1].positions[2] + 5.0])


def test_joints_in_no_group_are_not_commanded():
    (left, right), _ = run(
        **{
            "command_groups": ["left", "right"], "command.left.joints": ["elbow"], "command.right.joints": ["shoulder"],
            "command.left.topic": "left/joint_trajectory", "command.right.topic": "right/joint_trajectory",
        }
    )  # fmt: skip
    assert (left.messages[-1].joint_names, right.messages[-1].joint_names) == (["elbow"], ["shoulder"])
    assert left.messages[-1].header == right.messages[-1].header


def test_a_stop_holds_all_groups_at_once():
    recorders, commands = run(stop_at=100, **ARM_AND_GRIPPER)
    for recorder in recorders:
        assert len(recorder.messages) == len(commands)
    last = [recorder.messages[-1] for recorder in recorders]
    assert last[0].points[0].positions == last[0].points[-1].positions and not any(last[0].points[0].velocities)
    assert recorders[1].messages[-1].data == recorders[1].messages[-10].data


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"command.gripper.joints": ["gripper", "elbow"], "command.arm.joints": ["elbow"]}, "each at most once"),
        ({"command.arm.joints": ["wrist"]}, "out of shoulder, elbow, gripper"),
        ({"command.arm.type": "position_array", "command.gripper.topic": ""}, "two command groups have the topic"),
        ({"command.gripper.scale": 0.0}, "scale' is 0"),
        ({"command_topic": "/arm/set"}, "set those of the groups"),
        ({"command.arm.type": "follow_joint_trajectory"}, "choose 'joint_trajectory'"),
        ({"command.arm.type": "gripper_command"}, "is for one joint"),
        ({"command.gripper.type": "gripper_command"}, "control_msgs, which is not installed"),
        ({"command.gripper.type": "parallel_gripper_command"}, "ros-[$]ROS_DISTRO-control-msgs"),
    ],
)
def test_groups_that_cannot_be_commanded_are_refused_with_the_reason(changes, said, monkeypatch):
    monkeypatch.setitem(sys.modules, "control_msgs", None)  # as where it is not installed
    monkeypatch.setitem(sys.modules, "control_msgs.action", None)
    with pytest.raises(ParameterError, match=said):
        run(ticks=1, **(ARM_AND_GRIPPER | changes))


class FakeAction:
    """Stands for an action client: keeps the goals, and answers none."""

    def __init__(self, node, kind, name):
        self.name, self.goals = name, []
        FakeAction.last = self

    def server_is_ready(self):
        return True

    def send_goal_async(self, goal):
        self.goals.append(goal)


@pytest.mark.parametrize("kind", ["gripper_command", "parallel_gripper_command"])
def test_a_gripper_that_takes_an_action_gets_few_goals_and_the_last_position(kind, monkeypatch):
    goal = SimpleNamespace(Goal=lambda: SimpleNamespace(command=SimpleNamespace()))
    actions = SimpleNamespace(GripperCommand=goal, ParallelGripperCommand=goal)
    monkeypatch.setitem(sys.modules, "control_msgs", SimpleNamespace(action=actions))
    monkeypatch.setitem(sys.modules, "control_msgs.action", actions)
    monkeypatch.setattr("smolvla_ros.nodes.gripper_action.ActionClient", FakeAction)
    changes = {"command.gripper.type": kind, "command.gripper.topic": "hand/gripper_cmd"}
    _, commands = run(ticks=400, **(ARM_AND_GRIPPER | changes | {"command.gripper.max_effort": 9.0}))
    goals = FakeAction.last.goals
    assert FakeAction.last.name == "hand/gripper_cmd" and 3 <= len(goals) <= 10  # 1.6 s of motion, then none
    wanted = pytest.approx(100.0 * commands[-1].positions[2] + 5.0, abs=1e-3)
    if kind == "gripper_command":
        assert (goals[-1].command.position, goals[-1].command.max_effort) == (wanted, 9.0)
    else:
        assert (goals[-1].command.name, goals[-1].command.position) == (["gripper"], [wanted])
        assert goals[-1].command.effort == [9.0]


def test_the_topic_may_be_chosen():
    (recorder,), _ = run(ticks=1, command_topic="/arm/set")
    assert recorder.topic == "/arm/set"


@pytest.mark.parametrize(
    "wrong",
    [
        {"command_joints": ["shoulder", "wrist"]},
        {"command_joints": ["shoulder", "shoulder"]},
    ],
)
def test_joints_that_the_robot_does_not_have_are_refused(wrong):
    with pytest.raises(ParameterError, match="shoulder, elbow, gripper"):
        run(ticks=1, **wrong)


def in_ns(time):
    return time.sec * 10**9 + time.nanosec


DELAY_NS, SLACK_NS = 30_000_000, 20_000_000  # a period and the slack; how early a message may come


def test_every_trajectory_keeps_the_rules_of_joint_trajectory_controller():
    (recorder,), commands = run(command_type="joint_trajectory")
    assert len(recorder.messages) > 100
    for sent_ns, message in zip(sending_instants(commands), recorder.messages, strict=True):
        assert tuple(message.joint_names) == JOINTS
        times = np.array([in_ns(point.time_from_start) for point in message.points])
        assert times[0] == 0 and (np.diff(times) > 0).all()
        assert in_ns(message.header.stamp) + times[-1] > sent_ns + 10**8  # one that ended in the past is refused
        assert all(len(point.positions) == len(point.velocities) == 3 for point in message.points)
        assert not any(message.points[-1].velocities)  # refused otherwise
        positions = np.array([point.positions for point in message.points])
        assert np.isfinite(positions).all()
        assert (np.abs(positions) <= 2.0 + 1e-9).all()
        assert (np.abs(np.diff(positions, axis=0)) <= 3.0 * np.diff(times)[:, None] * 1e-9 + 1e-9).all()


def test_a_trajectory_is_dated_and_repeats_what_the_one_before_said_until_well_after_it_is_sent():
    (recorder,), commands = run(command_type="joint_trajectory")
    sent = dict(zip(sending_instants(commands), commands, strict=True))
    for sent_ns, message in list(zip(sending_instants(commands), recorder.messages, strict=True))[6:]:
        stamp_ns = in_ns(message.header.stamp)
        assert stamp_ns <= sent_ns - SLACK_NS  # nobody has to wait for its beginning, though its clock be behind
        past = [point for point in message.points if in_ns(point.time_from_start) <= sent_ns - stamp_ns + DELAY_NS]
        assert len(past) == 6
        for point in past:
            command = sent[stamp_ns + in_ns(point.time_from_start) - DELAY_NS]
            np.testing.assert_array_equal(point.positions, command.positions)
            np.testing.assert_array_equal(point.velocities, command.velocities)


def test_after_a_silence_or_a_jump_of_the_clock_nothing_from_before_is_repeated():
    publisher, one = Recorder(None, "t"), np.ones(3)
    parameters = ControllerParameters.from_values({"joints": list(JOINTS)})
    (output,) = outputs_from(FakeNode(), parameters, Controller(ControllerSettings(limits(), 0.01)), limits())
    output.publishers = [publisher]
    for now_ns, place in ((10**12, 0.1), (10**12 + PERIOD_NS, 0.2), (10**12 + 10**9, 0.5), (10**11, 0.7)):
        output.send(Command(place * one, 0.0 * one, (place - 0.01) * one), now_ns)
    _, joined, silent, jumped = [[round(p.positions[0], 6) for p in m.points] for m in publisher.messages]
    assert joined[:3] == [0.09, 0.1, 0.2] and silent[:2] == [0.49, 0.5] and jumped[:2] == [0.69, 0.7]


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


def sending_instants(commands, ticks=150):
    first_ns = 10**12 + (ticks - len(commands) + 1) * PERIOD_NS
    return [first_ns + index * PERIOD_NS for index in range(len(commands))]


def follow(messages, commands, rate_hz, *, from_desired=False, lag_ms=0, jitter_ms=0, silent_after=None):
    """What joint_trajectory_controller commands for each of its updates, [n, joints], and the instants [ns]."""
    random, period_ns = np.random.default_rng(3), round(1e9 / rate_hz)
    instants = sending_instants(commands)
    ways = 200_000 + (jitter_ms * 1e6 * random.uniform(0.0, 1.0, len(instants))).astype(int)
    arrivals = list(zip((np.array(instants) + ways).tolist(), messages, strict=True))[:silent_after]
    times = np.arange(instants[0] - 10 * period_ns + 700_000, instants[-1], period_ns)
    follower = TrajectoryFollower(np.zeros(3), int(times[0]) - period_ns, period_ns, from_desired=from_desired)
    lag, path = round(lag_ms * rate_hz / 1000), [np.zeros(3)]
    for now_ns in times.tolist():
        while arrivals and arrivals[0][0] <= now_ns:
            at_ns, message = arrivals.pop(0)
            follower.receive(as_followed(message), at_ns)
        measured, before = path[max(-1 - lag, -len(path))], path[max(-2 - lag, -len(path))]
        path.append(follower.update(now_ns, measured, (measured - before) * rate_hz))
    return np.array(path[1:]), times + period_ns


def as_followed(message):
    return FollowedTrajectory(
        in_ns(message.header.stamp),
        np.array([in_ns(point.time_from_start) for point in message.points]),
        np.array([point.positions for point in message.points]),
        np.array([point.velocities for point in message.points]),
    )


@pytest.mark.parametrize("rate_hz", [100, 200, 500, 1000])
@pytest.mark.parametrize("from_desired", [False, True])
@pytest.mark.parametrize("lag_ms", [0, 30])
@pytest.mark.parametrize("jitter_ms", [0, 4])
def test_a_controller_follows_exactly_what_was_commanded_a_fixed_time_later_at_any_rate_lag_and_jitter(
    sine, rate_hz, from_desired, lag_ms, jitter_ms
):
    """With a stamp of 0 and the first point ahead, 1 rad/s meant became 20 commanded at 500 Hz."""
    messages, commands = sine
    path, times = follow(
        messages, commands, rate_hz, from_desired=from_desired, lag_ms=lag_ms, jitter_ms=jitter_ms
    )
    begin_ns = sending_instants(commands)[0] - PERIOD_NS
    knots = np.arange(len(commands) + 1) * 0.01
    meant = CubicHermiteSpline(
        knots,
        np.array([commands[0].before, *(command.positions for command in commands)]),
        np.array([np.zeros(3), *(command.velocities for command in commands)]),
    )(np.clip((times - DELAY_NS - begin_ns) * 1e-9, 0.0, knots[-1]))
    # At 100 Hz a late message is taken up when the one before was final no more, by less than the jitter.
    np.testing.assert_allclose(path, meant, atol=1e-12 if rate_hz > 100 else 1e-5)


@pytest.fixture(scope="module")
def sine():
    (recorder,), commands = run(command_type="joint_trajectory")
    return recorder.messages, commands


@pytest.mark.parametrize("from_desired", [False, True])
def test_a_follower_glides_to_a_standstill_when_the_stream_breaks_off(sine, from_desired):
    path, _ = follow(*sine, 1000, from_desired=from_desired, silent_after=40)
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
        output.send(Command(np.zeros(3), np.zeros(3)), 1)
        node.destroy_publisher(output.publishers[0])
    node.destroy_node()
    rclpy.shutdown()
