"""The episode node: what breaks a run off, and what counts as rest."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import parameter
from .node import NodeParameterSet
from .robot import RobotParameters


@dataclass(frozen=True)
class EpisodeParameters(RobotParameters, NodeParameterSet):
    """Settings of the episode node."""

    answer_timeout_s: float = parameter(5.0, "How long the policy may take to accept an instruction.", "s", 0.1, 60.0)
    hold_timeout_s: float = parameter(10.0, "A run ends when the controller holds for longer, or if nothing moves for "
        "so long at its beginning.", "s", 0.5, 3600.0)
    rest_tolerance: float = parameter(0.02, "How far a joint may move and still be at rest.", "rad or m", 1e-4, 1.0)
