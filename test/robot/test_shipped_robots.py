"""The robots that ship: each fits a URDF with its public names and limits, moves a stub of its drivers, and holds."""

import re
import sys
from math import pi
from types import SimpleNamespace

import numpy as np
import pytest

from smolvla_ros.bringup.options import ArmOptions
from smolvla_ros.execution.chunk import Chunk
from smolvla_ros.execution.controller import Controller
from smolvla_ros.nodes.command_output import outputs_from
from smolvla_ros.nodes.controller_settings import settings_from
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.files import read_parameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.joint_limits import limits_from
from smolvla_ros.sim.trajectory_follower import FollowedTrajectory, TrajectoryFollower

PERIOD_NS = 10_000_000
TRAJECTORY, ARRAY = "joint_trajectory", "position_array"
UR = ["shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint", "wrist_1_joint", "wrist_2_joint", "wrist_3_joint"]
SO101 = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"]
VIPERX = {
    "waist": (-pi, pi, pi), "shoulder": (-1.85, 1.26, pi), "elbow": (-1.76, 1.61, pi),
    "forearm_roll": (-pi, pi, pi), "wrist_angle": (-1.87, 2.23, pi), "wrist_rotate": (-pi, pi, pi),
    "left_finger": (0.021, 0.057, 1.0),
}  # fmt: skip

# By robot: joints of the public description (lower, upper, speed; None: has none), and what its drivers take.
ROBOTS = {
    "so101": (
        dict.fromkeys([*SO101, "gripper"]),
        {"joint_trajectory_controller/joint_trajectory": (TRAJECTORY, [*SO101, "gripper"])},
    ),
    "ur5e_robotiq": (
        {**dict.fromkeys(UR, (-2 * pi, 2 * pi, pi)), "elbow_joint": (-pi, pi, pi),
         "robotiq_85_left_knuckle_joint": (0.0, 0.8, 0.5)},
        {"scaled_joint_trajectory_controller/joint_trajectory": (TRAJECTORY, UR),
         "robotiq_gripper_controller/gripper_cmd": ("gripper_command", ["robotiq_85_left_knuckle_joint"])},
    ),
    "xarm6_gripper": (
        {"joint1": (-2 * pi, 2 * pi, 3.14), "joint2": (-2.059, 2.0944, 3.14), "joint3": (-3.927, 0.19198, 3.14),
         "joint4": (-2 * pi, 2 * pi, 3.14), "joint5": (-1.69297, pi, 3.14), "joint6": (-2 * pi, 2 * pi, 3.14),
         "drive_joint": (0.0, 0.85, 2.0)},
        {"xarm6_traj_controller/joint_trajectory": (TRAJECTORY, [f"joint{i}" for i in range(1, 7)]),
         "xarm_gripper_traj_controller/joint_trajectory": (TRAJECTORY, ["drive_joint"])},
    ),
    "franka": (
        {"fr3_joint1": (-2.7437, 2.7437, 2.62), "fr3_joint2": (-1.7837, 1.7837, 2.62),
         "fr3_joint3": (-2.9007, 2.9007, 2.62), "fr3_joint4": (-3.0421, -0.1518, 2.62),
         "fr3_joint5": (-2.8065, 2.8065, 5.26), "fr3_joint6": (0.5445, 4.5169, 4.18),
         "fr3_joint7": (-3.0159, 3.0159, 5.26), "fr3_finger_joint1": (0.0, 0.04, 0.2)},
        {"fr3_arm_controller/joint_trajectory": (TRAJECTORY, [f"fr3_joint{i}" for i in range(1, 8)]),
         "franka_gripper/gripper_action": ("gripper_command", ["fr3_finger_joint1"])},
    ),
    "aloha": (
        {f"{side}_{name}": limits for side in ("left", "right") for name, limits in VIPERX.items()},
        {f"{side}_{part}_controller/joint_trajectory": (TRAJECTORY, [f"{side}_{name}" for name in names])
         for side in ("left", "right")
         for part, names in (("arm", list(VIPERX)[:-1]), ("gripper", ["left_finger"]))},
    ),
    "koch": (
        dict.fromkeys([*SO101, "gripper"]),
        {"forward_position_controller/commands": (ARRAY, [*SO101, "gripper"])},
    ),
}  # fmt: skip


def urdf(joints):
    elements = "".join(
        f'<joint name="{name}" type="{"prismatic" if "finger" in name else "revolute"}"><parent link="base"/>'
        f'<child link="{name}_link"/><limit lower="{lower}" upper="{upper}" velocity="{speed}" effort="1"/></joint>'
        f'<link name="{name}_link"/>'
        for name, (lower, upper, speed) in joints.items()
    )
    return f'<robot name="r"><link name="base"/>{elements}</robot>'


class Drivers:
    """Stands for a node and for the robot's drivers: takes what is sent, by topic or action, and moves the joints."""

    def __init__(self, place):
        self.place, self.heard = dict(place), {}
        self._followers, self._arrays = {}, {}

    def create_publisher(self, kind, topic, qos):
        self.heard[topic] = (kind.__name__, [])
        return SimpleNamespace(publish=lambda message: self._take(topic, message))

    def create_action(self, kind, topic):
        self.heard[topic] = ("gripper_command", [])
        return SimpleNamespace(server_is_ready=lambda: True, send_goal_async=lambda goal: self._grip(topic, goal))

    def _grip(self, topic, goal):
        self.heard[topic][1].append(goal.command.position)
        (joint,) = self.drives[topic][1]
        self.place[joint] = goal.command.position

    def _take(self, topic, message):
        joints = self.drives[topic][1]
        if self.drives[topic][0] == ARRAY:
            self.heard[topic][1].append(list(message.data))
            self.place |= dict(zip(joints, message.data, strict=True))
            return
        assert sorted(message.joint_names) == sorted(joints)  # joint_trajectory_controller refuses partial goals
        self.heard[topic][1].append(message)
        names = list(message.joint_names)
        follower = self._followers.setdefault(
            topic, (names, TrajectoryFollower([self.place[name] for name in names], self.now_ns, 2_000_000))
        )[1]
        in_ns = lambda time: time.sec * 10**9 + time.nanosec  # noqa: E731
        follower.receive(
            FollowedTrajectory(
                in_ns(message.header.stamp), np.array([in_ns(point.time_from_start) for point in message.points]),
                np.array([point.positions for point in message.points]),
                np.array([point.velocities for point in message.points]),
            ),
            self.now_ns,
        )  # fmt: skip

    def update(self):
        """A period of the controllers at 500 Hz."""
        for now_ns in range(self.now_ns, self.now_ns + PERIOD_NS, 2_000_000):
            for names, follower in self._followers.values():
                measured = [self.place[name] for name in names]
                self.place |= dict(zip(names, follower.update(now_ns, measured, np.zeros(len(names))), strict=True))


@pytest.fixture(params=ROBOTS)
def robot(request, monkeypatch):
    """Parameters, limits, and drivers that stand in the middle of every joint's range."""
    file = ArmOptions(robot=request.param, sim=False, checkpoint="x").robot_file
    parameters = read_parameters(file, "/controller_node", ControllerParameters)
    joints, drives = ROBOTS[request.param]
    described = parameters.limits_from == "robot_description"
    assert described == all(joints.values())
    limits = limits_from(parameters, urdf(joints) if described else None)
    drivers = Drivers(dict(zip(limits.joints, 0.5 * (limits.lower + limits.upper), strict=True)))
    drivers.drives = drives
    command = SimpleNamespace(Goal=lambda: SimpleNamespace(command=SimpleNamespace()))
    actions = SimpleNamespace(GripperCommand=command, ParallelGripperCommand=command)
    monkeypatch.setitem(sys.modules, "control_msgs", SimpleNamespace(action=actions))
    monkeypatch.setitem(sys.modules, "control_msgs.action", actions)
    monkeypatch.setattr(
        "smolvla_ros.nodes.gripper_action.ActionClient", lambda node, kind, topic: drivers.create_action(kind, topic)
    )
    return request.param, file, parameters, limits, drivers


def test_the_page_of_robots_has_every_shipped_file_whole_and_an_example_that_loads(tmp_path, repository):
    page = (repository / "docs" / "how_to" / "robots.md").read_text()
    for file in (repository / "config" / "robots").glob("*.yaml"):
        assert f"{{literalinclude}} ../../config/robots/{file.name}\n" in page
    (example,) = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if block.startswith("/**:")]
    (tmp_path / "robot.yaml").write_text(example)
    parameters = read_parameters(tmp_path / "robot.yaml", "/controller_node", ControllerParameters)
    policy = read_parameters(tmp_path / "robot.yaml", "/policy_node", PolicyParameters, {"checkpoint": "x"})
    joints = {**{f"joint_{i}": (-pi, pi, pi) for i in range(1, 7)}, "finger": (0.0, 0.04, 0.2)}
    limits = limits_from(parameters, urdf(joints))
    assert RobotConfig.from_parameters(policy).joint_names == limits.joints
    assert [group.joints for group in parameters.groups] == [limits.joints[:6], ("finger",)]
    settings_from(parameters, limits)


def test_a_shipped_robot_fits_its_public_description_for_policy_and_controller(robot):
    name, file, parameters, limits, _ = robot
    policy = read_parameters(file, "/policy_node", PolicyParameters, {"checkpoint": "x"})
    config = RobotConfig.from_parameters(policy)
    assert set(config.joint_names) == set(ROBOTS[name][0]) == set(limits.joints)
    assert len(config.cameras) == (3 if name == "aloha" else 2)
    assert (limits.velocity <= 3.0).all() and (limits.acceleration <= 20.0).all()
    settings_from(parameters, limits)


def test_a_shipped_robot_moves_its_drivers_inside_its_limits_and_holds_when_told_to(robot):
    _, _, parameters, limits, drivers = robot
    controller = Controller(settings_from(parameters, limits))
    drivers.now_ns = 10**12
    outputs = outputs_from(drivers, parameters, controller, limits)
    assert {topic: kind for topic, (kind, _) in drivers.heard.items()}.keys() == drivers.drives.keys()
    start = np.array([drivers.place[name] for name in limits.joints])
    goal = start + np.minimum(0.2, 0.4 * (limits.upper - start))
    rows = start + (goal - start) * np.linspace(0.0, 1.0, 60)[:, None]
    controller.activate(drivers.now_ns, drivers.now_ns)
    path = []
    for tick in range(350):
        drivers.now_ns = now_ns = 10**12 + (tick + 1) * PERIOD_NS
        for _ in range(3):
            measured = np.array([drivers.place[name] for name in limits.joints])
            controller.receive_joint_positions(measured, now_ns, now_ns)
        if tick == 2:
            controller.receive_chunk(Chunk(1, 1, now_ns, 40_000_000, rows), now_ns, now_ns)
        if tick == 100:
            controller.stop()
        command = controller.step(now_ns, now_ns)
        for output in outputs if command is not None else ():
            output.send(command, now_ns)
        drivers.update()
        path.append([drivers.place[name] for name in limits.joints])
    moved = np.abs(np.array(path[100]) - start)
    assert (moved > 0.3 * np.abs(goal - start)).all() and (moved < 0.7 * np.abs(goal - start)).all()
    assert (np.array(path) >= limits.lower - 1e-9).all() and (np.array(path) <= limits.upper + 1e-9).all()
    np.testing.assert_allclose(path[-1], path[200], atol=2e-3)  # held; a gripper's last goal is within 1 mrad
