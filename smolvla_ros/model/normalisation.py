"""Scaling of state and action by the statistics of the training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

STATISTICS_OF_MODE: Mapping[str, tuple[str, ...]] = {
    "IDENTITY": (),
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
}


@dataclass(frozen=True)
class Normaliser:
    """One feature's scaling in both directions.

    MEAN_STD is centred by `low` (mean) and divided by `high` (standard deviation); the other modes map
    `low`..`high` to -1..1. `eps` is added to the standard deviation on the way in only, as in LeRobot.
    """

    mode: str
    low: Tensor
    high: Tensor
    eps: float = 1e-8
    always_add_eps: bool = False  # the old in-model MIN_MAX added eps to every range

    @classmethod
    def identity(cls, size: int) -> Normaliser:
        return cls("IDENTITY", torch.zeros(size), torch.ones(size))

    @property
    def size(self) -> int:
        return len(self.low)

    def normalise(self, values: Tensor) -> Tensor:
        """Checkpoint units [..., size] -> what the network sees."""
        if self.mode == "IDENTITY":
            return values
        low, high = self.low.to(values), self.high.to(values)
        if self.mode == "MEAN_STD":
            return (values - low) / (high + self.eps)
        return 2.0 * (values - low) / self._range(low, high) - 1.0

    def unnormalise(self, values: Tensor) -> Tensor:
        """What the network says [..., size] -> checkpoint units."""
        if self.mode == "IDENTITY":
            return values
        low, high = self.low.to(values), self.high.to(values)
        if self.mode == "MEAN_STD":
            return values * high + low
        return (values + 1.0) / 2.0 * (high - low if self.always_add_eps else self._range(low, high)) + low

    def _range(self, low: Tensor, high: Tensor) -> Tensor:
        spread = high - low
        if self.always_add_eps:
            return spread + self.eps
        return torch.where(spread == 0, torch.full_like(spread, self.eps), spread)
