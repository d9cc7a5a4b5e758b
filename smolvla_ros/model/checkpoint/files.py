"""Files of a checkpoint folder: JSON objects and safetensors, each read with a reason when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open

from smolvla_ros.model.errors import CheckpointError

JsonObject = dict[str, Any]

_MAX_JSON_BYTES = 64 << 20


def read_json(path: Path) -> JsonObject:
    """The JSON object in a file."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; copy it from the checkpoint's source")
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes, expected a JSON file of a few thousand")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}); copy the file again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, expected a JSON object; copy the file again")
    return found


def inside(folder: Path, name: str, named_by: Path) -> Path:
    """The path of a file that a JSON file of the checkpoint names; it must lie in the same folder."""
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts or "\\" in name:
        raise CheckpointError(f"{named_by} names the file {name!r}; expected one inside {folder}")
    return folder / relative


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """The file's tensors, memory-mapped, by name (`keys()`, `get_slice(name)`, `get_tensor(name)`)."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing{_pickles_beside(path)}")
    with path.open("rb") as stream:
        start = stream.read(8)
    try:
        with safe_open(path, framework="pt") as tensors:
            yield tensors
    except SafetensorError as error:
        size = path.stat().st_size
        raise CheckpointError(
            f"{path} ({size} bytes) is not a whole safetensors file: {error}; {_likely_cause(start)}"
        ) from error


def _likely_cause(start: bytes) -> str:
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return "it looks like a pickle, which is never opened; save the policy again as safetensors with LeRobot"
    if start.startswith(b"version "):
        return "it is a Git LFS pointer; fetch the file itself, for example with `git lfs pull`"
    return "copy or download it again"


def _pickles_beside(path: Path) -> str:
    pickles = [p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt") for p in path.parent.glob(pattern)]
    if pickles:
        return (
            f"; found {', '.join(sorted(pickles))}, but pickles are never opened: "
            "save the policy again as safetensors with LeRobot"
        )
    return "; expected a folder that LeRobot wrote, with config.json and model.safetensors"
