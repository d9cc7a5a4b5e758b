"""What makes a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..manipulation import Kind

if TYPE_CHECKING:
    from ..world import World


@dataclass(frozen=True)
class Asked:
    """What is asked for; colour and place are '' where the task has none."""

    task: str
    colour: str = ""
    place: str = ""


@dataclass(frozen=True)
class TaskDefinition:
    """One task.

    Attributes:
        name: as in `smolvla-ros evaluate --task`.
        kind: what the expert does.
        places: what can be named beside a cube; ('',) for none.
        is_done: whether the world is now as it was asked to be; looks at the physics only.
        done_s: how long it must stay so.
        say: an instruction at random.
        words: every word that `say` may use, in lower case, colours apart.
        names_cube: whether one cube is meant; if not, success is that nothing moves.
    """

    name: str
    kind: Kind
    places: tuple[str, ...]
    is_done: Callable[[World, Asked], bool]
    done_s: float
    say: Callable[[Asked, np.random.Generator], str]
    words: frozenset[str]
    names_cube: bool = True

    def ask(self, colour: str, place: str) -> Asked:
        """This task with what it names of a colour and a place."""
        return Asked(self.name, colour if self.names_cube else "", place if place in self.places else "")
