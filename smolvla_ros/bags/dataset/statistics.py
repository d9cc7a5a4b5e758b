"""The statistics of a LeRobotDataset: of every feature, per episode and over all episodes.

Which figures, over which frames and in which shape is LeRobot's convention (lerobot.datasets.compute_stats). Quantiles
are exact here, LeRobot's own are estimates from 5000 bins; they agree to within one bin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

# By statistic: arrays [D] of a vector, [1] of a scalar, [3, 1, 1] of images; `count` is [1].
Stats = dict[str, NDArray[np.generic]]

_MIN_SAMPLED_IMAGES, _MAX_SAMPLED_IMAGES = 100, 10_000
_LARGE_IMAGE_PX, _SAMPLED_IMAGE_PX = 300, 150


def vector_statistics(values: NDArray[np.generic]) -> Stats:
    """Statistics of [frames, D], or of [frames] as of [frames, 1]; the standard deviation is the population's."""
    rows: NDArray[Any] = values.reshape(len(values), -1)
    figures: Stats = {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0, dtype=np.float64),
        "std": rows.std(axis=0, dtype=np.float64),
        "count": np.array([len(rows)]),
    }
    for name, share in QUANTILES.items():
        figures[name] = np.quantile(rows, share, axis=0, method="inverted_cdf").astype(np.float64)
    return figures


class ImageStatistics:
    """Statistics of the images of one camera in one episode, per colour and in 0..1.

    Looks at a sample of the frames and of their pixels. Counts how often every value occurs, which is all that is
    needed, so memory does not grow. One thread.

    Args:
        frames: of the episode.
    """

    def __init__(self, frames: int):
        self._wanted = frozenset(sampled_frames(frames))
        self._counts = np.zeros((3, 256), np.int64)

    def add(self, frame: int, image: NDArray[np.uint8]) -> None:
        """Takes the image [height, width, 3] of this frame of the episode, if it is one of the sample."""
        if frame not in self._wanted:
            return
        height, width = image.shape[:2]
        stride = max(height, width) // _SAMPLED_IMAGE_PX if max(height, width) >= _LARGE_IMAGE_PX else 1
        for colour in range(3):
            self._counts[colour] += np.bincount(image[::stride, ::stride, colour].ravel(), minlength=256)

    def figures(self) -> Stats:
        """The statistics of what was added."""
        values, pixels = np.arange(256), self._counts.sum(axis=1)
        share = np.cumsum(self._counts, axis=1) / pixels[:, None]
        mean = self._counts @ values / pixels
        variance = (self._counts * (values - mean[:, None]) ** 2).sum(axis=1) / pixels
        seen = self._counts > 0
        figures = {
            "min": seen.argmax(axis=1),
            "max": 255 - seen[:, ::-1].argmax(axis=1),
            "mean": mean,
            "std": np.sqrt(variance),
            **{name: (share >= q).argmax(axis=1) for name, q in QUANTILES.items()},
        }
        scaled: Stats = {name: (figure / 255.0).reshape(3, 1, 1) for name, figure in figures.items()}
        return scaled | {"count": np.array([len(self._wanted)])}


def sampled_frames(frames: int) -> list[int]:
    """The frames of an episode whose images are looked at: about frames^0.75, evenly spread, 100 at least."""
    count = max(min(_MIN_SAMPLED_IMAGES, frames), min(int(frames**0.75), _MAX_SAMPLED_IMAGES))
    return [int(frame) for frame in np.round(np.linspace(0, frames - 1, count))]


def combine(episodes: Sequence[Mapping[str, Stats]]) -> dict[str, Stats]:
    """The statistics of all episodes together, by feature.

    Mean and standard deviation are exact. Quantiles are the outermost ones of any episode, as of the whole they cannot
    be known.
    """
    return {feature: _combined([episode[feature] for episode in episodes]) for feature in episodes[0]}


def _combined(parts: Sequence[Stats]) -> Stats:
    stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    total = stacked["count"].sum(axis=0)
    weights = stacked["count"].reshape(len(parts), *[1] * (stacked["mean"].ndim - 1)) / total[0]
    mean = (stacked["mean"] * weights).sum(axis=0)
    variance = ((stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2) * weights).sum(axis=0)
    outermost = {
        name: stacked[name].min(axis=0) if share <= 0.5 else stacked[name].max(axis=0)
        for name, share in QUANTILES.items()
    }
    extremes = {"min": stacked["min"].min(axis=0), "max": stacked["max"].max(axis=0)}
    return {**extremes, "mean": mean, "std": np.sqrt(variance), "count": total, **outermost}
