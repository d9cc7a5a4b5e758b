"""What a checkpoint's training data looked like, and how far recorded positions are from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.robot import RobotConfig

from ..replay.facts import Array
from .tracking import DEGREES

_MARGIN = 0.1  # of the range, that positions may lie beyond it
_TURNS = 1.3 * 2.0 * math.pi  # values beyond are no radians
_INSIDE, _OUTSIDE = 0.9, 0.1  # share of the samples
_FAR = 5.0  # times the largest value of the training data
_FEW_SAMPLES = 5
_STRANGE = 3.0  # standard deviations


@dataclass(frozen=True)
class TrainingData:
    """Range, mean and standard deviation [joints] in checkpoint units; all empty where they are unknown."""

    low: Array
    high: Array
    mean: Array
    std: Array
    robot: RobotConfig

    @classmethod
    def of(cls, statistics: Mapping[str, Array], robot: RobotConfig) -> Self:
        """From what the checkpoint knows: a range and a mean with standard deviation, or what can be made of less."""
        joints = len(robot.joints)
        found = {name: values for name, values in statistics.items() if values.shape == (joints,)}
        low, high = found.get("min", found.get("q01")), found.get("max", found.get("q99"))
        mean, std = found.get("mean"), found.get("std")
        if mean is None or std is None:
            if low is None or high is None:
                nothing = np.empty(0)
                return cls(nothing, nothing, nothing, nothing, robot)
            mean, std = (low + high) / 2.0, (high - low) / 4.0
        if low is None or high is None:
            low, high = mean - 4.0 * std, mean + 4.0 * std
        return cls(low, high, mean, np.maximum(std, 1e-6), robot)

    @property
    def known(self) -> bool:
        return self.low.size > 0

    def in_ros_units(self, joint: int) -> tuple[float, float]:
        """The range of a joint in rad or m."""
        ends = self.robot.to_ros_units(np.stack([self.low, self.high]))[:, joint]
        return float(ends.min()), float(ends.max())

    def centre(self, joint: int) -> float:
        """The mean of a joint in rad or m."""
        return float(self.robot.to_ros_units(self.mean)[joint])

    def wants_scale(self, scale: Array, joint: int) -> bool:
        """Whether the config's scale is what the training data ask for: about 57.3 for degrees, about 1 for radians."""
        wanted = DEGREES if max(abs(self.low.min()), abs(self.high.max())) > _TURNS else 1.0
        return bool(wanted / 3.0 < abs(scale[joint]) < wanted * 3.0)

    def factor(self, positions: Array, scale: Array) -> Array:
        """[joints] by which positions have to be multiplied to fit: 57.3, 1 / 57.3, or 1 where nothing else is certain.

        A joint whose positions are far too large says so itself. One whose positions are too small could be at rest
        near zero; see `_too_small`.
        """
        neutral = np.ones(len(scale))
        rows = positions[np.isfinite(positions).all(axis=1)]
        if not self.known or len(rows) < _FEW_SAMPLES:
            return neutral
        inside = {factor: self._inside(rows * factor) for factor in (1.0, DEGREES, 1.0 / DEGREES)}
        values = self.robot.to_policy_units(rows)
        largest = np.maximum(np.abs(self.low), np.abs(self.high))
        too_large = (
            (inside[1.0] < _OUTSIDE)
            & (inside[1.0 / DEGREES] > _INSIDE)
            & (np.median(np.abs(values), axis=0) > _FAR * largest)
        )
        if too_large.any():
            all_are = too_large.sum() >= 2 and bool((inside[1.0 / DEGREES] > _INSIDE).all())
            return np.where(too_large | all_are, 1.0 / DEGREES, neutral)
        return np.where(self._too_small(rows, scale, inside), DEGREES, neutral)

    def _too_small(self, rows: Array, scale: Array, inside: Mapping[float, Array]) -> NDArray[np.bool_]:
        """A joint that hardly moves has small values too, so one joint alone is believed only against a wrong scale."""
        size = np.abs(rows * scale)
        small = np.quantile(size, 0.95, axis=0) < 3.0 * _spread(self.mean, self.std) / DEGREES
        spread = rows.std(axis=0) * np.abs(scale)
        moves = (spread * DEGREES > 0.2 * self.std) & (spread * DEGREES < 3.0 * self.std)
        fits = small & (inside[DEGREES] > _INSIDE)
        wrong_scale = np.array([not self.wants_scale(scale, joint) for joint in range(len(scale))])
        believed = fits & wrong_scale & (moves | (inside[1.0] < _OUTSIDE))
        if believed.any():
            return np.asarray(fits & wrong_scale)
        all_fit = bool(fits.all()) and moves.sum() >= max(2, len(scale) // 2)
        return fits if all_fit and bool((inside[1.0] < _OUTSIDE).any()) else np.zeros(len(scale), bool)

    def swapped(self, positions: Array) -> tuple[int, int] | None:
        """Two joints that are strange, and are not once exchanged; None for an arm that does not move."""
        if not self.known or len(positions) < _FEW_SAMPLES:
            return None
        values = self.robot.to_policy_units(positions)
        own = self._distance(values)
        moving = values.std(axis=0) > 0.1 * self.std
        for one in range(len(own)):
            for other in range(one + 1, len(own)):
                if own[one] < _STRANGE or own[other] < _STRANGE or not (moving[one] or moving[other]):
                    continue
                exchanged = positions.copy()
                exchanged[:, [one, other]] = positions[:, [other, one]]
                after = self._distance(self.robot.to_policy_units(exchanged))
                if max(after[one], after[other]) < _STRANGE / 1.5:
                    return one, other
        return None

    def mirrored(self, positions: Array, joint: int) -> bool:
        """Whether a moving joint fits only with the opposite sign."""
        if not self.known or len(positions) < _FEW_SAMPLES:
            return False
        turned = positions.copy()
        turned[:, joint] *= -1.0
        here, there = self._inside(positions)[joint], self._inside(turned)[joint]
        values = self.robot.to_policy_units(turned)[:, joint]
        moves = values.std() > 0.2 * self.std[joint]
        near = abs(float(np.median(values)) - self.mean[joint]) < 1.5 * self.std[joint]
        far = self._distance(self.robot.to_policy_units(positions))[joint] > _STRANGE
        return bool(here < _OUTSIDE and there > _INSIDE and moves and near and far)

    def strangeness(self, positions: Array) -> float:
        """Mean distance from the training data over all joints, in standard deviations; NaN if unknown."""
        rows = positions[np.isfinite(positions).all(axis=1)]
        if not self.known or not len(rows):
            return math.nan
        return float(self._distance(self.robot.to_policy_units(rows)).mean())

    def far_outside(self, positions: Array, joint: int) -> float | None:
        """The median position of a joint that is beyond its range by more than half of it for most of the time."""
        if not self.known or len(positions) < _FEW_SAMPLES:
            return None
        values = self.robot.to_policy_units(positions)[:, joint]
        margin = 0.5 * (self.high[joint] - self.low[joint])
        outside = (values < self.low[joint] - margin) | (values > self.high[joint] + margin)
        return float(np.median(positions[:, joint])) if outside.mean() > 0.5 else None

    def _inside(self, positions: Array) -> Array:
        """[joints] share of the samples within the range, with a margin."""
        values = self.robot.to_policy_units(positions)
        margin = _MARGIN * (self.high - self.low)
        return np.asarray(((values >= self.low - margin) & (values <= self.high + margin)).mean(axis=0))

    def _distance(self, values: Array) -> Array:
        """[joints] root mean square of the standardised values."""
        return np.asarray(np.sqrt((((values - self.mean) / self.std) ** 2).mean(axis=0)))


def _spread(mean: Array, std: Array) -> Array:
    return np.sqrt(mean**2 + std**2)
