"""Pick a cube up and hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..manipulation import Kind
from .base import Asked, TaskDefinition
from .language import FILLERS, NOUNS, choose, sentence, words_of

if TYPE_CHECKING:
    from ..world import World

VERBS = ("pick up", "grab", "take", "lift", "lift up", "grasp", "raise", "pick", "hold up")
_LIFTED_M = 0.03


def is_done(world: World, asked: Asked) -> bool:
    """The named cube is off the table, between the fingers."""
    underside_m = world.cube_position(asked.colour)[2] - world.layout.cube(asked.colour).half_size_m
    return bool(underside_m > _LIFTED_M and asked.colour in world.pressed())


def say(asked: Asked, rng: np.random.Generator) -> str:
    return sentence(choose(VERBS, rng), choose(NOUNS, rng), ("{verb}", "the", asked.colour, "{noun}"), rng)


TASK = TaskDefinition("pick", Kind.PICK, ("",), is_done, 2.0, say, words_of(VERBS, NOUNS, FILLERS))
