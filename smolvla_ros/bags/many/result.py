"""What is known of many replays: small frozen values that go from one process to another; no picture, no single row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..replay.result import Array, BagFinding, Replay
from ..replay.verdict import hardest_joint, verdict
from .blocks import Pairs
from .verdict import Comparison


@dataclass(frozen=True)
class ReplayedBag:
    """A bag and the main figures of its replay.

    Attributes:
        name: unique among the bags; `bag`: its path.
        sentence, mood: the first line of its own report, 'good', 'fair' or 'bad'.
        errors_mean, errors_p95, hold_mean: over all joints [rad or m]; `joint_*`: [joints].
        broken: conditions of --fail-if that hold, in words.
        pairs: beside the other checkpoint; None without one.
    """

    name: str
    bag: str
    checkpoint: str
    robot_config: str
    joints: tuple[str, ...]
    start_ns: int
    end_ns: int
    request: str
    latency: str
    reference: str
    seed: int
    chunks: int
    instructions: tuple[str, ...]
    sentence: str
    mood: Literal["good", "fair", "bad"]
    hardest: str
    errors_mean: float
    errors_p95: float
    hold_mean: float
    joint_mean: Array
    joint_p95: Array
    joint_std: Array
    joint_hold: Array
    findings: tuple[BagFinding, ...]
    defects: tuple[str, ...]
    broken: tuple[str, ...]
    pairs: Pairs | None

    @property
    def duration_s(self) -> float:
        """Of the part that was replayed."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True)
class FailedBag:
    """A bag that could not be replayed, and why."""

    name: str
    bag: str
    reason: str


@dataclass(frozen=True)
class ManyReplays:
    """All of it; `stopped`: names of bags that were not done when a signal came. `against`: '' without a comparison."""

    bags: tuple[ReplayedBag, ...]
    failed: tuple[FailedBag, ...]
    stopped: tuple[str, ...]
    against: str
    comparison: Comparison | None


def figures_of(name: str, found: Replay, broken: Sequence[str], pairs: Pairs | None) -> ReplayedBag:
    """The main figures of a replay."""
    sentence, mood = verdict(found)
    instructions = dict.fromkeys(chunk.instruction for chunk in found.chunks)
    return ReplayedBag(
        name=name, bag=found.bag, checkpoint=found.checkpoint, robot_config=found.robot_config, joints=found.joints,
        start_ns=found.start_ns, end_ns=found.end_ns, request=found.request, latency=found.latency,
        reference=found.reference, seed=found.seed, chunks=len(found.chunks), instructions=tuple(instructions),
        sentence=sentence, mood=mood, hardest=hardest_joint(found), errors_mean=found.errors.robot.mean,
        errors_p95=found.errors.robot.p95, hold_mean=found.hold_errors.robot.mean,
        joint_mean=found.errors.robot.joint_mean, joint_p95=found.errors.robot.joint_p95,
        joint_std=found.errors.std.joint_mean, joint_hold=found.hold_errors.robot.joint_mean,
        findings=found.findings, defects=found.defects, broken=tuple(broken), pairs=pairs,
    )  # fmt: skip


def of_one_robot(bags: Sequence[ReplayedBag]) -> tuple[tuple[ReplayedBag, ...], tuple[FailedBag, ...]]:
    """The bags with the joints of the first one; others have no place in the same tables."""
    same = tuple(bag for bag in bags if bag.joints == bags[0].joints)
    others = (bag for bag in bags if bag.joints != bags[0].joints)
    return same, tuple(
        FailedBag(bag.name, bag.bag, f"its joints are {', '.join(bag.joints)}, those of {bags[0].name} "
                  f"{', '.join(bags[0].joints)}: its own report is there, but it is not compared")
        for bag in others
    )  # fmt: skip


def without_pairs(bag: ReplayedBag) -> ReplayedBag:
    """The same without what only the comparison needs."""
    return replace(bag, pairs=None)


def mean_error(bags: Sequence[ReplayedBag]) -> float:
    """Of the bags in which something was compared, each of which weighs the same; NaN if there is none."""
    errors = np.array([bag.errors_mean for bag in bags])
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else float("nan")
