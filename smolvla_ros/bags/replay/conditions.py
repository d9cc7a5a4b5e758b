"""Conditions on a replay for continuous integration: `mae>0.1`, `p95:gripper>=0.2`, `skipped>0`."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BagError
from .result import Errors, Replay

Value = float | NDArray[np.float64]

_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_PATTERN = re.compile(r"\s*(?P<metric>\w+)\s*(:\s*(?P<joint>[^<>=]+?)\s*)?(?P<operator>>=|<=|>|<)\s*(?P<limit>\S+)\s*")


@dataclass(frozen=True)
class Metric:
    """Something to put a condition on; `joints`: the same of every joint, where there is such a thing."""

    text: str
    value: Callable[[Replay], float]
    joints: Callable[[Replay], NDArray[np.float64]] | None = None


def _error(text: str, errors: Callable[[Replay], Errors | None], unit: str, statistic: str) -> Metric:
    def table(replay: Replay) -> object:
        found = errors(replay)
        return getattr(found, unit) if found else None

    def value(replay: Replay) -> float:
        return float(getattr(table(replay), statistic, math.nan))

    def joints(replay: Replay) -> NDArray[np.float64]:
        return np.asarray(getattr(table(replay), f"joint_{statistic}", np.full(len(replay.joints), np.nan)))

    return Metric(text, value, joints)


METRICS = {
    "mae": _error("mean absolute error [rad or m]", lambda r: r.errors, "robot", "mean"),
    "p95": _error("its 95th percentile", lambda r: r.errors, "robot", "p95"),
    "mae_std": _error("mean absolute error [standard deviations of the training actions]", lambda r: r.errors, "std",
                      "mean"),
    "p95_std": _error("its 95th percentile", lambda r: r.errors, "std", "p95"),
    "hold_ratio": Metric("mae by that of standing still; 1: no better",
                         lambda r: _ratio(r.errors.robot.mean, r.hold_errors.robot.mean),
                         lambda r: _ratios(r.errors.robot.joint_mean, r.hold_errors.robot.joint_mean)),
    "recorded_mae": _error("mean absolute difference to the recorded chunks [rad or m]; with --request recorded",
                           lambda r: r.recorded_errors, "robot", "mean"),
    "recorded_p95": _error("its 95th percentile", lambda r: r.recorded_errors, "robot", "p95"),
    "chunks": Metric("chunks inferred", lambda r: float(len(r.chunks))),
    "skipped": Metric("instants without an observation or with a failed inference, after the first chunk",
                      lambda r: float(skipped_instants(r))),
    "refused": Metric("messages refused or unreadable", lambda r: float(sum(s.refused for s in r.streams))),
    "errors": Metric("findings that are errors", lambda r: float(_findings(r, "error"))),
    "warnings": Metric("findings that are warnings", lambda r: float(_findings(r, "warning"))),
    "seam_p95": Metric("95th percentile of the jumps between chunks [rad or m]", lambda r: r.seams.jump.p95),
    "seam_max": Metric("the largest of them", lambda r: r.seams.jump.max),
    "overlap": Metric("median disagreement of overlapping chunks [rad or m]", lambda r: r.seams.overlap.p50),
    "idle": Metric("part of the time without a row to execute, 0 to 1", lambda r: r.seams.idle_fraction),
    "age_p95": Metric("95th percentile of the age of what is executed [s]", lambda r: r.seams.action_age_s.p95),
}  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """A metric, of a joint or of all, against a limit."""

    text: str
    metric: str
    joint: str
    operator: str
    limit: float

    def broken(self, replay: Replay) -> str:
        """Why the replay fails, in words; '' if it does not. What could not be measured fails."""
        metric = METRICS[self.metric]
        value = metric.value(replay)
        if self.joint and metric.joints is not None:
            value = float(metric.joints(replay)[replay.joints.index(self.joint)])
        name = f"{self.metric} of {self.joint}" if self.joint else self.metric
        if math.isnan(value):
            return f"{name} could not be measured, and '{self.text}' must not hold"
        return f"{name} is {value:.4g}: {self.text}" if _OPERATORS[self.operator](value, self.limit) else ""


def parse_condition(text: str, joints: Sequence[str]) -> Condition:
    """`METRIC[:JOINT] > NUMBER`, also with >=, < and <=.

    Raises:
        BagError: it is no condition, or names what there is not.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise BagError(f"--fail-if '{text}' is no condition; expected METRIC>NUMBER or METRIC:JOINT>NUMBER, also with "
                       f">=, < and <=, such as 'mae>0.1'")  # fmt: skip
    name, joint = match["metric"], match["joint"] or ""
    if name not in METRICS:
        raise BagError(f"--fail-if '{text}': there is no metric '{name}'{_hint(name, METRICS)}; "
                       f"expected one of {', '.join(METRICS)}")  # fmt: skip
    if joint and METRICS[name].joints is None:
        by_joint = ", ".join(name for name, metric in METRICS.items() if metric.joints)
        raise BagError(f"--fail-if '{text}': {name} is not measured by joint; {by_joint} are")
    if joint and joint not in joints:
        raise BagError(f"--fail-if '{text}': there is no joint '{joint}'{_hint(joint, joints)}; "
                       f"the robot has {', '.join(joints)}")  # fmt: skip
    try:
        limit = float(match["limit"])
    except ValueError:
        limit = math.nan
    if math.isnan(limit):
        raise BagError(f"--fail-if '{text}': '{match['limit']}' is no number")
    return Condition(text, name, joint, match["operator"], limit)


def skipped_instants(replay: Replay) -> int:
    """How often the live node would have waited for data, or failed, after its first chunk (ever, if there is none)."""
    first_ns = replay.chunks[0].requested_ns if replay.chunks else 0
    return sum(s.instants for s in replay.skipped if s.kind != "instruction" and s.time_ns >= first_ns)


def _findings(replay: Replay, severity: str) -> int:
    return sum(1 for finding in replay.findings if finding.severity == severity)


def _ratio(value: float, yardstick: float) -> float:
    return value / yardstick if yardstick > 0.0 else math.nan


def _ratios(values: NDArray[np.float64], yardsticks: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([_ratio(float(v), float(y)) for v, y in zip(values, yardsticks, strict=True)])


def _hint(name: str, known: Sequence[str] | dict[str, Metric]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
