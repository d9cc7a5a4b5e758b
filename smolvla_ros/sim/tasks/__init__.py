"""What the arm can be asked to do: one module for each task, with its words, its success and the expert's aim.

To add a task, add a module with a `TASK` and name it in `_MODULES`.
"""

from __future__ import annotations

from . import pick, place, stay, touch
from .base import Asked, TaskDefinition

_MODULES = (touch, pick, place, stay)
TASKS: dict[str, TaskDefinition] = {module.TASK.name: module.TASK for module in _MODULES}

__all__ = ["TASKS", "Asked", "TaskDefinition"]
