"""Hold still: told to, told not to do something, or told nothing that can be done."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import numpy as np

from ..manipulation import Kind
from ..scene import PLACES
from ..task import COLOURS
from . import pick, place, touch
from .base import Asked, TaskDefinition
from .language import FILLERS, NOUNS, choose, misspelt, with_filler, words_of

if TYPE_CHECKING:
    from ..world import World

_STILL = (
    "stop", "do nothing", "hold still", "stay", "stay still", "freeze", "wait", "halt", "do not move", "stop moving",
    "stay where you are", "hold on", "pause", "do not do anything", "touch nothing", "pick up nothing",
)  # fmt: skip
_NOTHING_TO_DO = ("hello", "hi", "thanks", "good", "yes", "no", "what is this", "how are you")
_NOT = ("do not", "don't", "never")
_OTHER_COLOURS = (
    "purple", "orange", "black", "white", "pink", "brown", "grey", "violet", "cyan", "golden", "silver", "turquoise",
)  # fmt: skip
_OTHER_PLACES = ("table", "floor", "shelf", "left", "right")


def is_done(world: World, asked: Asked) -> bool:
    """Whether the arm holds still is for the referee to say, who knows where it was."""
    return True


def say(asked: Asked, rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.25:
        return with_filler(choose(_STILL, rng), rng)
    if kind < 0.30:
        return with_filler(choose(_NOTHING_TO_DO, rng), rng)
    colour = choose(COLOURS, rng)
    if kind < 0.50:
        return with_filler(f"{choose(_NOT, rng)} {_order(colour, rng)}", rng)
    if kind < 0.65:  # no colour
        return " ".join(_order(colour, rng).replace(f" {colour}", "").split())
    if kind < 0.85:
        unknown = rng.random()
        other = (
            choose(_OTHER_COLOURS, rng) if unknown < 0.5
            else _made_up(rng) if unknown < 0.75
            else misspelt(colour, rng)
        )  # fmt: skip
        return _order(colour, rng).replace(colour, other if other not in COLOURS else "purple")
    if kind < 0.93:  # no verb
        return f"{'the ' if rng.random() < 0.5 else ''}{colour} {choose(NOUNS, rng)}"
    order = _place_order(colour, rng)
    for names in place.NAMES.values():
        for name in names:
            order = order.replace(f" {name}", f" {choose(_OTHER_PLACES, rng)}")
    return order


def _order(colour: str, rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.35:
        return touch.say(Asked("touch", colour), rng)
    return pick.say(Asked("pick", colour), rng) if kind < 0.65 else _place_order(colour, rng)


def _place_order(colour: str, rng: np.random.Generator) -> str:
    return place.say(Asked("place", colour, choose(PLACES, rng)), rng)


def _made_up(rng: np.random.Generator) -> str:
    return "".join(choose(string.ascii_lowercase, rng) for _ in range(int(rng.integers(3, 8))))


TASK = TaskDefinition(
    "stay", Kind.STAY, ("",), is_done, 5.0, say,
    words_of(_STILL, _NOTHING_TO_DO, _NOT, _OTHER_COLOURS, _OTHER_PLACES, FILLERS), names_cube=False,
)  # fmt: skip
