"""Leader arms and followers, each a process on an emulated bus of its own, over DDS."""

import json
import signal
import subprocess
from contextlib import ExitStack

import numpy as np
import pytest
from arms import SMOLVLA_ROS
from driver_client import DriverClient
from led_session import exported, from_topic, recorded, show_pictures
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from smolvla_ros.drivers.calibration import GRIPPER_CLOSED_RAD, JOINTS, read_calibration
from smolvla_ros.drivers.servo_emulator import EmulatedBus
from smolvla_ros.installation import share_folder
from smolvla_ros.msg import ExecutionStatus
from smolvla_ros.qos import LATCHED

SIDES = ("left", "right")
MIDDLE = dict.fromkeys(range(1, 7), 2048)
TASK = "put the red cube into the box"


@pytest.fixture
def client():
    with DriverClient() as client:
        yield client


@pytest.fixture
def leader_file(calibration_file, tmp_path):
    """Another arm than the follower: other offsets, a trigger that turns less far."""
    data = json.loads(calibration_file.read_text())
    for number, motor in enumerate(data.values()):
        motor["homing_offset"] = 100 * number
    data["gripper"] |= {"range_min": 2000, "range_max": 2800}
    file = tmp_path / "leader.json"
    file.write_text(json.dumps(data))
    return file


@pytest.fixture
def bus():
    """Makes buses with servos of a calibration, at places in rad, that stay where they are put or follow goals."""
    with ExitStack() as stack:

        def make(file, rad, speed=None):
            motors = read_calibration(file)
            ticks = {motor.id: motor.to_ticks(rad[motor.joint]) for motor in motors.values()}
            bus = stack.enter_context(EmulatedBus(ticks, speed=speed, timed=False))
            bus.calibrate(motors.values())
            bus.put = lambda rad: bus.place({motors[j].id: (motors[j].ticks_at(q), 0.0) for j, q in rad.items()})
            bus.rad = lambda joint: motors[joint].to_rad(bus.position(motors[joint].id))
            return bus

        yield make


def at(rad):
    """Every joint at `rad`, the gripper closed."""
    return dict.fromkeys(JOINTS, rad) | {"gripper": GRIPPER_CLOSED_RAD}


def test_two_arms_are_led_by_two_leaders_each_in_its_namespace(client, bus, calibration_file, leader_file):
    """The test passes the goals on, in place of the controllers. It may miss the first ones, and nobody begins anew for
    it, so leaders stand where a follower may be commanded at first, with closed grippers: those turn differently far.
    """
    there = {"left": 0.08, "right": -0.08}
    followers, leaders, goals = {}, {}, {}
    for side in SIDES:
        followers[side] = bus(calibration_file, at(0.0), speed=1e5)
        leaders[side] = bus(leader_file, at(there[side]))
        goals[side] = client.hear(JointState, f"{side}/person_commands")
        commands = client.node.create_publisher(JointState, f"{side}/joint_command", 1)
        client.node.create_subscription(JointState, f"{side}/person_commands", commands.publish, 1)
        client.start("so101_node", side, port=followers[side].port, calibration=calibration_file)
        client.start("teleop_node", side, leader_port=leaders[side].port, leader_calibration=leader_file)
    for side in SIDES:
        client.until(lambda side=side: abs(followers[side].rad("wrist_flex") - there[side]) < 0.01, f"the {side} arm")
        leaders[side].put(at(5 * there[side]))
    for side in SIDES:
        client.until(lambda side=side: abs(followers[side].rad("wrist_flex") - 5 * there[side]) < 0.01, f"{side}, on")
        assert list(goals[side][0].name) == list(JOINTS)
        assert not leaders[side].torque(1)
        assert followers[side].torque(1)


def test_a_leader_that_falls_silent_is_told_by_name_and_gives_no_goals(client, bus, calibration_file, leader_file):
    leader = bus(leader_file, dict.fromkeys(JOINTS, 0.0))
    goals = client.hear(JointState, "person_commands")
    states = client.node.create_publisher(JointState, "joint_states", 1)
    follower = JointState(name=list(JOINTS), position=[0.0] * 6)
    client.node.create_timer(0.02, lambda: states.publish(follower))
    client.start("teleop_node", leader_port=leader.port, leader_calibration=leader_file)
    client.until(lambda: len(goals) > 5, "goals")
    leader.misbehave(lambda faults: faults.silent.add(5))
    client.until(lambda: client.told("the leader is silent: wrist_roll (servo 5"), "the error in the diagnostics")
    goals.clear()
    client.statuses.clear()
    client.until(lambda: client.told("the leader is silent"), "it again")
    assert not goals
    leader.put({"wrist_roll": 1.0})
    leader.misbehave(lambda faults: faults.silent.clear())
    client.until(lambda: len(goals) > 2, "goals again")
    assert abs(goals[0].position[4]) < 0.05  # not where the leader was moved to meanwhile


def test_goals_that_nobody_takes_are_an_error_and_whoever_listens_late_is_led_from_where_the_follower_is(
    client, bus, leader_file
):
    leader = bus(leader_file, dict.fromkeys(JOINTS, 0.5))
    states = client.node.create_publisher(JointState, "joint_states", 1)
    follower = JointState(name=list(JOINTS), position=[0.0] * 6)
    client.node.create_timer(0.02, lambda: states.publish(follower))
    client.start("teleop_node", leader_port=leader.port, leader_calibration=leader_file)
    client.until(lambda: client.told("nobody listens on person_commands"), "the error")
    client.until(lambda: client.told("nobody listens on person_commands") and len(client.statuses) > 3, "it again")
    goals = client.hear(JointState, "person_commands")
    client.until(lambda: len(goals) > 2, "goals")
    assert abs(goals[0].position[0]) < 0.3  # on the way that began when it listened


def test_a_calibration_of_the_follower_is_refused_for_the_leader(client, bus, calibration_file, leader_file):
    leader = bus(leader_file, dict.fromkeys(JOINTS, 0.0))
    process = client.start("teleop_node", leader_port=leader.port, leader_calibration=calibration_file)
    line = next(line for line in iter(process.stdout.readline, "") if "cannot configure" in line)
    assert "it is the file of another arm" in line


def test_a_leader_takes_over_from_the_policy_and_the_end_hands_the_arm_back(client, bus, calibration_file, leader_file):
    follower = bus(calibration_file, dict.fromkeys(JOINTS, 0.0), speed=1e5)
    leader = bus(leader_file, dict.fromkeys(JOINTS, 0.3))
    statuses = client.hear(ExecutionStatus, "execution_status")
    client.start("so101_node", port=follower.port, calibration=calibration_file)
    client.start("controller_node", file=share_folder() / "config" / "so101_sim.yaml")
    person = client.start("teleop_node", leader_port=leader.port, leader_calibration=leader_file)
    client.until(lambda: abs(follower.rad("wrist_flex") - 0.3) < 0.02, "the follower at the leader")
    client.until(lambda: statuses and statuses[-1].state == ExecutionStatus.TAKEN_OVER, "the person's command told")
    assert statuses[-1].intervention
    leader.put(dict.fromkeys(JOINTS, -0.2))
    client.until(lambda: abs(follower.rad("wrist_flex") + 0.2) < 0.02, "the follower at the leader, moved on")
    person.send_signal(signal.SIGINT)
    client.until(lambda: statuses[-1].state == ExecutionStatus.HOLDING, "the arm handed back")
    assert not statuses[-1].intervention
    assert abs(follower.rad("wrist_flex") + 0.2) < 0.02 and follower.torque(4)


def test_a_controller_that_is_started_again_learns_that_a_person_commands(client, bus, calibration_file, leader_file):
    follower = bus(calibration_file, dict.fromkeys(JOINTS, 0.0), speed=1e5)
    leader = bus(leader_file, dict.fromkeys(JOINTS, 0.3))
    client.start("so101_node", port=follower.port, calibration=calibration_file)
    client.start("teleop_node", leader_port=leader.port, leader_calibration=leader_file)
    robot = share_folder() / "config" / "so101_sim.yaml"
    first = client.start("controller_node", file=robot)
    client.until(lambda: abs(follower.rad("wrist_flex") - 0.3) < 0.02, "the follower at the leader")
    first.kill()
    first.wait()
    statuses = client.hear(ExecutionStatus, "execution_status")
    client.start("controller_node", file=robot)
    client.until(lambda: statuses and statuses[-1].intervention, "the person's command, known again")
    leader.put(dict.fromkeys(JOINTS, 0.1))
    client.until(lambda: abs(follower.rad("wrist_flex") - 0.1) < 0.02, "the follower at the leader, moved on")


def test_a_led_session_becomes_a_dataset_of_what_was_measured_commanded_and_said(
    client, bus, calibration_file, leader_file, tmp_path
):
    follower = bus(calibration_file, dict.fromkeys(JOINTS, 0.0), speed=1e5)
    leader = bus(leader_file, dict.fromkeys(JOINTS, 0.3))
    statuses = client.hear(ExecutionStatus, "execution_status")
    show_pictures(client)
    client.node.create_publisher(String, "instruction", LATCHED).publish(String(data=TASK))
    bag = tmp_path / "bag"
    recorder = subprocess.Popen([SMOLVLA_ROS, "record", "--robot", "so101_sim", "--out", bag])
    try:
        client.start("so101_node", port=follower.port, calibration=calibration_file)
        client.start("controller_node", file=share_folder() / "config" / "so101_sim.yaml")
        client.until(lambda: statuses and client.node.count_subscribers("front/image_raw"), "controller and recorder")
        person = client.start("teleop_node", leader_port=leader.port, leader_calibration=leader_file)
        client.until(lambda: abs(follower.rad("wrist_flex") - 0.3) < 0.02, "the follower at the leader")
        leader.put(dict.fromkeys(JOINTS, -0.2))
        client.until(lambda: abs(follower.rad("wrist_flex") + 0.2) < 0.02, "the follower at the leader, moved on")
        person.send_signal(signal.SIGINT)
        client.until(lambda: statuses[-1].state == ExecutionStatus.HOLDING, "the arm handed back")
        handed_back = len(statuses)
        client.until(lambda: len(statuses) > handed_back + 60, "the arm held for a while")
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(timeout=30) == 130
    finally:
        recorder.kill()
        recorder.wait()

    everything, tasks = exported(bag, tmp_path / "everything", "keep")
    led, led_tasks = exported(bag, tmp_path / "led", "only")
    alone, _ = exported(bag, tmp_path / "alone", "cut")
    assert tasks == led_tasks == [TASK]
    assert json.loads((tmp_path / "led" / "meta" / "info.json").read_text())["robot_type"] == "so101_sim"
    assert 0 < len(led) < len(everything) and 0 < len(alone) < len(everything)
    states, actions = np.stack(led["observation.state"]), np.stack(led["action"])
    assert from_topic(states, recorded(bag, "/joint_states"))
    assert from_topic(actions, recorded(bag, "/joint_command"))
    wrist = JOINTS.index("wrist_flex")
    degrees = np.degrees([0.3, -0.2])
    assert np.abs(actions[:, wrist] - degrees[0]).min() < 1.5 and np.abs(actions[-1, wrist] - degrees[1]) < 1.5
    assert np.abs(states[-1, wrist] - degrees[1]) < 1.5
    held = np.stack(alone["action"])
    assert np.ptp(held, axis=0).max() < 0.1, "nobody commands once the arm is handed back: it holds"
