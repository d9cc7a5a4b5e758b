"""Files of a checkpoint folder: JSON objects and safetensors, each read with a reason when it cannot be.

A checkpoint comes from anywhere, so nothing in it is believed: sizes are looked at before anything is read, numbers
before anything is allocated. The values of a JSON object are read by `reader.JsonReader`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from smolvla_ros.model.errors import CheckpointError

JsonObject = dict[str, Any]

_MAX_SETTINGS_BYTES = 4 << 20  # those of a policy have some thousand
MAX_TOKENIZER_BYTES = 64 << 20
_MAX_HEADER_BYTES = 16 << 20  # names and shapes of a safetensors file; a policy's have 60 thousand
_MAX_DEPTH = 50
_MAX_DIGITS = 18


def is_file(path: Path) -> bool:
    """Whether a name of the checkpoint's choosing is a file here; one that no file can have is none."""
    try:
        return path.is_file()
    except OSError:  # for example longer than the file system allows
        return False


def read_json(path: Path, most_bytes: int = _MAX_SETTINGS_BYTES) -> JsonObject:
    """The JSON object in a file: no key twice, no NaN or infinity, no number of more than 18 digits."""
    if not is_file(path):
        raise CheckpointError(f"{path} is missing{_dangling(path)}; copy it from the checkpoint's source")
    try:
        if path.stat().st_size > most_bytes:
            raise CheckpointError(f"{path} has {path.stat().st_size} bytes, expected a JSON file of some thousand")
        found = json.loads(
            path.read_text(encoding="utf-8"),
            object_pairs_hook=_without_doubles,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_countable,
        )
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; look at its permissions") from error
    except (RecursionError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is not JSON ({_brief(error)}); copy the file again") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, expected a JSON object; copy the file again")
    if _deeper_than(found, _MAX_DEPTH):
        raise CheckpointError(f"{path} is nested deeper than {_MAX_DEPTH} levels; copy the file again")
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
    if not is_file(path):
        raise CheckpointError(f"{path} is missing{_dangling(path) or _pickles_beside(path)}")
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; look at its permissions") from error
    try:
        if int.from_bytes(start, "little") > _MAX_HEADER_BYTES:
            raise SafetensorError("its header is too large")
        opened = safe_open(path, framework="pt")
    except (SafetensorError, OSError, RuntimeError) as error:  # RuntimeError: more than can be mapped
        raise _not_whole(path, start, error) from error
    try:
        with opened as tensors:
            yield tensors
    except SafetensorError as error:
        raise _not_whole(path, start, error) from error


def _not_whole(path: Path, start: bytes, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) is not a whole safetensors file: {_brief(error)}; {_likely_cause(start)}"
    )


def check_values(path: Path, name: str, tensor: Tensor) -> None:
    """Refuses a tensor of weights that is of another type than numbers are stored in, or not finite."""
    if not tensor.dtype.is_floating_point or tensor.dtype.itemsize < 2:
        raise CheckpointError(f"{path}: tensor {name!r} is {tensor.dtype}, expected float32, bfloat16 or float16")
    if torch.isfinite(tensor.sum()):  # six times faster than looking at every value
        return
    if bad := int((~torch.isfinite(tensor)).sum()):
        raise CheckpointError(
            f"{path}: tensor {name!r} has {bad} of {tensor.numel()} values that are not finite; "
            "the training diverged or the file is damaged: take an earlier checkpoint"
        )


def _without_doubles(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError("a number is too large")
    return number


def _countable(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a whole number has {len(digits)} digits")
    return int(digits)


def _deeper_than(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return bool(level)


def _brief(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) <= 200 else text[:200] + " ..."


def _dangling(path: Path) -> str:
    try:
        return f": it is a link to {os.readlink(path)!r}, which is not here"
    except OSError:
        return ""


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
            f"; found {', '.join(sorted(pickles)[:5])}, but pickles are never opened: "
            "save the policy again as safetensors with LeRobot"
        )
    return "; expected a folder that LeRobot wrote, with config.json and model.safetensors"
