"""`smolvla_ros.json` beside a policy: what LeRobot's files do not tell. Optional; LeRobot ignores it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from smolvla_ros.model.checkpoint.files import read_json
from smolvla_ros.model.checkpoint.reader import JsonReader

NAMES_FILE = "smolvla_ros.json"
_MOST_WORDS = 100_000


@dataclass(frozen=True)
class FeatureNames:
    """Names of the state's and the action's values and rows per second, each None where it is not told; every word of
    the instructions of training, none where that is not told."""

    state: tuple[str, ...] | None = None
    action: tuple[str, ...] | None = None
    fps: int | None = None
    words: tuple[str, ...] = ()


def read_names(folder: Path, state_dim: int, action_dim: int) -> FeatureNames:
    """The names of the checkpoint in `folder`; they must be as many as there are values."""
    path = folder / NAMES_FILE
    if not os.path.lexists(path):
        return FeatureNames()
    settings = JsonReader(read_json(path), path)
    state, action = (_names(settings, *what) for what in (("state_names", state_dim), ("action_names", action_dim)))
    words = settings.texts("words", _MOST_WORDS)
    return FeatureNames(state, action, settings.whole("fps", 0, 0, 10_000) or None, words)


def _names(settings: JsonReader, key: str, size: int) -> tuple[str, ...] | None:
    names = settings.texts(key, 10_000)
    if names and (len(names) != size or any(len(name) > 200 for name in names)):
        raise settings.refuse(key, f"{size} names")
    return names or None
