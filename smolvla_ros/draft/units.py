"""What each joint is counted in by the policy, and the scale and offset from radians or metres to that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from .matching import is_gripper
from .questions import DraftError, Questions

Unit = Literal["rad", "degrees", "0..1", "0..100", "-100..100"]
UNITS: tuple[Unit, ...] = get_args(Unit)
_ENDS: dict[Unit, tuple[float, float]] = {"0..1": (0.0, 1.0), "0..100": (0.0, 100.0), "-100..100": (-100.0, 100.0)}
# Of a range: what measurements and limits may differ by.
_SLACK = 0.1
# LeRobot's -100 to 100 ends there, degrees need not.
_FULL_SCALE = (97.0, 100.5)
# What the limits leave beyond what was seen in training.
_BEYOND = 0.05


@dataclass(frozen=True)
class DraftJoint:
    """One line of the file: value = scale * position + offset; limits in rad or m, NaN where nobody knows."""

    name: str
    feature: str
    unit: Unit
    scale: float
    offset: float
    lower: float
    upper: float
    velocity: float
    limits_source: str
    gripper: bool


@dataclass(frozen=True)
class JointEvidence:
    """What is known of a joint: its names, range in training [policy's units], limits of the URDF [rad or m, s]."""

    name: str
    feature: str
    low: float
    high: float
    lower: float = math.nan
    upper: float = math.nan
    velocity: float = math.nan

    @property
    def has_limits(self) -> bool:
        return self.lower < self.upper


def arm_unit(joints: list[JointEvidence]) -> Unit | None:
    """What the joints that are no grippers are counted in, by how far they went in training; None: not known."""
    ends = [
        max(abs(joint.low), abs(joint.high))
        for joint in joints
        if not is_gripper(joint.name, joint.feature) and math.isfinite(joint.low) and math.isfinite(joint.high)
    ]
    if not ends:
        return None
    largest = max(ends)
    if largest <= 2 * math.pi:
        return "rad"
    if _FULL_SCALE[0] <= largest <= _FULL_SCALE[1]:
        return "-100..100"
    return "degrees" if largest <= 400.0 else None


def draft_joint(joint: JointEvidence, arm: Unit | None, said: Unit | None, questions: Questions) -> DraftJoint:
    """One joint with its unit, scale and limits.

    Args:
        arm: the unit of the other joints.
        said: the person's word, which counts more.

    Raises:
        DraftError: its unit or its limits cannot be known.
    """
    unit = said or _gripper_unit(joint, arm) if is_gripper(joint.name, joint.feature) else said or arm
    if unit is None:
        told = f"trained from {joint.low:.3g} to {joint.high:.3g}" if math.isfinite(joint.low) else "no range is told"
        question = f"what does the policy count '{joint.name}' in ({told})?"
        unit = questions.choose(question, UNITS, f"--unit {joint.name}=UNIT")
    scale, offset = _scale_and_offset(joint, unit)
    lower, upper, source = joint.lower, joint.upper, "robot description"
    if not joint.has_limits:
        lower, upper = sorted(((joint.low - offset) / scale, (joint.high - offset) / scale))
        margin, source = _BEYOND * (upper - lower), "training data and a little more"
        lower, upper = lower - margin, upper + margin
    if not lower < upper:
        raise DraftError(f"'{joint.name}' has position limits neither in a robot description nor in training data: "
                         "give --urdf FILE or --from-graph with robot_state_publisher")  # fmt: skip
    gripper = is_gripper(joint.name, joint.feature)
    return DraftJoint(joint.name, joint.feature, unit, scale, offset, lower, upper, joint.velocity, source, gripper)


def _gripper_unit(joint: JointEvidence, arm: Unit | None) -> Unit | None:
    """Grippers are counted in parts of their way more often than in radians."""
    if not (math.isfinite(joint.low) and math.isfinite(joint.high)):
        return None
    if max(abs(joint.low), abs(joint.high)) > 2 * math.pi:
        return "0..100" if arm in ("degrees", "-100..100") and joint.low > -10.0 and joint.high < 110.0 else arm
    slack = _SLACK * (joint.upper - joint.lower) if joint.has_limits else math.inf
    if not joint.has_limits or (joint.lower - slack <= joint.low and joint.high <= joint.upper + slack):
        return "rad"
    return "0..1" if joint.low >= -_SLACK and joint.high <= 1.0 + _SLACK else None


def _scale_and_offset(joint: JointEvidence, unit: Unit) -> tuple[float, float]:
    if unit == "rad":
        return 1.0, 0.0
    if unit == "degrees":
        return 180.0 / math.pi, 0.0
    if not joint.has_limits:
        raise DraftError(f"'{joint.name}' is counted in {unit} of its way, and its way is not known: give --urdf FILE "
                         f"or --from-graph with robot_state_publisher, or --unit {joint.name}=degrees")  # fmt: skip
    low, high = _ENDS[unit]
    scale = (high - low) / (joint.upper - joint.lower)
    return scale, low - scale * joint.lower
