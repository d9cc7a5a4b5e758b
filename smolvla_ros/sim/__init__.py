"""The simulated SO-101: scene and physics, cameras, the task, scripted demonstrations, training of the demo policy.

Knows MuJoCo and no ROS. Nothing but `pacing` reads a clock: a `World` is stepped by whoever owns it.
"""

import importlib
from typing import Any

_EXPORTS = {"CAMERAS": "world", "JOINTS": "world", "World": "world", "COLOURS": "task"}

__all__ = ["CAMERAS", "COLOURS", "JOINTS", "World"]


def __getattr__(name: str) -> Any:
    # On demand: the task's words are needed where MuJoCo is not.
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
