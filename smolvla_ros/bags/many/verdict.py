"""Which of two checkpoints is nearer to what the robot did: a difference of mean errors, an interval and a verdict.

The interval is a percentile bootstrap (`scipy.stats.bootstrap`; Efron and Tibshirani, An Introduction to the Bootstrap,
chapter 13) over whole bags, each of which weighs the same, because errors within a bag go together. With fewer than
`_FEWEST` bags it is over blocks of time, twice as long as a chunk at least, and then tells of these very bags only.
Fewer than that of either prove nothing: 5 that all say the same do so by chance in 1 of 16 cases, 6 in 1 of 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from .blocks import Array, Pairs, ratio

_FEWEST = 6
_RESAMPLES = 10_000
_CONFIDENCE = 0.95
_WORST = 8


@dataclass(frozen=True)
class Difference:
    """Mean errors [rad or m] of both, and ours - theirs with its interval; NaN where there is none."""

    ours: float
    theirs: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Place:
    """A block of time in which the two differ much: its begin [s into the replay], and the joint's mean errors."""

    bag: str
    time_s: float
    joint: str
    instruction: str
    ours: float
    theirs: float


@dataclass(frozen=True)
class Comparison:
    """Two checkpoints on the same bags.

    Attributes:
        verdict: 'nearer' (as near as the margin asks for), 'farther', or 'open'.
        margin: [rad or m] by which ours may be farther.
        over: what the interval was made over, such as '12 bags'.
        block_s: length of a block of time; `rows`: so many of each chunk were compared.
        total: all joints; `joints`: by name; `bags`: all joints of each bag, without intervals.
        bag_joints: bag -> [joints] differences.
        places: where they differ most, the greatest difference first.
    """

    verdict: Literal["nearer", "farther", "open"]
    margin: float
    over: str
    block_s: float
    rows: int
    total: Difference
    joints: dict[str, Difference]
    bags: dict[str, Difference]
    bag_joints: dict[str, Array]
    places: tuple[Place, ...]


def compare_checkpoints(found: Sequence[Pairs], margin: float, seed: int) -> Comparison | None:
    """The comparison over bags of the same joints; None if there is no instant at which both can be compared."""
    usable = [pair for pair in found if pair.ours.counts.any()]
    if not usable:
        return None
    joints = usable[0].joints
    by_bag = len(usable) >= _FEWEST
    total = _difference(usable, slice(None), by_bag, seed)
    block_s = usable[0].block_s
    blocks = sum(int(pair.ours.counts.any(axis=1).sum()) for pair in usable)
    bags = f"{len(usable)} bag{'s' if len(usable) > 1 else ''}"
    return Comparison(
        verdict="nearer" if total.high <= margin else "farther" if total.low > margin else "open",
        margin=margin,
        over=bags if by_bag else f"{blocks} block{'s' if blocks > 1 else ''} of {block_s:.1f} s of {bags}",
        block_s=block_s,
        rows=min(pair.rows for pair in usable),
        total=total,
        joints={name: _difference(usable, slice(k, k + 1), by_bag, seed) for k, name in enumerate(joints)},
        bags={pair.bag: _plain(pair) for pair in usable},
        bag_joints={pair.bag: _joint_differences(pair) for pair in usable},
        places=_places(usable),
    )


def _difference(found: Sequence[Pairs], joints: slice, by_bag: bool, seed: int) -> Difference:
    """Of some joints together, with its interval."""
    sums = [[side.sums[:, joints].sum(axis=1) for side in (pair.ours, pair.theirs)] for pair in found]
    counts = [[side.counts[:, joints].sum(axis=1) for side in (pair.ours, pair.theirs)] for pair in found]
    if by_bag:
        means = np.array([[ratio(s.sum(), c.sum()) for s, c in zip(*both, strict=True)]
                          for both in zip(sums, counts, strict=True)])  # fmt: skip
        means = means[np.isfinite(means).all(axis=1)]
        return _with_interval(means[:, 0], np.ones(len(means)), means[:, 1], np.ones(len(means)), seed)
    ours, theirs = (np.concatenate([both[k] for both in sums]) for k in (0, 1))
    n_ours, n_theirs = (np.concatenate([both[k] for both in counts]) for k in (0, 1))
    known = (n_ours > 0) & (n_theirs > 0)
    return _with_interval(ours[known], n_ours[known], theirs[known], n_theirs[known], seed)


def _with_interval(ours: Array, n_ours: Array, theirs: Array, n_theirs: Array, seed: int) -> Difference:
    """The difference of two ratios of sums over the same units."""

    def statistic(a: Array, n: Array, b: Array, m: Array, axis: int = -1) -> NDArray[np.float64]:
        return np.asarray(a.sum(axis) / n.sum(axis) - b.sum(axis) / m.sum(axis))

    if not len(ours):
        return Difference(*[float("nan")] * 5)
    low = high = float("nan")
    if len(ours) >= _FEWEST:
        interval = bootstrap(
            (ours, n_ours, theirs, n_theirs), statistic, paired=True, vectorized=True, n_resamples=_RESAMPLES,
            batch=500, confidence_level=_CONFIDENCE, method="percentile", rng=np.random.default_rng(seed),
        ).confidence_interval  # fmt: skip
        low, high = float(interval.low), float(interval.high)
    mean_ours, mean_theirs = float(ours.sum() / n_ours.sum()), float(theirs.sum() / n_theirs.sum())
    return Difference(mean_ours, mean_theirs, mean_ours - mean_theirs, low, high)


def _plain(pair: Pairs) -> Difference:
    ours, theirs = (float(side.sums.sum() / side.counts.sum()) for side in (pair.ours, pair.theirs))
    return Difference(ours, theirs, ours - theirs, float("nan"), float("nan"))


def _joint_differences(pair: Pairs) -> Array:
    ours, theirs = (ratio(side.sums.sum(axis=0), side.counts.sum(axis=0)) for side in (pair.ours, pair.theirs))
    return ours - theirs


def _places(found: Sequence[Pairs]) -> tuple[Place, ...]:
    """Of each block the joint that differs most; of these the greatest."""
    places = []
    for pair in found:
        size = np.nan_to_num(np.abs(pair.differences), nan=-1.0)
        for block, joint in enumerate(size.argmax(axis=1)):
            if size[block, joint] > 0.0:
                ours, theirs = (float(side.means[block, joint]) for side in (pair.ours, pair.theirs))
                text = pair.ours.instructions[block]
                places.append(Place(pair.bag, block * pair.block_s, pair.joints[joint], text, ours, theirs))
    return tuple(sorted(places, key=lambda place: -abs(place.ours - place.theirs))[:_WORST])
