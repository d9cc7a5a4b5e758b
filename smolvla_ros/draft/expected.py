"""What a policy expects of a robot: image features, joints by name, their range in training, rows per second."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.robot.unit_fit import TrainingRange

from .questions import DraftError

if TYPE_CHECKING:
    from smolvla_ros.model.checkpoint.loading import LoadingPlan

_MOST_BYTES = 50_000_000
_MOST_JOINTS = 200
_NAME = re.compile(r"[^\x00-\x1f]{1,200}")


@dataclass(frozen=True)
class ExpectedFeatures:
    """What the policy sees and says.

    Attributes:
        cameras: image features.
        names: of the values of state and action; None if nobody tells them.
        size: how many values those are.
        low, high: range of both in training, [size] in the policy's units; NaN where unknown.
        fps: rows per second; 0: unknown.
        source: where it was read, for people.
    """

    cameras: tuple[str, ...]
    names: tuple[str, ...] | None
    size: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    fps: float
    source: str


def expected_by_plan(plan: LoadingPlan) -> ExpectedFeatures:
    """What a checkpoint expects."""
    sides = ((plan.processing.action, "action"), (plan.processing.state, "observation.state"))
    statistics = [{k: v.double().numpy() for k, v in source.found(name).items()} for source, name in sides]
    size = plan.config.action_dim
    low, high = _range(statistics, size)
    names = plan.names.action or plan.names.state
    return ExpectedFeatures(
        plan.cameras, names, size, low, high, float(plan.names.fps or 0), f"the checkpoint {plan.location.folder.name}"
    )


def expected_by_dataset(folder: Path) -> ExpectedFeatures:
    """What a policy that is trained on a LeRobot dataset will expect.

    Raises:
        DraftError: there is no dataset there, or its files cannot be used.
    """
    info = _json(folder / "meta" / "info.json")
    try:
        features: dict[str, Any] = info["features"]
        action = features["action"]
        size = int(action["shape"][0])
        fps = float(info.get("fps") or 0)
        cameras = tuple(name for name, feature in features.items() if feature["dtype"] in ("video", "image"))
        names = _names(action.get("names"), size)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DraftError(f"{folder / 'meta' / 'info.json'} does not describe a LeRobot dataset with an action "
                         f"({type(error).__name__}: {error})") from error  # fmt: skip
    if not 1 <= size <= _MOST_JOINTS or not 0.0 <= fps <= 10_000.0:
        raise DraftError(f"{folder}: an action of {size} values at {fps:g} per second, expected 1 to {_MOST_JOINTS}")
    statistics = _statistics(folder / "meta" / "stats.json")
    low, high = _range([statistics.get(name, {}) for name in ("action", "observation.state")], size)
    return ExpectedFeatures(cameras, names, size, low, high, fps, f"the dataset {folder.name}")


def completed(first: ExpectedFeatures, second: ExpectedFeatures) -> ExpectedFeatures:
    """The first, with names, rate and range of the second where it has none.

    Raises:
        DraftError: they are about arms of different sizes.
    """
    if first.size != second.size:
        raise DraftError(f"{first.source} has actions of {first.size} values, {second.source} of {second.size}: "
                         "expected a dataset that the checkpoint was trained on")  # fmt: skip
    return ExpectedFeatures(
        first.cameras, first.names or second.names, first.size, np.where(np.isnan(first.low), second.low, first.low),
        np.where(np.isnan(first.high), second.high, first.high), first.fps or second.fps,
        f"{first.source} and {second.source}",
    )  # fmt: skip


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise DraftError(f"{file} has {file.stat().st_size} bytes, expected a JSON file of some thousand")
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DraftError(f"{file} cannot be read ({error}); expected the folder of a LeRobot dataset") from error
    if not isinstance(found, dict):
        raise DraftError(f"{file} holds no JSON object; expected the folder of a LeRobot dataset")
    return found


def _names(told: Any, size: int) -> tuple[str, ...] | None:
    """A list of names, or, in older datasets, one within a dictionary."""
    if isinstance(told, Mapping):
        told = next(iter(told.values()), None)
    if not isinstance(told, Sequence) or isinstance(told, str) or len(told) != size:
        return None
    names = tuple(str(name) for name in told)
    return names if all(_NAME.fullmatch(name) for name in names) and len(set(names)) == size else None


def _statistics(file: Path) -> dict[str, dict[str, NDArray[np.float64]]]:
    """By feature and name; what is no list of numbers is left out."""
    if not file.is_file():
        return {}
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for feature, values in _json(file).items():
        if feature in ("action", "observation.state") and isinstance(values, dict):
            found[feature] = {}
            for name, numbers in values.items():
                try:
                    found[feature][name] = np.asarray(numbers, dtype=np.float64)
                except (TypeError, ValueError):
                    continue
    return found


def _range(
    statistics: Sequence[Mapping[str, NDArray[np.float64]]], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The union of what is told of state and action; NaN where nothing is."""
    low, high = np.full(size, math.nan), np.full(size, math.nan)
    for told in statistics:
        training = TrainingRange.of(told)
        if training is not None and training.low.shape == training.high.shape == (size,):
            low, high = np.fmin(low, training.low), np.fmax(high, training.high)
    return low, high
