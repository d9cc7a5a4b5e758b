"""Touch a cube with a finger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..manipulation import Kind
from ..task import VERBS
from .base import Asked, TaskDefinition
from .language import FILLERS, NOUNS, choose, sentence, words_of

if TYPE_CHECKING:
    from ..world import World


def is_done(world: World, asked: Asked) -> bool:
    """The first cube that a finger pressed on is the named one."""
    return world.touched() == asked.colour


def say(asked: Asked, rng: np.random.Generator) -> str:
    return sentence(choose(VERBS, rng), choose(NOUNS, rng), ("{verb}", "the", asked.colour, "{noun}"), rng)


TASK = TaskDefinition("touch", Kind.TOUCH, ("",), is_done, 0.0, say, words_of(VERBS, NOUNS, FILLERS))
