"""What a reader in a hurry takes away of a replay: the first line of its report."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from .result import Replay

_CLOSE, _FOLLOWS = 0.35, 0.8  # error / error of standing still
_HARDLY_MOVES = 0.02  # rad


def verdict(replay: Replay) -> tuple[str, Literal["good", "fair", "bad"]]:
    """A sentence, and what it is."""
    errors = [finding for finding in replay.findings if finding.severity == "error"]
    if not replay.chunks:
        return "The policy gave no answer: nothing could be replayed.", "bad"
    if errors:
        what = "fault" if len(errors) == 1 else "faults"
        return f"The recording has {len(errors)} {what}: mend that first, the figures below suffer from it.", "bad"
    error, hold = replay.errors.robot.mean, replay.hold_errors.robot.mean
    if not math.isfinite(error):
        return "The bag does not tell what the robot did after these chunks: nothing could be compared.", "fair"
    if hold < _HARDLY_MOVES:
        return f"The arm hardly moves in this bag, so it says little: error {error:.3f} rad.", "fair"
    share = error / hold
    if share < _CLOSE:
        return f"The policy does what the robot did: its error is {share:.0%} of standing still's.", "good"
    if share < _FOLLOWS:
        return f"The policy does roughly what the robot did: its error is {share:.0%} of standing still's.", "fair"
    return f"The policy does something else than the robot did: its error is {share:.0%} of standing still's.", "bad"


def hardest_joint(replay: Replay) -> str:
    """The joint with the largest error, in standard deviations where they are known; '' if none was compared."""
    in_std = replay.errors.std.joint_mean
    values = in_std if np.isfinite(in_std).any() else replay.errors.robot.joint_mean
    return replay.joints[int(np.nanargmax(values))] if np.isfinite(values).any() else ""
