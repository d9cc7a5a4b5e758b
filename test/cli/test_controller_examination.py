"""What the doctor says of a joint_trajectory_controller that runs, asked over ROS for its parameters."""

import threading

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from trajectory_msgs.msg import JointTrajectory

from smolvla_ros.client import ArmClient
from smolvla_ros.controller_examination import ArmController, examine_controller
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.probe import ArmProbe

JOINTS = ("pan", "lift")
OURS = {"joints": list(JOINTS), "joint.pan.max_velocity": 2.0, "joint.lift.max_velocity": 1.0}
# As `ros2 param dump` of the public ros2_control demos shows them; update_rate 0 is the manager's.
GOOD = {
    "joints": list(JOINTS), "command_joints": [""], "command_interfaces": ["position"],
    "state_interfaces": ["position", "velocity"], "allow_partial_joints_goal": False, "update_rate": 0,
    "allow_nonzero_velocity_at_trajectory_end": False, "interpolate_from_desired_state": False,
    "constraints.pan.trajectory": 0.0, "constraints.lift.trajectory": 0.0, "constraints.goal_time": 0.0,
}  # fmt: skip


def findings(ours_simulated=False, type="joint_trajectory", rate_hz=500, **changes):
    ours = ControllerParameters.from_values({**OURS, "command_type": type})
    facts = GOOD | {name.replace("__", "."): value for name, value in changes.items()}
    found = ArmController("/arm_controller", facts, rate_hz)
    return list(examine_controller(found, ours.groups[0], ours, ours_simulated))


@pytest.mark.parametrize(
    ("changes", "level", "text", "remedy"),
    [
        ({"joints": ["pan", "lift", "grip"]}, "fail", "refuses trajectories without grip", "allow_partial_joints_goal"),
        ({"joints": ["pan", "elevate"]}, "fail", "drives pan, elevate, not lift", "command.<group>.joints"),
        ({"command_interfaces": ["effort"]}, "warn", "commands effort", "'position'"),
        ({"state_interfaces": ["velocity"]}, "fail", "reads velocity", "'position'"),
        ({"allow_trajectory_replacement": True}, "warn", "allow_trajectory_replacement", "3 times the speed"),
        ({"update_rate": 50}, "warn", "50 times a second, and trajectory_slack_s is 0.02", "0.04 at least"),
        ({"rate_hz": 60}, "warn", "60 times a second", "trajectory_slack_s"),
        ({"constraints__pan__trajectory": 0.05}, "warn", "is 0.05, and at full speed an arm may be 0.12", "hold"),
        ({"use_sim_time": True}, "fail", "goes by /clock, controller_node by the machine's clock", "alike"),
        ({"type": "position_array", "joints": ["lift", "pan"]}, "fail", "takes lift, pan, and pan, lift are sent", ""),
        ({"type": "position_array", "interface_name": "effort"}, "fail", "commands effort", "'position'"),
    ],
)  # fmt: skip
def test_a_setting_that_makes_motion_bad_is_told_with_its_remedy(changes, level, text, remedy):
    (finding,) = findings(**changes)
    assert finding.level == level and text in finding.text and remedy in finding.remedy


@pytest.mark.parametrize("changes", [
    {}, {"interpolate_from_desired_state": True}, {"open_loop_control": True}, {"update_rate": 100},
    {"joints": ["lift", "pan"]}, {"joints": ["pan", "lift", "grip"], "allow_partial_joints_goal": True},
    {"constraints__pan__trajectory": 0.2}, {"use_sim_time": True, "ours_simulated": True},
])  # fmt: skip
def test_settings_that_do_no_harm_are_not_warned_of(changes):
    (finding,) = findings(**changes)
    assert finding.level == "ok" and "fit" in finding.text


def test_the_parameters_are_those_of_whoever_listens_to_the_command_and_of_its_manager():
    with ArmClient("doctor", "") as client:
        context = rclpy.Context()
        rclpy.init(context=context)
        executor = SingleThreadedExecutor(context=context)
        names = ("joint_trajectory_controller", "controller_manager")
        nodes = [rclpy.create_node(name, context=context) for name in names]
        for name, value in GOOD.items():
            nodes[0].declare_parameter(name, value)
        nodes[1].declare_parameter("update_rate", 250)
        nodes[0].create_subscription(JointTrajectory, "~/joint_trajectory", lambda message: None, 1)
        for node in nodes:
            executor.add_node(node)
        probe = ArmProbe(client)
        probe.described = {"policy_node": {"parameters": {"joints": list(JOINTS), "checkpoint": "x"}},
                           "controller_node": {"parameters": OURS}}  # fmt: skip
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        probe.look(0.5)
        executor.shutdown()
        thread.join()
        for node in nodes:
            node.destroy_node()
        rclpy.shutdown(context=context)
    (found,) = probe.arm_controllers["/joint_trajectory_controller/joint_trajectory"]
    assert found.name == "/joint_trajectory_controller" and found.rate_hz == 250
    assert found.joints == JOINTS and found.parameters["state_interfaces"] == ["position", "velocity"]
