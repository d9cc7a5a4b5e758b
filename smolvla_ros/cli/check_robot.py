"""The part of `smolvla-ros check` that holds a checkpoint against a robot: what it would ask for, in which units."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.bringup.options import BringUpError

from .robot_option import node_name, read_node_parameters

if TYPE_CHECKING:
    from rich.console import Console

    from smolvla_ros.model import SmolVLAPolicy
    from smolvla_ros.model.checkpoint.loading import LoadingPlan
    from smolvla_ros.robot import RobotConfig

Limits = NDArray[np.float64]


def position_limits(args: argparse.Namespace, robot: RobotConfig) -> Limits:
    """Lower and upper limits [2, joints] of the controller's parameters and of --urdf; NaN where neither has one.

    Raises:
        BringUpError: a file cannot be read or used.
    """
    from smolvla_ros.execution.urdf import UrdfError, UrdfLimits, read_limits
    from smolvla_ros.parameters.controller import ControllerParameters
    from smolvla_ros.robot.joint_limits import joint_limits

    parameters = read_node_parameters(args.robot, node_name(args.namespace, "controller_node"), ControllerParameters)
    try:
        described = read_limits(args.urdf.read_text(encoding="utf-8")) if args.urdf else {}
    except (OSError, UnicodeDecodeError, UrdfError) as error:
        raise BringUpError(f"--urdf {args.urdf}: {error}") from error
    rows = [joint_limits(parameters.joint[name], described.get(name, UrdfLimits())) for name in robot.joint_names]
    return np.array([[row[name] for row in rows] for name in ("lower", "upper")])


def show_fit(console: Console, policy: SmolVLAPolicy, plan: LoadingPlan, robot: RobotConfig, limits: Limits) -> int:
    """Prints what the training data would be on the robot; 1 if that cannot be meant.

    Args:
        limits: of positions, [2, joints].
    """
    from rich.markup import escape

    console.print(f"\n[bold]robot[/]: {escape(', '.join(robot.joint_names))}")
    problems, warnings = units_found(plan, robot, limits)
    for problem in problems:
        console.print(f"[bold red]units do not fit[/]: {escape(problem)}")
    for warning in warnings:
        console.print(f"[yellow]look at[/]: {escape(warning)}")
    if problems:
        return 1
    console.print("fits: cameras, joints, names" + (" and units" if np.isfinite(limits).any() else "")
                  + "; in the robot's units the mean action is")  # fmt: skip
    mean = plan.action.unnormalise(0 * plan.action.low).double().numpy()
    for name, position in zip(robot.joint_names, robot.to_ros_units(mean), strict=True):
        console.print(f"  {escape(name):20} {position:9.3f} rad or m")
    return 0


def units_found(plan: LoadingPlan, robot: RobotConfig, limits: Limits) -> tuple[list[str], list[str]]:
    """Problems and warnings about the units of state and action, each once; a joint without limits is not judged."""
    from smolvla_ros.model.checkpoint.units import FULL_SCALE, guess_units
    from smolvla_ros.robot.unit_fit import TrainingRange, unit_verdict

    problems: list[str] = []
    warnings: list[str] = []
    lower, upper = limits
    for what, feature, source in (
        ("action", "action", plan.processing.action),
        ("state", "observation.state", plan.processing.state),
    ):
        statistics = source.found(feature)
        training = TrainingRange.of({name: values.double().numpy() for name, values in statistics.items()})
        if training is None or training.low.shape != (len(robot.joints),):
            warnings.append(f"{what}: the checkpoint has no range of its training data, so its units are not judged")
            continue
        units = guess_units(statistics).units
        verdict = unit_verdict(robot, training, lower, upper, normalised=units == FULL_SCALE)
        problems += [f"{what} ({training.source} of the training data): {text}" for text in verdict.problems]
        warnings += [f"{what} ({training.source} of the training data): {text}" for text in verdict.warnings]
    if not np.isfinite(limits).all(axis=0).any():
        warnings.append("no joint has position limits here, so units are not judged: give --urdf FILE, or limits in "
                        "the robot config")  # fmt: skip
    return problems, warnings
