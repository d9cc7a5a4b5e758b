"""What the controller does when a process around it, or it itself, is killed, paused or joined by another one."""

import signal
import time

import numpy as np
import pytest
import rclpy
from executor_thread import destroy
from rclpy.duration import Duration
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from smolvla_ros.msg import ActionChunk
from smolvla_ros.msg import ExecutionStatus as Status
from smolvla_ros.qos import BEST_EFFORT

# Time of a chunk of the fake policy.
CHUNK_S = 1.0
STATE_TIMEOUT_S = 0.25
# What two busy cores add to a measured time.
SLACK_S = 0.5


def in_motion(world, **parameters):
    """Arm, controller and policy, following."""
    processes = world.arm(), world.controller(**parameters), world.policy()
    world.monitor.wait_for(Status.FOLLOWING)
    world.monitor.wait_until(lambda: world.monitor.status.chunks_merged >= 4, "four chunks")
    world.monitor.wait_until(lambda: len(world.monitor.commands) > 10, "heard commands")
    return processes


def test_chunks_move_the_arm_without_idling(world):
    in_motion(world)
    before = world.monitor.status
    time.sleep(2.0)
    after = world.monitor.status
    assert after.chunks_merged > before.chunks_merged
    idle = after.idle_fraction * after.ticks - before.idle_fraction * before.ticks
    assert idle < 0.05 * (after.ticks - before.ticks)
    positions = np.array([position for _, position in world.monitor.commands])
    assert np.ptp(positions, axis=0).min() > 0.1


def test_a_killed_policy_leaves_one_chunk_of_motion_then_a_hold_and_its_successor_takes_over(world):
    _, _, policy = in_motion(world)
    session = world.monitor.status.session
    policy.signal(signal.SIGKILL)
    held_after_s = world.monitor.wait_for(Status.HOLDING, Status.CHUNK_EXHAUSTED)
    print(f"policy killed: holding after {held_after_s:.2f} s, chunk {CHUNK_S} s")
    assert held_after_s < CHUNK_S + SLACK_S
    world.monitor.wait_until(lambda: world.monitor.speed() == 0.0, "at rest", 1.0)
    world.policy()
    world.monitor.wait_for(Status.FOLLOWING)
    assert world.monitor.status.session != session


def test_a_policy_that_hangs_leads_to_a_hold_and_goes_on_when_it_wakes(world):
    _, _, policy = in_motion(world)
    policy.signal(signal.SIGSTOP)
    held_after_s = world.monitor.wait_for(Status.HOLDING, Status.CHUNK_EXHAUSTED)
    policy.signal(signal.SIGCONT)
    recovered_after_s = world.monitor.wait_for(Status.FOLLOWING)
    print(f"policy paused: holding after {held_after_s:.2f} s, following {recovered_after_s:.2f} s after it woke")
    assert held_after_s < CHUNK_S + SLACK_S


def test_joint_states_that_stop_in_motion_hold_the_arm_within_their_timeout(world):
    arm, _, _ = in_motion(world)
    arm.signal(signal.SIGSTOP)
    held_after_s = world.monitor.wait_for(Status.HOLDING, Status.JOINT_STATES_STALE)
    print(f"joint states stopped: holding after {held_after_s:.2f} s, timeout {STATE_TIMEOUT_S} s")
    assert held_after_s < STATE_TIMEOUT_S + SLACK_S
    world.monitor.wait_until(lambda: world.monitor.speed() == 0.0, "at rest", 1.0)
    held = world.monitor.commands[-1][1]
    time.sleep(0.5)
    np.testing.assert_array_equal(world.monitor.commands[-1][1], held)
    arm.signal(signal.SIGCONT)
    world.monitor.wait_for(Status.FOLLOWING)


def test_a_controller_that_was_suspended_continues_without_a_jump(world):
    _, controller, _ = in_motion(world)
    executed = world.monitor.status.rows_executed
    controller.signal(signal.SIGSTOP)
    time.sleep(1.5)
    controller.signal(signal.SIGCONT)
    world.monitor.wait_until(lambda: world.monitor.status.missed_ticks > 100, "missed ticks counted")
    world.monitor.wait_until(lambda: world.monitor.status.rows_executed > executed + 10, "following again")


def test_a_killed_controller_starts_again_where_the_arm_is_and_not_before_a_fresh_chunk(world):
    _, controller, policy = in_motion(world)
    policy.signal(signal.SIGSTOP)
    controller.signal(signal.SIGKILL)
    controller.wait(5)
    world.monitor.wait_until_quiet()
    world.monitor.forget_command()
    sent = len(world.monitor.commands)
    world.controller()
    world.monitor.wait_for_commanders(2)  # one is dead, but nobody has told
    world.monitor.wait_for(Status.HOLDING, Status.WAITING_FOR_CHUNK)
    time.sleep(0.5)
    assert len(world.monitor.commands) == sent
    policy.signal(signal.SIGCONT)
    world.monitor.wait_for(Status.FOLLOWING)  # I8 is checked by the monitor


def test_stop_holds_until_resume(world):
    in_motion(world)
    assert world.monitor.call("stop").success
    world.monitor.wait_for(Status.STOPPED, Status.STOP_REQUESTED)
    time.sleep(1.0)
    assert world.monitor.status.state == Status.STOPPED
    assert world.monitor.speed() == 0.0
    assert world.monitor.call("resume").success
    world.monitor.wait_for(Status.FOLLOWING)


def test_malformed_chunks_on_the_wire_are_refused_and_the_motion_goes_on(world):
    _, controller, _ = in_motion(world)
    for positions in ([float("nan")] * 4, [0.0] * 3, []):
        message = ActionChunk(session=2**62, sequence=1, joint_names=["shoulder", "elbow"], rows=2, positions=positions)
        message.step = Duration(seconds=0.05).to_msg()
        rejected = world.monitor.status.chunks_rejected

        def refused(message=message, rejected=rejected):
            # Again and again: a queue of one may lose it to a chunk of the policy.
            message.header.stamp = world.monitor.get_clock().now().to_msg()
            world.monitor.chunks.publish(message)
            time.sleep(0.05)
            return world.monitor.status.chunks_rejected > rejected

        world.monitor.wait_until(refused, "refused")
    assert world.monitor.status.state == Status.FOLLOWING
    assert "not_finite" in controller.log


def test_a_second_controller_holds_both_and_the_first_goes_on_when_it_is_gone(world):
    in_motion(world)
    world.monitor.controllers = 2
    second = world.controller()
    world.monitor.wait_for(Status.HOLDING, Status.CONFLICTING_PUBLISHER)
    second.signal(signal.SIGINT)
    second.wait(10)
    world.monitor.wait_for(Status.FOLLOWING)


def test_another_node_on_the_command_topic_brakes_the_arm_and_silences_the_controller(world):
    in_motion(world)
    other = world.monitor.create_publisher(JointState, "joint_command", 1)
    world.monitor.wait_for(Status.HOLDING, Status.CONFLICTING_PUBLISHER)
    assert "/monitor also publishes on /joint_command" in world.monitor.status.detail
    time.sleep(0.5)
    sent = len(world.monitor.commands)
    time.sleep(0.3)
    assert len(world.monitor.commands) == sent
    destroy(world.monitor, other)
    world.monitor.wait_for(Status.FOLLOWING)


def test_a_commander_that_took_the_controllers_own_name_is_noticed(world):
    in_motion(world)
    rogue = rclpy.create_node("controller_node")
    rogue.create_publisher(JointState, "joint_command", 1)
    world.monitor.wait_for(Status.HOLDING, Status.CONFLICTING_PUBLISHER)
    assert "another node that is called /controller_node" in world.monitor.status.detail
    rogue.destroy_node()
    world.monitor.wait_for(Status.FOLLOWING)


def test_a_dry_run_beside_a_teleoperated_arm_follows_its_chunks_and_only_warns(world):
    world.arm()
    other = world.monitor.create_publisher(JointState, "joint_command", 1)
    controller = world.controller(dry_run="true")
    world.policy(commanders=0)
    world.monitor.wait_for(Status.FOLLOWING)
    world.monitor.wait_until(lambda: "dry run: /monitor also publishes on /joint_command" in controller.log, "warned")
    seen = len(world.monitor.statuses)
    time.sleep(1.0)
    assert {status.reason for status in world.monitor.statuses[seen:]} == {Status.NONE}
    assert not world.monitor.commands
    destroy(world.monitor, other)


@pytest.mark.parametrize("qos", [10, BEST_EFFORT])
def test_an_empty_instruction_of_any_publisher_withdraws_the_motion(world, qos):
    in_motion(world)
    plain = world.monitor.create_publisher(String, "instruction", qos)
    seen = len(world.monitor.statuses)

    def withdrawn():
        plain.publish(String(data=" "))
        time.sleep(0.05)
        return any("withdrawn" in status.detail for status in world.monitor.statuses[seen:])

    world.monitor.wait_until(withdrawn, "withdrawn")
    destroy(world.monitor, plain)
    world.monitor.wait_for(Status.FOLLOWING)


def test_a_second_publisher_of_the_same_joints_is_named_within_two_seconds(world):
    _, controller, _ = in_motion(world)
    other = world.monitor.create_publisher(JointState, "joint_states", 1)
    named = "2 publishers tell of the same joints on /joint_states: /fake_arm, /monitor"
    assert world.monitor.wait_until(lambda: named in controller.log, "named") < 2.0 + SLACK_S
    destroy(world.monitor, other)


def test_joint_states_that_contradict_each_other_hold_the_arm_until_one_publisher_is_gone(world):
    _, controller, _ = in_motion(world)
    monitor = world.monitor
    other = monitor.create_publisher(JointState, "joint_states", 1)
    elsewhere = JointState(name=["shoulder", "elbow"], position=[-1.1, 1.1])

    def held():
        elsewhere.header.stamp = monitor.get_clock().now().to_msg()
        other.publish(elsewhere)
        time.sleep(0.01)
        status = monitor.status
        return status.state == Status.HOLDING and "contradict each other" in status.detail

    held_after_s = monitor.wait_until(held, "held")
    print(f"contradicting joint states: holding after {held_after_s:.2f} s")
    assert held_after_s < 2.0 + SLACK_S
    named = "2 publishers tell of the same joints on /joint_states: /fake_arm, /monitor"
    assert monitor.wait_until(lambda: held() and named in controller.log, "named") < 2.0 + SLACK_S
    (line,) = [line for line in controller.log.splitlines() if named in line]
    assert line.startswith("[WARN]")
    end_s = time.monotonic() + 1.0
    while time.monotonic() < end_s:  # it stays so, and nothing moves meanwhile
        assert held()
    assert monitor.speed() == 0.0
    destroy(monitor, other)
    monitor.wait_for(Status.FOLLOWING)


def test_a_chunk_whose_stamp_is_no_time_is_refused_and_the_motion_goes_on(world):
    _, controller, _ = in_motion(world)
    message = ActionChunk(session=2**62, sequence=1, joint_names=["shoulder", "elbow"], rows=2, positions=[0.0] * 4)
    message.step = Duration(seconds=0.05).to_msg()
    for seconds, nanoseconds in ((-1, 0), (5, 2 * 10**9)):
        message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
        rejected = world.monitor.status.chunks_rejected

        def refused(rejected=rejected):
            world.monitor.chunks.publish(message)
            time.sleep(0.05)
            return world.monitor.status.chunks_rejected > rejected

        world.monitor.wait_until(refused, "refused")
    assert "no_stamp" in controller.log and "Traceback" not in controller.log
    assert world.monitor.status.state == Status.FOLLOWING


def test_a_request_for_no_transition_is_refused_in_motion(world):
    in_motion(world)
    assert not world.monitor.change_state(0)
    assert world.monitor.status.state == Status.FOLLOWING


def told_on_two_topics(world, stamped=True, **parameters):
    """A controller whose arm and gripper have a driver each; tells both, or the arm alone, at 50 Hz."""
    topics = {"arm_states": ["shoulder"], "gripper_states": ["elbow", "elbow_mimic"]}
    controller = world.controller(joint_states_topics="[arm_states, gripper_states]", **parameters)
    create = world.monitor.create_publisher
    publishers = [(create(JointState, topic, 1), names) for topic, names in topics.items()]

    def tell(number=2):
        for publisher, names in publishers[:number]:
            message = JointState(name=names, position=[0.1] * len(names))
            if stamped:
                message.header.stamp = world.monitor.get_clock().now().to_msg()
            publisher.publish(message)
        time.sleep(0.02)
        return world.monitor.status

    return controller, tell


def test_joints_that_two_drivers_tell_on_two_topics_are_one_robot(world):
    controller, tell = told_on_two_topics(world)
    world.monitor.wait_until(lambda: tell().reason == Status.WAITING_FOR_CHUNK, "all joints known")
    world.monitor.wait_until(lambda: tell(1).reason == Status.JOINT_STATES_STALE, "the gripper is missed")
    assert "the last joint state of 'elbow'" in world.monitor.status.detail
    assert "tell of the same joints" not in controller.log


def test_joint_states_without_stamps_are_refused_with_the_parameter_that_takes_them(world):
    controller, tell = told_on_two_topics(world, stamped=False)
    refused = "stamp is zero, expected the time of measurement; 'accept_zero_stamps'"
    world.monitor.wait_until(lambda: tell() and refused in controller.log, "refused")
    assert world.monitor.status.reason == Status.WAITING_FOR_JOINT_STATES


def test_joint_states_without_stamps_count_from_their_arrival_if_the_robot_says_so(world):
    _, tell = told_on_two_topics(world, stamped=False, accept_zero_stamps="true")
    world.monitor.wait_until(lambda: tell().reason == Status.WAITING_FOR_CHUNK, "all joints known")
