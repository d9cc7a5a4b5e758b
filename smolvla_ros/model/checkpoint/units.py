"""A guess of the units of a checkpoint's state or action, from the statistics of its training data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

FULL_SCALE = "LeRobot's -100 to 100 (grippers 0 to 100)"

# LeRobot's arms report joints that way where they are calibrated so. Training data come close to the ends, not beyond.
_ENDS = (97.0, 100.5)


@dataclass(frozen=True)
class Guess:
    """Units and the reason for believing so, both for people to read."""

    units: str
    reason: str


def guess_units(statistics: Mapping[str, Tensor]) -> Guess:
    """What the values probably are.

    Args:
        statistics: what is known of mean, std, min and max, each [D].
    """
    if {"min", "max"} <= statistics.keys():
        low, high = statistics["min"], statistics["max"]
        seen = f"values from {float(low.min()):.3g} to {float(high.max()):.3g}"
    elif {"mean", "std"} <= statistics.keys():
        low, high = (statistics["mean"] + sign * 2 * statistics["std"] for sign in (-1, 1))
        seen = f"mean plus and minus two std from {float(low.min()):.3g} to {float(high.max()):.3g}"
    else:
        return Guess("unknown", "no statistics of its range")
    largest = float(torch.maximum(low.abs(), high.abs()).max())
    if not math.isfinite(largest):
        return Guess("unknown", "its statistics are not finite")
    if "std" in statistics:
        seen += f", std up to {float(statistics['std'].max()):.2g}"
    if largest <= 2 * math.pi:
        return Guess("radians (or metres)", f"{seen}: nothing beyond a full turn in radians")
    if "max" in statistics and _ENDS[0] <= largest <= _ENDS[1]:
        return Guess(FULL_SCALE, f"{seen}: it ends at 100, where degrees have no end")
    if largest <= 400.0:
        return Guess("degrees (grippers often 0 to 100)", f"{seen}: too large for radians")
    return Guess("unknown", f"{seen}: too large for degrees; encoder ticks or millimetres?")
