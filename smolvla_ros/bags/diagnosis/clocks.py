"""Header stamps against the recorder's clock: one machine, or one stream, whose clock is another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.bags.replay.result import BagFinding, Replay
from smolvla_ros.robot.observation import Freshness

from ..replay.facts import COMMANDS, JOINT_STATES, Activity, Facts
from .tracking import Tracking

_ALIKE_S = 0.2  # lags of streams of the same clock differ by less
_JUMP_S = 0.25
_OTHER_EPOCH_S = 86_400.0
_STANDS = 0.8  # seconds that the lag grows per second if stamps stand still
_LEADS_S = -0.1  # joint states that precede their commands by more
_VIEW_LAGS_S = (-1.5, 1.5)
_VIEW_FITS, _VIEW_FITS_WORSE = 0.45, 0.25  # correlation of the view's change with the arm's speed
_VIEW_APART_S = 0.15
_SHARP, _SHARP_S = 0.12, 0.2  # the fit falls by so much so near to the best one, or the best one means little
_MIN_STARTS = 3  # of the arm: one motion alone fits at many times


@dataclass(frozen=True)
class _Lag:
    """Log time - stamp of a stream: median, and its change from the first to the last quarter, in seconds."""

    stream: str
    topic: str
    median_s: float
    change_s: float
    duration_s: float
    limit_s: float


def clock_findings(replay: Replay, freshness: Freshness, tracking: Tracking | None) -> list[BagFinding]:
    """What the stamps say, and whether joint states precede their commands."""
    facts = replay.facts
    lags = [lag for activity in facts.streams.values() if (lag := _lag(activity, freshness))]
    findings = _zero(facts, freshness)
    moving = [lag for lag in lags if abs(lag.change_s) > _JUMP_S]
    findings += [_jump(lag) for lag in moving]
    steady = [lag for lag in lags if lag not in moving]
    future_s = freshness.future_tolerance_ns / 1e9
    shifted = [lag for lag in steady if lag.median_s < -future_s or lag.median_s > lag.limit_s]
    if shifted and len(steady) > 1 and _alike(steady):
        findings.append(_machine(steady))
        return findings
    findings += [_streams(group, steady) for group in _groups(shifted)]
    if any(lag.stream == JOINT_STATES for lag in shifted):
        return findings  # nothing can be compared with them
    if tracking is not None and tracking.lag_s < _LEADS_S:
        text = (
            f"The joint states move {-tracking.lag_s:.2f} s before the commands that they follow: one of both was "
            "recorded late, or on a machine with another clock."
        )
        return [*findings, BagFinding("shifted_clock", "error", text)]
    views = [_view(facts, lag, steady) for lag in steady if lag not in shifted]
    return findings + [finding for finding in views if finding]


def _lag(activity: Activity, freshness: Freshness) -> _Lag | None:
    if len(activity.lag_s) < 4:
        return None
    lags = activity.lag_s.rows(1)[:, 0]
    quarter = max(1, len(lags) // 4)
    limit_ns = freshness.max_joint_state_age_ns if activity.name == JOINT_STATES else freshness.max_image_age_ns
    times = activity.lag_s.times_ns
    return _Lag(
        activity.name,
        activity.topic,
        float(np.median(lags)),
        float(np.median(lags[-quarter:]) - np.median(lags[:quarter])),
        float(times[-1] - times[0]) / 1e9 * (1.0 - quarter / len(lags)),
        limit_ns / 1e9,
    )


def _alike(lags: list[_Lag]) -> bool:
    medians = [lag.median_s for lag in lags]
    return max(medians) - min(medians) < _ALIKE_S


def _zero(facts: Facts, freshness: Freshness) -> list[BagFinding]:
    if freshness.accept_zero_stamps:
        return []
    counts = ", ".join(
        f"{activity.zero_stamps} of {activity.name} ({activity.topic})"
        for activity in facts.streams.values()
        if activity.zero_stamps and activity.name != COMMANDS  # a command stamped 0 means 'now'
    )
    if not counts:
        return []
    text = (
        f"Messages with a stamp of zero are refused: {counts}. Let the driver stamp them, or set the policy node's "
        "'accept_zero_stamps' to take the time of reception."
    )
    return [BagFinding("zero_stamps", "error", text)]


def _jump(lag: _Lag) -> BagFinding:
    if lag.change_s > _STANDS * lag.duration_s:
        text = (
            f"The stamps of {lag.stream} ({lag.topic}) stand still while messages go on: they fall behind by "
            f"{lag.change_s:.1f} s. The driver repeats an old message; the policy node does not act on it."
        )
        return BagFinding("stale_stamps", "error", text)
    text = (
        f"The clock of {lag.stream} ({lag.topic}) changes: its stamps move by {-lag.change_s:+.2f} s against the "
        "recorder's clock within the bag. Was a clock set, or did messages queue up on their way?"
    )
    return BagFinding("shifted_clock", "error", text)


def _machine(lags: list[_Lag]) -> BagFinding:
    median_s = float(np.median([lag.median_s for lag in lags]))
    if abs(median_s) > _OTHER_EPOCH_S:
        text = (
            f"All header stamps are in another time than the log: they differ by {_duration(abs(median_s))}. They "
            "may be simulation time, or the robot's clock was never set. Replay this bag with --clock-offset auto."
        )
    else:
        side = "behind" if median_s > 0 else "ahead of"
        text = (
            f"The robot's clock is {_duration(abs(median_s))} {side} the recorder's: the stamps of all {len(lags)} "
            "streams say so, and agree among each other. Synchronise both machines (chrony); this bag can be "
            "replayed with --clock-offset auto."
        )
    return BagFinding("shifted_clock", "error", text)


def _groups(lags: list[_Lag]) -> list[list[_Lag]]:
    """Streams of the same clock together."""
    groups: list[list[_Lag]] = []
    for lag in sorted(lags, key=lambda lag: lag.median_s):
        if groups and _alike([groups[-1][0], lag]):
            groups[-1].append(lag)
        else:
            groups.append([lag])
    return groups


def _streams(group: list[_Lag], lags: list[_Lag]) -> BagFinding:
    median_s = float(np.median([lag.median_s for lag in group]))
    side = "behind" if median_s > 0 else "ahead of"
    rest = [f"{other.stream} {other.median_s:+.3f} s" for other in lags if other not in group]
    compared = f" (log time - stamp of the others: {', '.join(rest)})" if rest else ""
    names = " and ".join(sorted(f"{lag.stream} ({lag.topic})" for lag in group))
    text = (
        f"The stamps of {names} are {_duration(abs(median_s))} {side} the log{compared}. Their clock is shifted: "
        "synchronise the machine of the driver (chrony). The policy node would refuse these messages."
    )
    return BagFinding("shifted_clock", "error", text)


def _view(facts: Facts, lag: _Lag, lags: list[_Lag]) -> BagFinding | None:
    """A camera whose pictures show the arm's motion at another time than their stamps say."""
    camera = facts.cameras.get(lag.stream.removeprefix("camera "))
    joints = next((other for other in lags if other.stream == JOINT_STATES), None)
    if camera is None or joints is None or len(camera.change) < 60 or len(facts.positions) < 60:
        return None
    stamped_s = lag.median_s - joints.median_s
    fits = _view_fits(camera.change.times_ns, camera.change.rows(1)[:, 0], facts)
    best_s = max(fits, key=lambda shift: fits[shift])
    stamped = fits[min(fits, key=lambda shift: abs(shift - stamped_s))]
    told = fits[best_s] >= _VIEW_FITS and fits[best_s] - stamped >= _VIEW_FITS_WORSE and _is_sharp(fits, best_s)
    if not told or abs(best_s - stamped_s) < _VIEW_APART_S or _starts(facts) < _MIN_STARTS:
        return None
    text = (
        f"The stamps of {lag.stream} ({lag.topic}) are {stamped_s:.2f} s older than those of the joint states, but its "
        f"pictures show the arm's motion of {best_s:.2f} s before (correlation {fits[best_s]:.2f}, by the stamps "
        f"{stamped:.2f}): its clock is shifted. Synchronise the machine of its driver."
    )
    return BagFinding("shifted_clock", "error", text)


def _view_fits(times_ns: np.ndarray, change: np.ndarray, facts: Facts) -> dict[float, float]:
    """Correlation of the view's change with the arm's speed, by how much later the view shows it [s]."""
    at_ns, speed = _speed(facts)
    level = np.log1p(change)  # the view changes with the motion, but far from in proportion
    fits = {}
    for shift_s in np.arange(_VIEW_LAGS_S[0], _VIEW_LAGS_S[1] + 0.01, 0.05):
        moved_ns = times_ns - round(shift_s * 1e9)
        inside = (moved_ns >= at_ns[0]) & (moved_ns <= at_ns[-1])
        if inside.sum() < 60:
            continue
        seen, moved = level[inside], np.log1p(np.interp(moved_ns[inside], at_ns, speed))
        known = seen.std() > 0 and moved.std() > 0
        fits[round(float(shift_s), 2)] = float(np.corrcoef(seen, moved)[0, 1]) if known else 0.0
    return fits or {0.0: 0.0}


def _is_sharp(fits: dict[float, float], best_s: float) -> bool:
    near = [fits.get(round(best_s + side * _SHARP_S, 2), 1.0) for side in (-1, 1)]
    return max(near) < fits[best_s] - _SHARP


def _speed(facts: Facts) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times, and the speed of all joints together [rad/s]."""
    rows, at_ns = facts.positions.rows(len(facts.positions.values[0])), facts.positions.times_ns
    return at_ns[1:], np.abs(np.diff(rows, axis=0)).sum(axis=1) / (np.diff(at_ns) / 1e9)


def _starts(facts: Facts) -> int:
    """How often the arm went from nearly at rest to half of its usual top speed."""
    _, speed = _speed(facts)
    top, moving, starts = float(np.percentile(speed, 95)), False, 0
    for now in np.convolve(speed, np.ones(5) / 5.0, mode="same"):
        if not moving and now > 0.5 * top:
            moving, starts = True, starts + 1
        elif moving and now < 0.2 * top:
            moving = False
    return starts


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2.0 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3f} s" if not math.isclose(seconds, round(seconds)) else f"{seconds:.0f} s"
