"""Limits of the joints, and the step that keeps every command inside them.

`Limiter.step` is a pure function from the motion commanded last to the next one, so the same code serves the control
step and the look-ahead of a trajectory. With T the control period, every command obeys

    |q' - q| <= v_max T,   |v' - v| <= a_max T,   lower <= q' <= upper,

the last one also in the future: a velocity is only taken if the joint can still brake before its limit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .plan import Motion

Vector = NDArray[np.float64]

# A difference below this is rounding, not a limit at work [rad or m].
_ROUNDING = 1e-9
# Some times the noise of a policy's rows, and less than a centimetre at the hand of a small arm [rad or m].
PATH_TOLERANCE = 0.03


class LimitError(ValueError):
    """Limits that cannot be used; the text names each joint, the value and what is expected."""


@dataclass(frozen=True)
class JointLimits:
    """Limits of all joints, each [joints] in rad or m, s.

    Attributes:
        joints: names, in the order of the columns.
        lower, upper: positions, margins already taken off.
        velocity, acceleration: largest magnitudes.
        step: largest change between two rows of a chunk.
        jump: largest distance from the last command to a new chunk.
        tracking: largest distance between command and measured position.
        path: how far the path may leave the rows of a chunk that ask for more acceleration; one for all, or [joints].

    Raises:
        LimitError: naming everything that is not finite, not positive, or lower >= upper.
    """

    joints: tuple[str, ...]
    lower: Vector
    upper: Vector
    velocity: Vector
    acceleration: Vector
    step: Vector
    jump: Vector
    tracking: Vector
    path: Vector = field(default_factory=lambda: np.array(PATH_TOLERANCE))

    def __post_init__(self) -> None:
        problems = []
        for index, joint in enumerate(self.joints):
            lower, upper = self.lower[index], self.upper[index]
            if not (np.isfinite(lower) and np.isfinite(upper) and lower < upper):
                problems.append(
                    f"joint '{joint}' may move from {lower:g} to {upper:g} (margin taken off), expected a finite range "
                    "with the lower limit below the upper one"
                )
            for name in ("velocity", "acceleration", "step", "jump", "tracking"):
                value = getattr(self, name)[index]
                if not (np.isfinite(value) and value > 0.0):
                    problems.append(f"the {name} limit of joint '{joint}' is {value:g}, expected a positive number")
        path = np.atleast_1d(self.path)
        if not (np.isfinite(path) & (path >= 0.0)).all():
            problems.append(f"the path tolerance is {path}, expected 0 or more")
        if problems:
            raise LimitError("; ".join(problems))


class Hits(NamedTuple):
    """Which joints' command each limit changed, [joints] of bool."""

    position: NDArray[np.bool_]
    velocity: NDArray[np.bool_]
    acceleration: NDArray[np.bool_]


class Limited(NamedTuple):
    """The next command, and what the limits changed; None for nothing."""

    motion: Motion
    hits: Hits | None


class Limiter:
    """Keeps commands inside the limits for one period between commands."""

    def __init__(self, limits: JointLimits, period_s: float):
        self._limits = limits
        self._period_s = period_s
        self._brake = _Braking(limits.acceleration, period_s)
        self._reach = limits.acceleration * period_s
        # Positions between these leave room to brake from any speed, so they need no second look. All three
        # comparisons are one: a numpy call costs a microsecond, and far more once other processes had the core.
        distance = self._brake.distance(limits.velocity)
        self._free_lower = np.array((-limits.velocity, -self._reach, limits.lower + distance))
        self._free_upper = np.array((limits.velocity, self._reach, limits.upper - distance))

    def step(self, last: Motion, desired: Motion) -> Limited:
        """The command nearest to `desired` that can follow `last`."""
        velocity = (desired.position - last.position) / self._period_s
        change = velocity - last.velocity
        asked = np.array((velocity, change, desired.position))
        if (asked >= self._free_lower).all() and (asked <= self._free_upper).all():
            return Limited(Motion(desired.position, velocity, change / self._period_s), None)
        return self._limit(last, desired)

    def _limit(self, last: Motion, desired: Motion) -> Limited:
        """Drives each joint at the desired velocity plus what closes the gap to it without overshooting."""
        period, limits, reach = self._period_s, self._limits, self._reach
        # A start outside the limits (a sagging arm) may stay there or come in, never go further out.
        lower, upper = np.minimum(limits.lower, last.position), np.maximum(limits.upper, last.position)
        target = np.minimum(np.maximum(desired.position, lower), upper)
        position_hit = np.abs(desired.position - np.clip(desired.position, limits.lower, limits.upper)) > _ROUNDING
        gap = target - last.position - desired.velocity * period
        direct = np.abs(gap) / period
        approach = np.minimum(direct, self._brake.speed(np.abs(gap)))
        wanted = desired.velocity + np.copysign(approach, gap)
        fast = np.minimum(np.maximum(wanted, -limits.velocity), limits.velocity)
        reachable = np.minimum(np.maximum(fast, last.velocity - reach), last.velocity + reach)
        # Position last: if a start left no room to brake, staying inside wins over the acceleration.
        velocity = np.minimum(
            np.maximum(reachable, -self._brake.speed(last.position - lower)), self._brake.speed(upper - last.position)
        )
        velocity_hit = np.abs(fast - wanted) * period > _ROUNDING
        acceleration_hit = (np.abs(reachable - fast) + direct - approach) * period > _ROUNDING
        position = np.minimum(np.maximum(last.position + velocity * period, lower), upper)
        motion = Motion(position, velocity, (velocity - last.velocity) / period)
        hits = Hits(position_hit, velocity_hit, acceleration_hit)
        return Limited(motion, hits if any(hit.any() for hit in hits) else None)

    def brake(self, last: Motion) -> Motion:
        """The next command on the way to standing still, as fast as the acceleration allows."""
        if not last.velocity.any():
            return Motion.at_rest(last.position)
        velocity = last.velocity - np.minimum(np.maximum(last.velocity, -self._reach), self._reach)
        position = last.position + velocity * self._period_s
        below, above = self._limits.lower - _ROUNDING, self._limits.upper + _ROUNDING
        outside = (position < below) & (velocity < 0) | (position > above) & (velocity > 0)
        if outside.any():  # only a start with no room to brake comes here
            velocity = np.where(outside, 0.0, velocity)
            position = last.position + velocity * self._period_s
        return Motion(position, velocity, (velocity - last.velocity) / self._period_s)


def stopping(limits: JointLimits, position: Vector, velocity: Vector, steps: int) -> tuple[float, list[Motion]]:
    """The way to standing still, each joint with all of its own acceleration, none beyond its position limits.

    Returns:
        The time between two of the motions [s], and `steps` of them; the last one is at rest.
    """
    speed, direction = np.abs(velocity), np.sign(velocity)
    own_s = speed / limits.acceleration
    spacing_s = float(own_s.max()) / steps
    lower, upper = np.minimum(limits.lower, position), np.maximum(limits.upper, position)
    motions = []
    for step in range(1, steps + 1):
        t = np.minimum(step * spacing_s, own_s) if step < steps else own_s
        way = direction * t * (speed - 0.5 * limits.acceleration * t)
        left = direction * (speed - limits.acceleration * t) if step < steps else np.zeros_like(speed)
        motions.append(Motion(np.clip(position + way, lower, upper), left, np.zeros_like(speed)))
    return spacing_s, motions


class _Braking:
    """Distances and speeds of a joint that slows down by a T in each period of length T.

    Travelling v T now and a T less in each following period covers D(v) = v T + D(v - a T), a polygon with corners at
    the multiples of a T. The continuous v^2 / (2 a) is a little shorter, and a joint that relied on it would overrun.
    """

    def __init__(self, acceleration: Vector, period_s: float):
        self._reach = acceleration * period_s
        self._unit = acceleration * period_s**2

    def distance(self, speed: Vector) -> Vector:
        """[joints] an upper bound of the way to standing still from speeds [joints], none of them negative."""
        periods = np.ceil(speed / self._reach)
        return np.asarray(self._unit * periods * (periods + 1.0) / 2.0)

    def speed(self, distance: Vector) -> Vector:
        """[joints] the largest speeds from which the joint stops within distances [joints], none of them negative."""
        units = distance / self._unit
        periods = np.floor((np.sqrt(1.0 + 8.0 * units) - 1.0) / 2.0)
        return np.asarray(self._reach * (periods + (units - periods * (periods + 1.0) / 2.0) / (periods + 1.0)))
