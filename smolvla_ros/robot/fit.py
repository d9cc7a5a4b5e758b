"""Holds a robot's description against what a checkpoint expects."""

from __future__ import annotations

from collections.abc import Sequence

from .config import RobotConfig


def fit_problems(
    robot: RobotConfig,
    *,
    cameras: Sequence[str],
    state_dim: int,
    action_dim: int,
    state_names: Sequence[str] | None,
    action_names: Sequence[str] | None,
    allow_missing_cameras: bool = False,
) -> list[str]:
    """Everything in which robot and checkpoint differ, one sentence each naming both sides; empty if they fit.

    Args:
        robot: the description of the robot.
        cameras: the checkpoint's image features.
        state_dim, action_dim: lengths of its state and action.
        state_names, action_names: their names where the checkpoint stores them.
        allow_missing_cameras: accept that the robot feeds only some of the features.
    """
    problems = _camera_problems(robot, cameras, allow_missing_cameras)
    for what, size in (("state", state_dim), ("action", action_dim)):
        if size != len(robot.joints):
            problems.append(
                f"the checkpoint's {what} has {size} values, the robot has {len(robot.joints)} joints "
                f"({', '.join(robot.joint_names)}): parameter 'joints' must list the joints it was trained on"
            )
    for what, names in (("state", state_names), ("action", action_names)):
        if names is not None and len(names) == len(robot.joints):
            problems += _name_problems(robot, what, names)
    return problems


def _camera_problems(robot: RobotConfig, features: Sequence[str], allow_missing: bool) -> list[str]:
    fed = {camera.feature: camera.name for camera in robot.cameras}
    expected = ", ".join(features) or "none"
    problems = [
        f"camera '{name}' feeds '{feature}', which the checkpoint does not have; its image features: {expected} "
        f"(parameter 'camera.{name}.feature')"
        for feature, name in fed.items()
        if feature not in features
    ]
    missing = [feature for feature in features if feature not in fed]
    if missing and not (allow_missing and len(missing) < len(features)):
        problems.append(
            f"the checkpoint expects {', '.join(missing)}, which no camera of the robot feeds; its cameras feed "
            f"{', '.join(fed) or 'none'} (parameters 'cameras', 'camera.<camera>.feature', 'allow_missing_cameras')"
        )
    return problems


def _name_problems(robot: RobotConfig, what: str, names: Sequence[str]) -> list[str]:
    return [
        f"{what} {place} of the checkpoint is '{name}', but joint '{joint.name}' stands there and says it is "
        f"'{joint.feature}' (parameters 'joints' and 'joint.{joint.name}.feature')"
        for place, (name, joint) in enumerate(zip(names, robot.joints, strict=True))
        if joint.feature and joint.feature != name
    ]
