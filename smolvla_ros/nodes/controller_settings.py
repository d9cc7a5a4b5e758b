"""From checked parameters, and the robot description where it is asked for, to the settings of the controller."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.wait_for_message import wait_for_message
from std_msgs.msg import String

from smolvla_ros.execution.limits import JointLimits, LimitError
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.urdf import UrdfLimits, read_limits
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.table import Value

from .qos import LATCHED

# Parameters that are passed on under their own name.
_SAME_NAME = (
    "merge_rule",
    "ensemble_decay",
    "ease_in_rows",
    "interpolation",
    "alignment",
    "max_action_age_s",
    "future_tolerance_s",
    "state_timeout_s",
    "tracking_timeout_s",
    "clamping_timeout_s",
    "clamping_excess",
    "clock_jump_s",
    "dry_run",
)


def robot_description(node: Node, values: Mapping[str, Value]) -> str | None:
    """The URDF if the limits are to come from it; waits for it without an executor.

    Raises:
        ParameterError: it did not come in time.
    """
    if values["limits_from"] != "robot_description":
        return None
    timeout_s = float(values["robot_description_timeout_s"])
    received, message = wait_for_message(
        String, node, "robot_description", qos_profile=LATCHED, time_to_wait=timeout_s
    )
    if not received:
        raise ParameterError(
            [f"parameter 'limits_from' is 'robot_description' but no URDF came within {timeout_s:g} s: "
             "start robot_state_publisher, or set the limits as parameters"]
        )  # fmt: skip
    return str(message.data)


def settings_from(values: Mapping[str, Value], limits: JointLimits) -> ControllerSettings:
    """The settings that these parameter values describe."""
    given: dict[str, Any] = {name: values[name] for name in _SAME_NAME}
    return ControllerSettings(limits=limits, period_s=1.0 / float(values["control_rate_hz"]), **given)


def limits_from(values: Mapping[str, Value], joints: Sequence[str], robot_description: str | None) -> JointLimits:
    """The limits of all joints: those of the parameters, narrowed or filled in by the robot description if given.

    Raises:
        ParameterError: naming every limit that is missing or contradicts itself.
        UrdfError: the description cannot be read.
    """
    described = read_limits(robot_description) if robot_description is not None else {}
    problems = []
    if robot_description is not None:
        problems = [f"robot_description has no movable joint '{joint}'" for joint in joints if joint not in described]
    rows = []
    for joint in joints:
        row, missing = _joint_limits(values, joint, described.get(joint, UrdfLimits()))
        rows.append(row)
        problems += missing
    if problems:
        raise ParameterError(problems)
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    try:
        return JointLimits(joints=tuple(joints), **table)
    except LimitError as error:
        raise ParameterError([str(error)]) from error


def _joint_limits(
    values: Mapping[str, Value], joint: str, described: UrdfLimits
) -> tuple[dict[str, float], list[str]]:
    def value(name: str) -> float:
        return float(values[f"joint.{joint}.{name}"])

    lower, upper, speed = value("min_position"), value("max_position"), value("max_velocity")
    if lower == upper:
        lower = upper = math.nan
    if speed == 0.0:
        speed = math.nan
    # fmax and fmin take the other one where one is NaN.
    lower, upper = float(np.fmax(lower, described.lower)), float(np.fmin(upper, described.upper))
    speed = float(np.fmin(speed, described.velocity))
    acceleration = float(np.fmin(value("max_acceleration"), described.acceleration))
    margin = value("position_margin")
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
        "step": value("max_step"),
        "jump": value("max_jump"),
        "tracking": value("tracking_tolerance"),
    }
    return row, problems


def _remedy(joint: str, *names: str) -> str:
    parameters = " and ".join(f"'joint.{joint}.{name}'" for name in names)
    return f"set {parameters}, or limits_from to 'robot_description' with a URDF that has them"
