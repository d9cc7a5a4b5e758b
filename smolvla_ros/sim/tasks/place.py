"""Put a cube on the plate or in the bin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..manipulation import Kind
from ..scene import BIN_INNER_HALF_M, PLACES, PLATE_RADIUS_M, SUPPORT_M
from . import pick
from .base import Asked, TaskDefinition
from .language import FILLERS, NOUNS, choose, sentence, words_of

if TYPE_CHECKING:
    from ..world import World

NAMES = {"plate": ("plate", "dish"), "bin": ("bin", "basket")}
_WHERE = {"plate": ("on the", "onto the"), "bin": ("in the", "into the", "inside the")}
_PUT_IT = ("put it", "place it", "drop it", "set it", "lay it")
_VERBS = ("put", "place", "move", "bring", "drop", "set", "lay")
# A resting cube is level to some millimetres; in the bin it may lean on a wall.
_LEVEL_M, _BIN_DEPTH_M = 0.006, 0.03
_SETTLED_S = 1.0 / 3.0


def is_done(world: World, asked: Asked) -> bool:
    """The named cube rests on its place, and no finger presses on it."""
    position, cube = world.cube_position(asked.colour), world.layout.cube(asked.colour)
    away = position[:2] - world.layout.places[asked.place]
    if asked.place == "plate":
        level = abs(position[2] - SUPPORT_M["plate"] - cube.half_size_m) < _LEVEL_M
        there = np.hypot(*away) < PLATE_RADIUS_M and level
    else:
        there = np.abs(away).max() < BIN_INNER_HALF_M and position[2] < _BIN_DEPTH_M
    return bool(there and asked.colour not in world.pressed())


def say(asked: Asked, rng: np.random.Generator) -> str:
    """'put the red cube on the plate' or 'grab the red cube and drop it in the bin'."""
    where = f"{choose(_WHERE[asked.place], rng)} {choose(NAMES[asked.place], rng)}"
    if rng.random() < 0.35:
        rest = ("{verb}", "the", asked.colour, "{noun}", "and", choose(_PUT_IT, rng), where)
        return sentence(choose(pick.VERBS, rng), choose(NOUNS, rng), rest, rng)
    return sentence(choose(_VERBS, rng), choose(NOUNS, rng), ("{verb}", "the", asked.colour, "{noun}", where), rng)


TASK = TaskDefinition(
    "place", Kind.PLACE, PLACES, is_done, _SETTLED_S, say,
    words_of(_VERBS, _PUT_IT, pick.VERBS, NOUNS, FILLERS, ("and",), *_WHERE.values(), *NAMES.values()),
)  # fmt: skip
