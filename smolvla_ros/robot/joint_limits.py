"""The limits of all joints: parameters and robot description, the tighter of each."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from smolvla_ros.execution.limits import JointLimits, LimitError
from smolvla_ros.execution.urdf import UrdfLimits, read_limits
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import ControllerParameters, JointLimitParameters


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
    problems += _led(parameters, described)
    rows = []
    for joint in joints:
        limits = described.get(joint, UrdfLimits())
        row = joint_limits(parameters.joint[joint], limits)
        problems += _missing(joint, row, limits)
        rows.append(row)
    if problems:
        raise ParameterError(problems)
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    try:
        return JointLimits(joints=joints, **table)
    except LimitError as error:
        raise ParameterError([str(error)]) from error


def joint_limits(parameters: JointLimitParameters, described: UrdfLimits) -> dict[str, float]:
    """The limits of one joint under the names of `JointLimits`; NaN where neither side has one."""
    lower, upper, speed = parameters.min_position, parameters.max_position, parameters.max_velocity
    if lower == upper:
        lower = upper = math.nan
    if speed == 0.0:
        speed = math.nan
    # fmax and fmin take the other one where one is NaN.
    return {
        "lower": float(np.fmax(lower, described.lower)) + parameters.position_margin,
        "upper": float(np.fmin(upper, described.upper)) - parameters.position_margin,
        "velocity": float(np.fmin(speed, described.velocity)),
        "acceleration": float(np.fmin(parameters.max_acceleration, described.acceleration)),
        "step": parameters.max_step,
        "jump": parameters.max_jump,
        "tracking": parameters.tracking_tolerance,
        "path": parameters.path_tolerance,
    }


def _led(parameters: ControllerParameters, described: Mapping[str, UrdfLimits]) -> list[str]:
    """Joints that are commanded and that another one moves: no controller of the robot takes them."""
    leaders = {joint: limits.mimics for joint, limits in described.items() if limits.mimics}
    return [
        f"joint '{joint}' is commanded, and moves with '{leaders[joint]}' (<mimic> in the URDF): name "
        f"'{leaders[joint]}' in its place, or leave '{joint}' out of command_joints or command.<group>.joints"
        for group in parameters.groups for joint in group.joints if joint in leaders
    ]  # fmt: skip


def _missing(joint: str, row: dict[str, float], described: UrdfLimits) -> list[str]:
    problems = []
    for what, names in (("position", ("min_position", "max_position")), ("velocity", ("max_velocity",))):
        if not any(math.isnan(row[name]) for name in (("lower", "upper") if what == "position" else ("velocity",))):
            continue
        parameters = " and ".join(f"'joint.{joint}.{name}'" for name in names)
        limits = "limits" if what == "position" else "limit"
        if placeholder := described.placeholders.get(what):
            problems.append(f"joint '{joint}' has no {what} {limits}: the URDF (robot_description) says {placeholder}, "
                            f"which limits nothing: set {parameters}, or mend the URDF")  # fmt: skip
        else:
            problems.append(f"joint '{joint}' has no {what} {limits}: set {parameters}, or limits_from to "
                            "'robot_description' with a URDF that has them")  # fmt: skip
    return problems
