"""Everything that the controller is told once: a frozen value built from checked parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .interpolation import INTERPOLATIONS
from .limits import JointLimits
from .merge import MERGE_RULES
from .plan import Room

ALIGNMENTS = ("executed", "stamp")


@dataclass(frozen=True)
class ControllerSettings:
    """Settings of the controller; times in s.

    Attributes:
        limits: limits of all joints, whose order is that of every vector.
        period_s: time between two control steps.
        merge_rule: one of `merge.MERGE_RULES`.
        ensemble_decay: m of temporal ensembling.
        ease_in_rows: steps of the policy over which a seam is eased out at least; 0 leaves the seam to the limits.
        ease_in_exclude_joints: joints that follow their rows at once, slowed down by the limits only: grippers.
        interpolation: 'linear' or 'cubic'.
        alignment: 'executed' does not count time spent holding since the observation, 'stamp' does.
        max_action_age_s: no action is executed whose observation is older.
        future_tolerance_s: how far a stamp may lie in the future.
        state_timeout_s: joint states older than this are stale.
        tracking_timeout_s, clamping_timeout_s: how long a tracking error or a clamped position is tolerated.
        clamping_excess: how far outside the limits a position must be to count as lasting clamping [rad or m].
        clock_jump_s: a ROS clock that gains more than this against the steady clock has jumped.
        park: [joints] where `park` goes to, NaN for a joint that stays where it is; None: nowhere.
        gentle: the part of the limits of speed and acceleration for going to the park pose or to a person's commands.
        dry_run: the arm does not follow, so nothing is concluded from that.
    """

    limits: JointLimits
    period_s: float
    merge_rule: str = "latest_only"
    ensemble_decay: float = 0.01
    ease_in_rows: int = 5
    ease_in_exclude_joints: tuple[str, ...] = ()
    interpolation: str = "cubic"
    alignment: str = "executed"
    max_action_age_s: float = 5.0
    future_tolerance_s: float = 0.1
    state_timeout_s: float = 0.25
    tracking_timeout_s: float = 1.0
    clamping_timeout_s: float = 1.0
    clamping_excess: float = 0.1
    clock_jump_s: float = 1.0
    park: NDArray[np.float64] | None = None
    gentle: float = 0.3
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("merge_rule", self.merge_rule, MERGE_RULES),
            ("interpolation", self.interpolation, INTERPOLATIONS),
            ("alignment", self.alignment, ALIGNMENTS),
        ):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
        if not self.period_s > 0.0:
            raise ValueError(f"period is {self.period_s} s, expected more than 0")
        unknown = sorted(set(self.ease_in_exclude_joints) - set(self.limits.joints))
        if unknown:
            raise ValueError(
                f"ease_in_exclude_joints names {', '.join(unknown)}; the robot has {', '.join(self.limits.joints)}"
            )

    @property
    def room(self) -> Room:
        """What plans may use of the limits."""
        excluded = np.isin(self.limits.joints, self.ease_in_exclude_joints)
        speed, acceleration = (
            np.where(excluded, np.inf, limit) for limit in (self.limits.velocity, self.limits.acceleration)
        )
        limits = self.limits
        return Room(speed, acceleration, limits.lower, limits.upper, np.broadcast_to(limits.path, speed.shape))
