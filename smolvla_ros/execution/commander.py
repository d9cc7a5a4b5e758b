"""The motion that was commanded last, and the next one: where limits are applied and nowhere else.

Not locked: the controller owns it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .limits import Limited, Limiter
from .plan import Motion, Plan
from .settings import ControllerSettings

Vector = NDArray[np.float64]

_S = 1e-9


class Command(NamedTuple):
    """What is sent to the arm for one instant: positions and velocities, each [joints] in rad or m, s.

    `before`: positions one control period earlier, where the motion came from; None for what is only foreseen.
    """

    positions: Vector
    velocities: Vector
    before: Vector | None = None


class Commander:
    """Follows desired motions inside the limits, and brakes."""

    def __init__(self, settings: ControllerSettings):
        self.apply(settings)
        self.reset()

    def apply(self, settings: ControllerSettings) -> None:
        self._limits = settings.limits
        self._period_s = settings.period_s
        self._limiter = Limiter(settings.limits, settings.period_s)
        gentle = replace(
            settings.limits,
            velocity=settings.gentle * settings.limits.velocity,
            acceleration=settings.gentle * settings.limits.acceleration,
        )
        self._gentle = Limiter(gentle, settings.period_s)

    def reset(self) -> None:
        """Nothing was commanded yet."""
        # As finite differences of what was sent, which is what the limits are about.
        self._last: Motion | None = None
        # With the derivatives at the end of the period, which are what the next seam continues.
        self._smooth: Motion | None = None
        self._on_plan = True

    @property
    def last(self) -> Motion | None:
        """The motion commanded last; None before the first."""
        return self._smooth

    @property
    def at_rest(self) -> bool:
        return self._last is None or not self._last.velocity.any()

    def seed(self, positions: Vector) -> None:
        """Motion starts from here, at rest."""
        self._last = self._smooth = Motion.at_rest(positions)
        self._on_plan = True

    def carry_on(self, command: Command) -> None:
        """Takes a motion as the one commanded last: one that was foreseen, and that the arm did meanwhile."""
        if self._last is not None and command.before is not None:
            mean_velocity = (command.positions - command.before) / self._period_s
            self._last = Motion(command.positions, mean_velocity, np.zeros_like(mean_velocity))
            self._smooth = Motion(command.positions, command.velocities, np.zeros_like(mean_velocity))

    def follow(self, desired: Motion) -> Limited | None:
        """Commands the motion nearest to `desired`; None, and no change, if that would not be finite."""
        assert self._last is not None, "seed comes first"
        limited = self._limiter.step(self._last, desired)
        if not np.isfinite(limited.motion.position).all():
            return None
        was_on_plan, self._on_plan, self._last = self._on_plan, limited.hits is None, limited.motion
        if was_on_plan and self._on_plan:
            self._smooth = desired
        else:  # the plan's own derivatives say nothing about a joint that lags behind it or has just caught up
            position, mean_velocity, acceleration = self._last
            velocity = mean_velocity + 0.5 * self._period_s * acceleration
            self._smooth = Motion(position, velocity, np.zeros_like(velocity))
        return limited

    def hold(self, at: Vector | None, gently: bool = False) -> None:
        """Commands the next motion on the way to standing still, `at` a position if given; nothing before the first.

        `gently`: with a part of the limits; only for motion that began so from rest, since it needs longer to brake.
        """
        if self._last is not None:
            limiter, last = self._gentle if gently else self._limiter, self._last
            self._last = limiter.brake(last) if at is None else limiter.step(last, Motion.at_rest(at)).motion
            self._smooth, self._on_plan = self._last, True

    def command(self) -> Command | None:
        """What to send now."""
        if self._last is None or self._smooth is None:
            return None
        position, mean_velocity, _ = self._last
        return Command(position, self._smooth.velocity, position - self._period_s * mean_velocity)

    def look_ahead(self, plan: Plan | None, now_ns: int, spacing_s: float, points: int) -> list[Command]:
        """The present command and the ones that would follow it if nothing new came, `spacing_s` apart."""
        present = self.command()
        if present is None or self._last is None:
            return []
        limiter, motion = Limiter(self._limits, spacing_s), self._last
        on_plan, commands = self._on_plan, [present]
        for point in range(1, points):
            at_ns = now_ns + round(point * spacing_s / _S)
            if plan is None or at_ns >= plan.end_ns:
                motion = limiter.brake(motion)
                commands.append(Command(motion.position, motion.velocity))
                continue
            desired = plan.sample(at_ns)
            limited = limiter.step(motion, desired)
            # A plan is inside the limits by itself; what a limit would change at this spacing is the lag behind it.
            motion = limited.motion
            on_plan = on_plan and (limited.hits is None or not limited.hits.position.any())
            commands.append(Command(*(desired if on_plan else motion)[:2]))
            motion = Motion(commands[-1].positions, motion.velocity, motion.acceleration)
        return commands
