"""What is known of the joints: how they moved, what they were told, and what the policy was trained with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.bags.replay.result import Replay

from ..replay.facts import Array
from .tracking import Tracking, track
from .training import TrainingData


@dataclass(frozen=True)
class Evidence:
    """Positions and commands [samples, joints] in rad or m as recorded; how they fit each other and the training data.

    `tracking` is None without commands. `scale`: [joints] of the robot config. Times are log times.
    """

    names: tuple[str, ...]
    start_ns: int
    positions: Array
    position_times_ns: NDArray[np.int64]
    commands: Array
    command_times_ns: NDArray[np.int64]
    tracking: Tracking | None
    state: TrainingData
    action: TrainingData
    scale: Array


def gather(replay: Replay) -> Evidence:
    """All of it."""
    joints = len(replay.joints)
    facts, robot = replay.facts, replay.robot
    return Evidence(
        names=replay.joints,
        start_ns=replay.start_ns,
        positions=facts.positions.rows(joints),
        position_times_ns=facts.positions.times_ns,
        commands=facts.commands.rows(joints),
        command_times_ns=facts.commands.times_ns,
        tracking=track(facts),
        state=TrainingData.of(replay.statistics.get("observation.state", {}), robot),
        action=TrainingData.of(replay.statistics.get("action", {}), robot),
        scale=np.array([joint.scale for joint in robot.joints]),
    )
