"""A replay as replay.json: all figures but the single rows and whatever depends on the machine's speed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .comparison import joint_errors
from .result import Replay

FORMAT = 1  # counts up when a name in the file changes its meaning or goes

_AS_THEY_ARE = (
    "bag", "checkpoint", "robot_config", "joints", "start_ns", "end_ns", "step_s", "rows", "request", "latency",
    "reference", "seed", "errors", "hold_errors", "recorded_errors", "recorded_unmatched", "seams", "action_std",
    "findings", "streams", "skipped", "defects",
)  # fmt: skip


def write_summary(replay: Replay, folder: Path) -> Path:
    """Writes replay.json into the folder. The same replay gives the same bytes."""
    file = folder / "replay.json"
    file.write_text(json.dumps(summary(replay), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return file


def summary(replay: Replay) -> dict[str, Any]:
    """What the file holds: the fields of `Replay` by name, of each chunk its times and mean errors, null for NaN."""
    chunks = [
        {
            "requested_ns": chunk.requested_ns,
            "stamp_ns": chunk.stamp_ns,
            "image_stamp_ns": chunk.image_stamp_ns,
            "start_ns": chunk.start_ns,
            "usable_ns": chunk.usable_ns,
            "instruction": chunk.instruction,
            "frozen_rows": chunk.frozen_rows,
            "joint_mean": joint_errors(chunk),
        }
        for chunk in replay.chunks
    ]
    fields = {name: getattr(replay, name) for name in _AS_THEY_ARE}
    return {name: plain(value) for name, value in ({"format": FORMAT} | fields | {"chunks": chunks}).items()}


def plain(value: Any) -> Any:
    """A value, dataclasses and arrays included, in what JSON knows; null for NaN."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
