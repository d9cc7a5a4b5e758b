"""From checked parameters, and the robot description where it is asked for, to the settings of the controller."""

from __future__ import annotations

import math

import numpy as np
from rclpy.node import Node
from rclpy.wait_for_message import wait_for_message
from std_msgs.msg import String

from smolvla_ros.execution.limits import JointLimits, LimitError
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.urdf import UrdfLimits, read_limits
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import ControllerParameters, JointLimitParameters

from .qos import LATCHED


def robot_description(node: Node, parameters: ControllerParameters) -> str | None:
    """The URDF if the limits are to come from it; waits for it without an executor.

    Raises:
        ParameterError: it did not come in time.
    """
    if parameters.limits_from != "robot_description":
        return None
    timeout_s = parameters.robot_description_timeout_s
    received, message = wait_for_message(
        String, node, "robot_description", qos_profile=LATCHED, time_to_wait=timeout_s
    )
    if not received:
        raise ParameterError(
            [f"parameter 'limits_from' is 'robot_description' but no URDF came within {timeout_s:g} s: "
             "start robot_state_publisher, or set the limits as parameters"]
        )  # fmt: skip
    return str(message.data)


def settings_from(parameters: ControllerParameters, limits: JointLimits) -> ControllerSettings:
    """The settings that these parameters describe."""
    return ControllerSettings(
        limits=limits,
        period_s=1.0 / parameters.control_rate_hz,
        merge_rule=parameters.merge_rule,
        ensemble_decay=parameters.ensemble_decay,
        ease_in_rows=parameters.ease_in_rows,
        interpolation=parameters.interpolation,
        alignment=parameters.alignment,
        max_action_age_s=parameters.max_action_age_s,
        future_tolerance_s=parameters.future_tolerance_s,
        state_timeout_s=parameters.state_timeout_s,
        tracking_timeout_s=parameters.tracking_timeout_s,
        clamping_timeout_s=parameters.clamping_timeout_s,
        clamping_excess=parameters.clamping_excess,
        clock_jump_s=parameters.clock_jump_s,
        dry_run=parameters.dry_run,
    )


def limits_from(parameters: ControllerParameters, robot_description: str | None) -> JointLimits:
    """The limits of all joints: those of the parameters, narrowed or filled in by the robot description if given.

    Raises:
        ParameterError: naming every limit that is missing or contradicts itself.
        UrdfError: the description cannot be read.
    """
    joints = parameters.joints
    described = read_limits(robot_description) if robot_description is not None else {}
    problems = []
    if robot_description is not None:
        problems = [f"robot_description has no movable joint '{joint}'" for joint in joints if joint not in described]
    rows = []
    for joint in joints:
        row, missing = _joint_limits(joint, parameters.joint[joint], described.get(joint, UrdfLimits()))
        rows.append(row)
        problems += missing
    if problems:
        raise ParameterError(problems)
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    try:
        return JointLimits(joints=joints, **table)
    except LimitError as error:
        raise ParameterError([str(error)]) from error


def _joint_limits(
    joint: str, parameters: JointLimitParameters, described: UrdfLimits
) -> tuple[dict[str, float], list[str]]:
    lower, upper, speed = parameters.min_position, parameters.max_position, parameters.max_velocity
    if lower == upper:
        lower = upper = math.nan
    if speed == 0.0:
        speed = math.nan
    # fmax and fmin take the other one where one is NaN.
    lower, upper = float(np.fmax(lower, described.lower)), float(np.fmin(upper, described.upper))
    speed = float(np.fmin(speed, described.velocity))
    acceleration = float(np.fmin(parameters.max_acceleration, described.acceleration))
    margin = parameters.position_margin
    problems = []
    if math.isnan(lower) or math.isnan(upper):
        problems.append(f"joint '{joint}' has no position limits: {_remedy(joint, 'min_position', 'max_position')}")
    if math.isnan(speed):
        problems.append(f"joint '{joint}' has no velocity limit: {_remedy(joint, 'max_velocity')}")
    row = {
        "lower": lower + margin,
        "upper": upper - margin,
        "velocity": speed,
        "acceleration": acceleration,
        "step": parameters.max_step,
        "jump": parameters.max_jump,
        "tracking": parameters.tracking_tolerance,
    }
    return row, problems


def _remedy(joint: str, *names: str) -> str:
    parameters = " and ".join(f"'joint.{joint}.{name}'" for name in names)
    return f"set {parameters}, or limits_from to 'robot_description' with a URDF that has them"
