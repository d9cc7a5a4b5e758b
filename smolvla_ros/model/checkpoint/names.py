"""`smolvla_ros.json` beside a policy: what LeRobot's files do not tell. Optional; LeRobot ignores it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from smolvla_ros.model.checkpoint.files import read_json
from smolvla_ros.model.checkpoint.settings import CheckpointSettings
from smolvla_ros.model.errors import CheckpointError

NAMES_FILE = "smolvla_ros.json"


@dataclass(frozen=True)
class FeatureNames:
    """Names of the state's and the action's values and rows per second, each None where it is not told."""

    state: tuple[str, ...] | None = None
    action: tuple[str, ...] | None = None
    fps: int | None = None


def read_names(folder: Path, state_dim: int, action_dim: int) -> FeatureNames:
    """The names of the checkpoint in `folder`; they must be as many as there are values."""
    path = folder / NAMES_FILE
    if not path.is_file():
        return FeatureNames()
    settings = CheckpointSettings(read_json(path), path)
    state, action = (_names(settings, *what) for what in (("state_names", state_dim), ("action_names", action_dim)))
    return FeatureNames(state, action, settings.get("fps", 0) or None)


def _names(settings: CheckpointSettings, key: str, size: int) -> tuple[str, ...] | None:
    names = settings.get(key, [])
    if not names:
        return None
    if len(names) != size or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{settings.path}: {key!r} is {names}, expected {size} names")
    return tuple(names)
