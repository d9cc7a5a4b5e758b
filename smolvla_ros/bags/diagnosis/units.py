"""Degrees where radians are expected, and the reverse.

The training data tell by what factor joint states and commands have to be multiplied to be like them, and their
comparison by what factor they differ. Together they say which side is wrong, and whether the topic or the config is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.bags.replay.result import BagFinding

from ..replay.facts import Array
from .evidence import Evidence
from .tracking import DEGREES, GAINS
from .training import TrainingData

_TURN = 2.0 * math.pi
_NAMES = {1.0 / DEGREES: "degrees_for_radians", DEGREES: "radians_for_degrees"}


def unit_findings(known: Evidence) -> list[BagFinding]:
    """One finding for each kind and side; one for both sides where they share the fault."""
    states = known.state.factor(known.positions, known.scale)
    commands = known.action.factor(known.commands, known.scale)
    ratios = _ratios(known)
    for joint, ratio in enumerate(ratios):
        larger = known.positions if ratio > 1.0 else known.commands
        too_large = bool(np.isfinite(ratio)) and float(np.nanmax(np.abs(larger))) > _TURN
        states[joint], commands[joint] = _reconciled(states[joint], commands[joint], ratio, too_large)
    findings = []
    for factor, name in _NAMES.items():
        wrong_states, wrong_commands = _is(states, factor), _is(commands, factor)
        if wrong_states.any() and (np.array_equal(wrong_states, wrong_commands) or not len(known.commands)):
            topics = "joint states and commands" if len(known.commands) else "joint states"
            findings.append(BagFinding(name, "error", _text(known, wrong_states, topics, factor)))
            continue
        for wrong, topics in ((wrong_states, "joint states"), (wrong_commands, "commands")):
            if wrong.any():
                findings.append(BagFinding(name, "error", _text(known, wrong, topics, factor)))
    return findings


def _ratios(known: Evidence) -> Array:
    """[joints] positions / commands where they move: 1, 57.3 or 1 / 57.3; NaN where nothing can be told."""
    tracking = known.tracking
    ratios = np.full(len(known.names), np.nan)
    if tracking is None:
        return ratios
    suspicious = tracking.suspicious()
    for joint in np.flatnonzero(tracking.command_moves).tolist():
        gain = tracking.other_gain(joint)
        if not suspicious[joint]:
            ratios[joint] = 1.0
        elif gain is not None:
            ratios[joint] = abs(GAINS[gain])
    return ratios


def _reconciled(state: float, command: float, ratio: float, too_large: bool) -> tuple[float, float]:
    """Factors of both sides, such that state * ratio = command.

    Where nothing but the ratio is known, the larger side is wrong if it is too large for radians, else the smaller.
    """
    if np.isnan(ratio) or np.isclose(state * ratio, command):
        return state, command
    if state != 1.0:
        return state, state * ratio
    if command != 1.0:
        return command / ratio, command
    return (1.0 / ratio, 1.0) if (ratio > 1.0) == too_large else (1.0, ratio)


def _is(factors: Array, factor: float) -> NDArray[np.bool_]:
    return np.isclose(factors, factor, rtol=1e-3)


def _text(known: Evidence, wrong: NDArray[np.bool_], topics: str, factor: float) -> str:
    is_state = topics.startswith("joint states")
    rows, training = (known.positions, known.state) if is_state else (known.commands, known.action)
    joints = np.flatnonzero(wrong)
    joint = int(joints[np.argmax(np.nanmax(np.abs(rows[:, joints]), axis=0))])
    name, largest = known.names[joint], float(np.nanmax(np.abs(rows[:, joint])))
    seen = f"{name} goes up to {largest:.3g} rad"
    if training.known:
        low, high = training.in_ros_units(joint)
        seen += f", by the robot config's scale the policy was trained with {low:.3g} to {high:.3g} rad"
    if known.tracking is not None and (gain := known.tracking.other_gain(joint)) is not None:
        seen += f", and the joint states are {abs(GAINS[gain]):.3g} times the commands"
    whose = "all joints" if len(joints) == len(known.names) else ", ".join(known.names[k] for k in joints)
    problem = (
        f"The {topics} of {whose} are in degrees where radians are expected"
        if factor < 1.0
        else f"The {topics} of {whose} are in radians where degrees are expected"
    )
    return f"{problem}: {seen}. {_remedy(known, training, joint, topics, factor)}"


def _remedy(known: Evidence, training: TrainingData, joint: int, topics: str, factor: float) -> str:
    if training.known and not training.wants_scale(known.scale, joint):
        return (
            f"Set 'joint.<joint>.scale' of the robot config to {known.scale[joint] * factor:.10g}, not "
            f"{known.scale[joint]:.10g}, and commands with it: that fits the checkpoint's training data."
        )
    if factor < 1.0:
        return f"ROS wants radians on topics: change what publishes the {topics}."
    return f"They seem to be converted from degrees to radians twice: look at what publishes the {topics}."
