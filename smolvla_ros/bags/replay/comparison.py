"""How far predictions are from what happened: by joint, by row of the chunk, in two units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .result import Errors, ErrorTable, ReplayedChunk

Array = NDArray[np.float64]


def chunk_errors(chunks: Sequence[ReplayedChunk], rows: int, std: Array) -> Errors:
    """Errors of the chunks against their references."""
    shape = (len(chunks), rows, len(std))
    predicted = np.array([chunk.positions for chunk in chunks]).reshape(shape)
    return compare(predicted, _references(chunks, shape), std)


def hold_errors(chunks: Sequence[ReplayedChunk], rows: int, std: Array) -> Errors:
    """Errors of a policy that answers with the positions it sees: the yardstick."""
    shape = (len(chunks), rows, len(std))
    states = np.array([chunk.state for chunk in chunks]).reshape(len(chunks), 1, len(std))
    return compare(np.broadcast_to(states, shape), _references(chunks, shape), std)


def recorded_errors(chunks: Sequence[ReplayedChunk], rows: int, std: Array) -> Errors | None:
    """Differences between replayed chunks and the recorded ones that they repeat; None if there are none."""
    pairs = [(chunk.positions, chunk.recorded.positions) for chunk in chunks if chunk.recorded is not None]
    if not pairs:
        return None
    recorded = np.full((len(pairs), rows, len(std)), np.nan)
    for place, (_, positions) in enumerate(pairs):
        recorded[place, : len(positions)] = positions[:rows]
    return compare(np.array([positions for positions, _ in pairs]), recorded, std)


def compare(predicted: Array, reference: Array, std: Array) -> Errors:
    """Errors of [chunks, rows, joints]; where the reference is NaN nothing is compared.

    Args:
        std: [joints] standard deviations of the training actions in rad or m, NaN where they are not known.
    """
    error = np.abs(predicted - reference)
    return Errors(_table(error), _table(error / std), int(np.isfinite(error).sum()))


def joint_errors(chunk: ReplayedChunk) -> Array:
    """Mean absolute error of one chunk, [joints]."""
    return _mean(np.abs(chunk.positions - chunk.reference), (0,))


def usable_std(std: Array) -> Array:
    """The same with NaN for a joint that did not move in training, by which nothing can be divided."""
    return np.where(std > 1e-9, std, np.nan)


def _references(chunks: Sequence[ReplayedChunk], shape: tuple[int, int, int]) -> Array:
    return np.array([chunk.reference for chunk in chunks]).reshape(shape)


def _table(error: Array) -> ErrorTable:
    return ErrorTable(
        mean=float(_mean(error, (0, 1, 2))),
        p95=_p95(error),
        joint_mean=_mean(error, (0, 1)),
        joint_p95=np.array([_p95(error[..., joint]) for joint in range(error.shape[2])]),
        row_mean=_mean(error, (0, 2)),
        row_p95=np.array([_p95(error[:, row]) for row in range(error.shape[1])]),
        cell_mean=_mean(error, (0,)),
    )


def _mean(error: Array, axes: tuple[int, ...]) -> Array:
    known = np.isfinite(error)
    count = known.sum(axis=axes)
    total = np.where(known, error, 0.0).sum(axis=axes)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _p95(error: Array) -> float:
    known = error[np.isfinite(error)]
    return float(np.percentile(known, 95)) if len(known) else float("nan")
