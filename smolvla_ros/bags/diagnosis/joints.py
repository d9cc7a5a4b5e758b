"""Joints that are swapped, in wrong units or of the wrong sign: commands against joint states, both against training.

Commands and joint states that contradict each other show that something is wrong, but not on which side; the training
data of the checkpoint then tell which side fits. Where both agree, only the training data can speak, and they are heard
only where they are far from what was recorded and the arm moved: an arm may rest anywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.bags.replay.result import BagFinding, Replay

from ..replay.facts import JOINT_STATES
from .evidence import Evidence
from .tracking import GAINS, Tracking
from .units import unit_findings

_FOLLOWS_NOT = 0.6, 0.35  # part of the motion explained, of the best joint and on average: the arm did something else
# An arm is commanded through so much [rad] while nothing at all changes for so long.
_FROZEN_RANGE, _FROZEN_NS = 0.3, 1_000_000_000
_STUCK_RANGE = 0.5  # rad that a joint is commanded through while it does not move


def joint_findings(known: Evidence) -> list[BagFinding]:
    """The first of these that is found hides the others, which would only be its consequences."""
    return (
        _frozen(known)
        or unit_findings(known)
        or _swapped(known)
        or _signs(known) + _not_following(known)
        or _outside(known)
    )


# Two sources.


def contradiction_findings(replay: Replay) -> list[BagFinding]:
    """Two nodes that publish the same joints: nothing else that joint states say can be believed then."""
    found = replay.facts.contradictions
    if not found.spans:
        return []
    topics, (begin_ns, _) = [stream.topic for stream in replay.facts.named(JOINT_STATES)], found.spans[0]
    since_s = max(0.0, (begin_ns - replay.start_ns) / 1e9)
    lasting_s = sum(end_ns - begin_ns for begin_ns, end_ns in found.spans) / 1e9
    zeros = f" {found.zeros} of all {found.states} states are zeros." if found.zeros > found.states / 10 else ""
    text = (
        f"Joint states contradict each other: from {since_s:.1f} s on, for {lasting_s:.1f} s in all, joints leap away "
        f"and back {found.returns} times, {replay.joints[found.joint]} by {found.largest:.2f} rad "
        f"({np.degrees(found.largest):.0f} deg) from one message to the next.{zeros} Two nodes publish the same "
        "joints, such as a driver and a joint_state_publisher; the controller would hold. Let one of them publish "
        f"(`ros2 topic info -v {topics[0]}` names them) and record again."
    )
    return [BagFinding("contradicting_joint_states", "error", text)]


# Order of the joints.


def _swapped(known: Evidence) -> list[BagFinding]:
    if known.tracking is not None and (found := known.tracking.permutation()):
        return [_swap_by_commands(known, known.tracking, found)]
    pair = known.state.swapped(known.positions)
    if pair is None:
        return []
    one, other = pair
    median = np.median(known.positions, axis=0)
    return [
        BagFinding(
            "swapped_joints",
            "error",
            f"{known.names[one]} and {known.names[other]} fit the training data of each other and not their own: "
            f"medians {median[one]:.2f} and {median[other]:.2f} rad, trained around {known.state.centre(one):.2f} and "
            f"{known.state.centre(other):.2f} rad. Check the order of 'joints' and the names in "
            "'joint.<joint>.feature' of the robot config.",
        )
    ]


def _swap_by_commands(known: Evidence, tracking: Tracking, found: dict[int, int]) -> BagFinding:
    sentences = []
    for commanded, measured in found.items():
        name, other = known.names[measured], known.names[commanded]
        if tracking.command_moves[commanded]:
            own = tracking.explained(measured, measured)
            own_text = f"{own:.2f}" if np.isfinite(own) else "nothing, as they do not move"
            sentences.append(
                f"{name} moves like the commands of {other} (part of the motion explained "
                f"{tracking.explained(commanded, measured):.2f}; by its own {own_text})"
            )
        else:
            sentences.append(
                f"{name} stands where {other} is commanded (within {tracking.apart[commanded, measured, 0]:.2f} rad)"
            )
    order = np.arange(len(known.names))
    for commanded, measured in found.items():
        order[commanded] = measured
    side = _likelier_side(known, order)
    where = {
        "joint states": "The joint states carry the wrong names: the training data fit once they are exchanged. "
        "Look at the names that the driver publishes.",
        "commands": "The commands go to the wrong joints: the joint states fit the training data as they are. Look at "
        "'command_joints' and at the order that the robot's controller expects.",
        "": "Look at the names in the joint states and at the order of the joints in the commands.",
    }[side]
    return BagFinding("swapped_joints", "error", f"{'; '.join(sentences)}. {where}")


def _likelier_side(known: Evidence, order: NDArray[np.intp]) -> str:
    """Which of both fits the training data better once its joints are exchanged, '' if that does not tell."""
    states = known.state.strangeness(known.positions), known.state.strangeness(known.positions[:, order])
    inverse = np.argsort(order)
    commands = known.action.strangeness(known.commands), known.action.strangeness(known.commands[:, inverse])
    if not all(np.isfinite([*states, *commands])):
        return ""
    gain_states, gain_commands = states[0] - states[1], commands[0] - commands[1]
    if max(gain_states, gain_commands) < 1.0 or abs(gain_states - gain_commands) < 1.0:
        return ""
    return "joint states" if gain_states > gain_commands else "commands"


# Sign.


def _signs(known: Evidence) -> list[BagFinding]:
    tracking, findings = known.tracking, []
    for joint, name in enumerate(known.names):
        gain = tracking.other_gain(joint) if tracking else None
        if tracking is not None and gain is not None and GAINS[gain] == -1.0:
            mirrored = tracking.explained(joint, joint, gain)
            sides = [
                topic
                for topic, training, rows in (
                    ("joint states", known.state, known.positions),
                    ("commands", known.action, known.commands),
                )
                if training.mirrored(rows, joint)
            ]
            side = f" The training data fit if the {sides[0]} are turned round." if len(sides) == 1 else ""
            findings.append(
                BagFinding(
                    "wrong_sign",
                    "error",
                    f"{name} moves against its commands: turned round they explain {mirrored:.2f} of its motion, as "
                    f"they are {tracking.explained(joint, joint):.2f}.{side} Look at the driver's direction of this "
                    "joint.",
                )
            )
        elif known.state.mirrored(known.positions, joint):
            median = float(np.median(known.positions[:, joint]))
            findings.append(
                BagFinding(
                    "wrong_sign",
                    "warning",
                    f"{name} fits the training data only if it is turned round: median {median:.2f} rad, trained "
                    f"around {known.state.centre(joint):.2f} rad. Check the sign of 'joint.{name}.scale' in the "
                    "robot config.",
                )
            )
    return findings


# Whatever else is odd.


def _frozen(known: Evidence) -> list[BagFinding]:
    """Joint states that repeat each other to the last bit, all joints of them, while commands move the arm."""
    if not len(known.commands) or len(known.positions) < 2:
        return []
    same = np.concatenate([[False], (np.diff(known.positions, axis=0) == 0.0).all(axis=1), [False]])
    edges = np.flatnonzero(same[1:] != same[:-1]).reshape(-1, 2)  # first and last sample of every stretch
    for begin, end in edges:
        start_ns, end_ns = known.position_times_ns[[begin, min(end, len(known.positions) - 1)]]
        told = known.commands[(known.command_times_ns >= start_ns) & (known.command_times_ns <= end_ns)]
        motion = float(np.nanmax(np.ptp(told, axis=0))) if len(told) else 0.0
        if motion > _FROZEN_RANGE and end_ns - start_ns > _FROZEN_NS:
            text = (
                f"The joint states are frozen: from {(start_ns - known.start_ns) / 1e9:.1f} s on they stay the same "
                f"for {(end_ns - start_ns) / 1e9:.1f} s, to the last bit, while commands move the arm by "
                f"{motion:.2f} rad. The driver repeats itself: look at its connection to the servos."
            )
            return [BagFinding("frozen_joint_states", "error", text)]
    return []


def _not_following(known: Evidence) -> list[BagFinding]:
    tracking = known.tracking
    if tracking is None or not tracking.command_moves.any():
        return []
    moving = np.flatnonzero(tracking.command_moves).tolist()
    explained = np.array([tracking.explained(joint, joint) for joint in moving])
    if len(moving) > 1 and explained.max() < _FOLLOWS_NOT[0] and explained.mean() < _FOLLOWS_NOT[1]:
        text = (
            f"The arm did something else than it was commanded: its commands explain at most {explained.max():.2f} "
            "of any joint's motion. Was this a dry run, or was the arm moved by hand?"
        )
        return [BagFinding("commands_not_followed", "warning", text)]
    stuck = (tracking.command_range > _STUCK_RANGE) & (tracking.position_range < 0.02 * tracking.command_range)
    return [
        BagFinding(
            "joint_does_not_move",
            "error",
            f"{known.names[joint]} is commanded through {tracking.command_range[joint]:.2f} rad and moves by "
            f"{tracking.position_range[joint]:.3f}. Is its motor on, and its encoder read?",
        )
        for joint in np.flatnonzero(stuck)
    ]


def _outside(known: Evidence) -> list[BagFinding]:
    findings = []
    for joint, name in enumerate(known.names):
        beyond = known.state.far_outside(known.positions, joint)
        if beyond is not None:
            low, high = known.state.in_ros_units(joint)
            findings.append(
                BagFinding(
                    "outside_training_range",
                    "warning",
                    f"{name} is at {beyond:.2f} rad for most of the time, the policy was trained with {low:.2f} to "
                    f"{high:.2f} rad: it sees what it never saw. Check scale and offset of the joint, or its zero "
                    "position.",
                )
            )
    return findings
