"""Merge rules: what becomes of the instants for which both the running chunk and a new one have an opinion.

All of them are one weighted mean, `old + w * (new - old)`, and differ in the weight of the new chunk. The first four
have the names and weights of LeRobot's aggregate functions; temporal ensembling is that of ACT (arXiv 2304.13705),
in its running form: with k chunks already in the mean, the weight of the next is exp(-m k) / sum(exp(-m i), i <= k),
so that older predictions weigh more for m > 0.

Averaging in joint space also averages across modes: two good ways around an obstacle average to its middle.
That is why `latest_only` is the default.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MERGE_RULES = ("latest_only", "weighted_average", "average", "conservative", "temporal_ensemble")

# Below this all chunks weigh alike, and the sums below would lose their digits.
_EQUAL_DECAY = 1e-8

_WEIGHT_OF_NEW = {"latest_only": 1.0, "weighted_average": 0.7, "average": 0.5, "conservative": 0.3}


def weight_of_new(rule: str, averaged: NDArray[np.int64], decay: float) -> NDArray[np.float64] | float:
    """The weight in [0, 1] of a new chunk's rows against what stands there already: one for all, or [rows, 1].

    Args:
        rule: one of `MERGE_RULES`.
        averaged: [rows] how many chunks are already in the mean of each row, at least 1.
        decay: m of temporal ensembling; 0 weighs all chunks alike. Used by that rule only.
    """
    if rule != "temporal_ensemble":
        return _WEIGHT_OF_NEW[rule]
    before = averaged.astype(np.float64)[:, None]
    if decay < _EQUAL_DECAY:
        return 1.0 / (before + 1.0)
    # exp(-m k) / sum_{i=0..k} exp(-m i), the geometric series summed.
    newest = np.exp(-decay * before)
    # The sum is (1 - exp(-m (k + 1))) / (1 - exp(-m)).
    weight: NDArray[np.float64] = newest * -math.expm1(-decay) / (1.0 - math.exp(-decay) * newest)
    return weight
