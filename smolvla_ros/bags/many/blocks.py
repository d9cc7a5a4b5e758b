"""The errors of a replay in blocks of time, and two checkpoints beside each other on the same bag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..replay.result import Replay

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

_LEAST_BLOCK_NS = 2_000_000_000


@dataclass(frozen=True)
class ErrorBlocks:
    """|predicted - reference| of a replay, summed up in blocks of time: [blocks, joints].

    A chunk belongs to the block in which its first row lies. `instructions` [blocks]: of the first chunk of each; ''
    where there is none.
    """

    sums: Array
    counts: Counts
    instructions: tuple[str, ...]

    @property
    def means(self) -> Array:
        """[blocks, joints]; NaN where nothing could be compared."""
        return ratio(self.sums, self.counts)


@dataclass(frozen=True)
class Pairs:
    """Two checkpoints on one bag, over the blocks and joints in which both can be compared (counts 0 elsewhere).

    `ours` is of the checkpoint asked about, `theirs` of the one that it is held against; `rows`: so many of each chunk.
    """

    bag: str
    joints: tuple[str, ...]
    block_s: float
    rows: int
    ours: ErrorBlocks
    theirs: ErrorBlocks

    @property
    def differences(self) -> Array:
        """[blocks, joints] of mean errors, ours - theirs: negative where ours is nearer to what the robot did."""
        return self.ours.means - self.theirs.means


def pairs(name: str, ours: Replay, theirs: Replay) -> Pairs:
    """The same instants of both, as far ahead as both look."""
    rows = min(ours.rows, theirs.rows)
    block_ns = max(_LEAST_BLOCK_NS, 2 * rows * round(ours.step_s * 1e9))
    sides = [error_blocks(replay, block_ns, rows) for replay in (ours, theirs)]
    length = min(len(side.counts) for side in sides)
    shared = (sides[0].counts[:length] > 0) & (sides[1].counts[:length] > 0)
    kept = [
        ErrorBlocks(np.where(shared, side.sums[:length], 0.0), np.where(shared, side.counts[:length], 0),
                    side.instructions[:length])
        for side in sides
    ]  # fmt: skip
    return Pairs(name, ours.joints, block_ns / 1e9, rows, *kept)


def error_blocks(replay: Replay, block_ns: int, rows: int) -> ErrorBlocks:
    """The errors of the first `rows` of each chunk, in blocks of `block_ns` from the start of the replay on."""
    length = max(1, -(-(replay.end_ns - replay.start_ns) // block_ns))
    sums, counts = np.zeros((length, len(replay.joints))), np.zeros((length, len(replay.joints)), np.int64)
    instructions = [""] * length
    for chunk in replay.chunks:
        block = min(max(0, (chunk.start_ns - replay.start_ns) // block_ns), length - 1)
        error = np.abs(chunk.positions[:rows] - chunk.reference[:rows])
        known = np.isfinite(error)
        sums[block] += np.where(known, error, 0.0).sum(axis=0)
        counts[block] += known.sum(axis=0)
        instructions[block] = instructions[block] or chunk.instruction
    return ErrorBlocks(sums, counts, tuple(instructions))


def ratio(sums: Array, counts: Counts) -> Array:
    """sums / counts; NaN where nothing was counted."""
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
