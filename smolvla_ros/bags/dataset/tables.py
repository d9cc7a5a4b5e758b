"""The Parquet tables of a LeRobotDataset: frames, episodes, tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .layout import ACTION, DATA_FILE_BYTES, INDEX_COLUMNS, STATE, TASKS_FILE, FilePlace, data_file, episodes_file
from .statistics import Stats

Frames = dict[str, NDArray[np.generic]]


def frame_columns(
    states: NDArray[np.float32], actions: NDArray[np.float32], *, fps: int, episode: int, first: int, task: int
) -> Frames:
    """The columns of an episode.

    Args:
        states, actions: [frames, joints] in units of the checkpoint.
        first: how many frames the episodes before have together.
    """
    count = len(states)
    place = np.arange(count, dtype=np.int64)
    index: Frames = {
        "timestamp": (place / fps).astype(np.float32),
        "frame_index": place,
        "episode_index": np.full(count, episode, np.int64),
        "index": first + place,
        "task_index": np.full(count, task, np.int64),
    }
    return {STATE: states.astype(np.float32), ACTION: actions.astype(np.float32), **index}


class FrameTable:
    """The table of all frames: a row group per episode, files of limited size.

    Args:
        root: of the dataset.
        joints: columns of state and action.
        max_bytes: no file gets larger, as far as the size of an episode can be guessed before it is compressed.
    """

    def __init__(self, root: Path, joints: int, max_bytes: int = DATA_FILE_BYTES):
        self._root, self._max_bytes = root, max_bytes
        self._schema = _frame_schema(joints)
        self._place = FilePlace()
        self._file: BinaryIO | None = None
        self._writer: pq.ParquetWriter | None = None
        self._frames = 0

    def append(self, columns: Frames) -> FilePlace:
        """Writes an episode; returns where."""
        frames = len(columns["index"])
        if self._file and self._file.tell() * (1 + frames / self._frames) >= self._max_bytes:
            self.close()
            self._place = self._place.next()
        arrays = [_column(columns[field.name], field.type) for field in self._schema]
        self._open().write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=frames)
        self._frames += frames
        return self._place

    def close(self) -> None:
        """Completes the file that is being written."""
        if self._writer and self._file:
            self._writer.close()
            self._file.close()
        self._writer = self._file = None
        self._frames = 0

    def _open(self) -> pq.ParquetWriter:
        if self._writer is None:
            path = self._root / data_file(self._place)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
            self._writer = pq.ParquetWriter(self._file, self._schema, compression="snappy", use_dictionary=True)
        return self._writer


def write_episodes(root: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes the table of episodes, all into one file: it would take 100 000 of them to fill it."""
    place = FilePlace()
    path = root / episodes_file(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {"meta/episodes/chunk_index": place.chunk, "meta/episodes/file_index": place.file}
    pq.write_table(pa.Table.from_pylist([{**row, **own} for row in rows]), path, compression="snappy")


def write_tasks(root: Path, tasks: Sequence[str]) -> None:
    """Writes the table of tasks: a pandas frame whose index is the text."""
    frame = pd.DataFrame({"task_index": range(len(tasks))}, index=pd.Index(tasks, name="task"))
    frame.to_parquet(root / TASKS_FILE)


def flattened(statistics: Mapping[str, Stats]) -> dict[str, Any]:
    """The columns 'stats/<feature>/<statistic>' of the table of episodes."""
    return {
        f"stats/{feature}/{name}": value.tolist()
        for feature, figures in statistics.items()
        for name, value in figures.items()
    }


def _column(values: NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values, kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind.value_type), type=kind)


def _frame_schema(joints: int) -> pa.Schema:
    """The columns, and their description as the library `datasets` of Hugging Face puts it into the file."""
    vector = pa.list_(pa.field("element", pa.float32()), joints)
    fields = [(name, vector) for name in (STATE, ACTION)]
    fields += [(name, pa.type_for_alias(kind)) for name, kind in INDEX_COLUMNS.items()]
    described: dict[str, Any] = {
        name: {"feature": _value("float32"), "length": joints, "_type": "List"} for name in (STATE, ACTION)
    }
    described |= {name: _value(kind) for name, kind in INDEX_COLUMNS.items()}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": described}})})


def _value(kind: str) -> dict[str, str]:
    return {"dtype": kind, "_type": "Value"}
