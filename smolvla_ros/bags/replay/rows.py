"""Every number of every chunk as a table: one line per chunk, row and joint, as Parquet or CSV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from .result import Replay, ReplayedChunk

_CHUNKS_AT_ONCE = 256

SCHEMA = pa.schema(
    [
        ("chunk", pa.int32()),
        ("row", pa.int32()),
        ("time_ns", pa.int64()),
        ("joint", pa.string()),
        ("predicted", pa.float64()),
        ("reference", pa.float64()),
        ("error", pa.float64()),
        ("error_std", pa.float64()),
        ("state", pa.float64()),
        ("recorded", pa.float64()),
        ("instruction", pa.string()),
    ]
)


def write_rows(replay: Replay, folder: Path, kind: str) -> Path | None:
    """Writes rows.parquet or rows.csv into the folder; nothing for 'none'.

    `predicted`, `reference` and `recorded` (by the chunk of the bag that was repeated) are positions at `time_ns` in
    rad or m, `error` is predicted - reference, `error_std` the same in standard deviations of the training actions,
    `state` the position that the policy saw. Empty: there is no such value.
    """
    if kind == "none":
        return None
    file = folder / f"rows.{kind}"
    writer = parquet.ParquetWriter(file, SCHEMA) if kind == "parquet" else csv.CSVWriter(file, SCHEMA)
    with writer:
        for table in _tables(replay):
            writer.write_table(table)
    return file


def _tables(replay: Replay) -> Iterator[pa.Table]:
    for first in range(0, len(replay.chunks), _CHUNKS_AT_ONCE):
        chunks = replay.chunks[first : first + _CHUNKS_AT_ONCE]
        yield pa.concat_tables(_table(replay, first + place, chunk) for place, chunk in enumerate(chunks))


def _table(replay: Replay, number: int, chunk: ReplayedChunk) -> pa.Table:
    rows, joints = chunk.positions.shape
    row = np.repeat(np.arange(rows), joints)
    error = chunk.positions - chunk.reference
    columns = {
        "chunk": np.full(rows * joints, number),
        "row": row,
        "time_ns": chunk.start_ns + row * round(replay.step_s * 1e9),
        "joint": list(replay.joints) * rows,
        "predicted": chunk.positions,
        "reference": chunk.reference,
        "error": error,
        "error_std": error / replay.action_std,
        "state": np.broadcast_to(chunk.state, (rows, joints)),
        "recorded": _recorded(chunk),
        "instruction": [chunk.instruction] * (rows * joints),
    }
    arrays = [_column(columns[field.name], field.type) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _column(values: NDArray[np.float64] | list[str], kind: pa.DataType) -> pa.Array:
    if isinstance(values, list):
        return pa.array(values, kind)
    return pa.array(values.ravel(), kind, from_pandas=True)  # NaN becomes null


def _recorded(chunk: ReplayedChunk) -> NDArray[np.float64]:
    recorded = np.full_like(chunk.positions, np.nan)
    if chunk.recorded is not None:
        rows = min(len(recorded), len(chunk.recorded.positions))
        recorded[:rows] = chunk.recorded.positions[:rows]
    return recorded
