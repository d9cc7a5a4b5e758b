"""Any single odd value anywhere in a checkpoint's JSON files: it is read or refused, nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smolvla_ros.model import CheckpointError
from smolvla_ros.model.checkpoint.loading import read_plan

FILES = (
    "config.json",
    "vlm/config.json",
    "vlm/tokenizer_config.json",
    "policy_preprocessor.json",
    "policy_postprocessor.json",
)
ODD: tuple[Any, ...] = (None, True, -1, 0, 10**9, 0.5, "", "odd", [], ["odd"], [None], {}, {"odd": None}, [[]])


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of every value in a JSON document."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def replaced(document: Any, path: tuple, value: Any) -> Any:
    copy = json.loads(json.dumps(document))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return copy


@pytest.mark.parametrize("file", FILES)
def test_an_odd_value_anywhere_is_accepted_or_refused(file: str, good: Path) -> None:
    original = json.loads((good / file).read_text())
    outcomes = {"read": 0, "refused": 0}
    for path in places(original):
        for odd in ODD:
            (good / file).write_text(json.dumps(replaced(original, path, odd)))
            try:
                read_plan(good)
                outcomes["read"] += 1
            except CheckpointError:
                outcomes["refused"] += 1
    assert outcomes["read"] > 0
