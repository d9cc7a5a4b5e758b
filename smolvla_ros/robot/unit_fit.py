"""Whether the units of a checkpoint are those that the robot's description says: training data against position limits.

Degrees taken for radians are too large by 57, and nothing else tells: names, sizes and cameras all fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .config import Joint, RobotConfig

# Of the way between a joint's limits: what training data may lie outside, and what is no matter of limits any more.
_TOLERATED, _WRONG = 0.1, 0.5
# No joint moves by more than this part of its way: the values are too small.
_TOO_SMALL = 0.05
# The half width of an even spread is 1.7 of its std, that of two rests 1.
_STD_COVERED = 1.5
_PAIRS = (("q01", "q99"), ("min", "max"))


@dataclass(frozen=True)
class TrainingRange:
    """What a feature's values were in training, [joints] in the checkpoint's units, and by which statistics."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    source: str

    @classmethod
    def of(cls, statistics: Mapping[str, ArrayLike]) -> TrainingRange | None:
        """Of a feature's statistics, outliers left out where the quantiles are known; None if there is no range."""
        known = {name: np.asarray(values, dtype=np.float64) for name, values in statistics.items()}
        for low, high in _PAIRS:
            if low in known and high in known:
                return cls(known[low], known[high], f"{low} to {high}")
        if "mean" in known and "std" in known:
            spread = _STD_COVERED * known["std"]
            return cls(known["mean"] - spread, known["mean"] + spread, "mean and 1.5 std")
        return None


@dataclass(frozen=True)
class UnitVerdict:
    """Sentences about joints whose units are wrong, and about those that would only be clamped."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def unit_verdict(
    robot: RobotConfig, training: TrainingRange, lower: ArrayLike, upper: ArrayLike, normalised: bool = False
) -> UnitVerdict:
    """Holds the range of the training data against the robot's position limits.

    Args:
        robot: the description, whose scale and offset are in doubt.
        training: range of the state or the action.
        lower, upper: position limits [joints] in rad or m, NaN where unknown.
        normalised: the values look like LeRobot's -100 to 100.
    """
    ends = np.sort(np.stack([robot.to_ros_units(training.low), robot.to_ros_units(training.high)]), axis=0)
    lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    way = upper - lower
    problems, warnings, shares = [], [], []
    for place, joint in enumerate(robot.joints):
        low, high = ends[:, place]
        if not (math.isfinite(way[place]) and math.isfinite(low) and math.isfinite(high) and way[place] > 0.0):
            continue
        shares.append((high - low) / way[place])
        outside = max(lower[place] - low, high - upper[place]) / way[place]
        text = f"{joint.name} would need {low:.3g} to {high:.3g} rad or m, limits {_limits(lower[place], upper[place])}"
        if outside > _WRONG:
            problems.append(text + _remedy(joint, low, high, lower[place], upper[place], normalised))
        elif outside > _TOLERATED:
            warnings.append(f"{text}: what lies outside is clamped")
    if shares and max(shares) < _TOO_SMALL:
        problems.append(
            f"no joint would move by more than {100 * max(shares):.2g} % of the way between its limits: radians, with "
            "a scale for degrees? With scale 1 (and offset 0) the checkpoint's values are rad and m"
        )
    return UnitVerdict(tuple(problems), tuple(warnings))


def _limits(lower: float, upper: float) -> str:
    return f"+-{upper:.3g}" if math.isclose(-lower, upper, rel_tol=1e-3) else f"{lower:.3g} to {upper:.3g}"


def _remedy(joint: Joint, low: float, high: float, lower: float, upper: float, normalised: bool) -> str:
    """The unit with which the range would lie inside the limits, and the scale that says so."""
    hundred = ("LeRobot's -100 to 100", 100.0 / max(abs(lower), abs(upper)) / abs(joint.scale))
    degrees, millimetres = ("degrees", 180.0 / math.pi), ("millimetres", 1000.0)
    candidates = (hundred, degrees, millimetres) if normalised else (degrees, hundred, millimetres)
    slack = _TOLERATED * (upper - lower)
    for unit, factor in candidates:
        if lower - slack <= low / factor and high / factor <= upper + slack:
            return f": {unit}? scale {joint.scale * factor:.3g}"
    return f": 'joint.{joint.name}.scale' is {joint.scale:.4g}, 'offset' {joint.offset:.4g}: those of another robot?"
