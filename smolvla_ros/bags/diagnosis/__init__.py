"""What is wrong with a recording, by name, with the figures that show it and what to do about it.

`facts` is filled while a bag streams through the replay; `diagnose` reads it. A fault that explains others hides them:
a camera that stopped also leaves nothing to act on, and degrees for radians also lie outside the training range.
"""

from __future__ import annotations

import math

from smolvla_ros.bags.replay.result import BagFinding, Replay
from smolvla_ros.robot.observation import Freshness

from .cameras import camera_findings
from .clocks import clock_findings
from .evidence import gather
from .joints import contradiction_findings, joint_findings
from .streams import refusal_findings, stream_findings, waiting_findings

__all__ = ["diagnose"]

_RANK = {"error": 0, "warning": 1, "note": 2}
_MOVES = 0.03  # rad: error of standing still, below which the arm hardly moves


def diagnose(replay: Replay, freshness: Freshness) -> tuple[BagFinding, ...]:
    """Everything that is found, the worst first; nothing for a healthy bag.

    Args:
        replay: complete but for these findings; `replay.facts` was closed.
        freshness: what the live node accepts.
    """
    known = gather(replay)
    streams = stream_findings(replay, freshness)
    contradictions = contradiction_findings(replay)
    clocks = clock_findings(replay, freshness, None if contradictions else known.tracking)
    findings = streams + clocks + camera_findings(replay) + (contradictions or joint_findings(known))
    if not clocks:
        findings += refusal_findings(replay)
    explained = bool(streams or clocks or contradictions)
    waiting = waiting_findings(replay)
    findings += [found for found in waiting if found.name != "no_observation" or not explained]
    if not any(found.severity == "error" for found in findings):
        findings += _standing_still(replay)
    return tuple(sorted(findings, key=lambda found: _RANK[found.severity]))


def _standing_still(replay: Replay) -> list[BagFinding]:
    error, hold = replay.errors.robot.mean, replay.hold_errors.robot.mean
    if not (math.isfinite(error) and hold > _MOVES and error >= hold):
        return []
    text = (
        f"The policy is no better than standing still: its mean error is {error:.3f} rad, that of keeping every "
        f"joint where it is {hold:.3f} rad. Is it the checkpoint for this task and robot, and the instruction one "
        "that it was trained on?"
    )
    return [BagFinding("no_better_than_standing_still", "note", text)]
