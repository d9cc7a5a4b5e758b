"""From checked parameters, and the robot description where it is asked for, to the settings of the controller."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.wait_for_message import wait_for_message
from std_msgs.msg import String

from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.qos import LATCHED


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
    """The settings that these parameters describe.

    Raises:
        ParameterError: a joint is named that the robot does not have, or a park pose is none.
    """
    unknown = sorted(set(parameters.ease_in_exclude_joints) - set(limits.joints))
    if unknown:
        raise ParameterError(
            [f"parameter 'ease_in_exclude_joints' names {', '.join(unknown)}, expected joints out of "
             f"{', '.join(limits.joints)}"]
        )  # fmt: skip
    return ControllerSettings(
        limits=limits,
        period_s=1.0 / parameters.control_rate_hz,
        merge_rule=parameters.merge_rule,
        ensemble_decay=parameters.ensemble_decay,
        ease_in_rows=parameters.ease_in_rows,
        ease_in_exclude_joints=tuple(parameters.ease_in_exclude_joints),
        interpolation=parameters.interpolation,
        alignment=parameters.alignment,
        max_action_age_s=parameters.max_action_age_s,
        future_tolerance_s=parameters.future_tolerance_s,
        state_timeout_s=parameters.state_timeout_s,
        tracking_timeout_s=parameters.tracking_timeout_s,
        clamping_timeout_s=parameters.clamping_timeout_s,
        clamping_excess=parameters.clamping_excess,
        clock_jump_s=parameters.clock_jump_s,
        park=_park_pose(parameters, limits),
        gentle=parameters.gentle_share,
        dry_run=parameters.dry_run,
    )


def _park_pose(parameters: ControllerParameters, limits: JointLimits) -> NDArray[np.float64] | None:
    """[joints], NaN for a joint that stays where it is; None: there is none."""
    joints, positions = parameters.park_joints, parameters.park_positions
    if len(joints) != len(positions) or len(set(joints)) != len(joints):
        raise ParameterError([f"parameter 'park_positions' has {len(positions)} values, expected one for each of the "
                              f"{len(set(joints))} park_joints"])  # fmt: skip
    pose, problems = np.full(len(limits.joints), np.nan), []
    if parameters.park_on_shutdown and not joints:
        problems.append("parameter 'park_on_shutdown' is true without a park pose: set park_joints and park_positions")
    for joint, position in zip(joints, positions, strict=True):
        if joint not in limits.joints:
            problems.append(f"parameter 'park_joints' names {joint}, expected joints out of {', '.join(limits.joints)}")
            continue
        index = limits.joints.index(joint)
        pose[index], lower, upper = position, limits.lower[index], limits.upper[index]
        if not lower <= position <= upper:
            problems.append(f"parameter 'park_positions' has {position:g} for {joint}, expected {lower:g} to {upper:g}")
    if problems:
        raise ParameterError(problems)
    return pose if joints else None
