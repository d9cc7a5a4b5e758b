"""The task in words: which colours there are, and how people ask for a cube to be touched."""

from __future__ import annotations

import itertools

import numpy as np

COLOURS = ("red", "green", "blue", "yellow")

VERBS = (
    "touch", "tap", "poke", "press", "contact", "find", "reach", "reach for", "reach out to", "go to", "go over to",
    "go and touch", "move to", "move over to", "move the arm to", "move the gripper to", "bring the gripper to",
    "put the gripper on", "put a finger on", "come to", "head for", "get to",
)  # fmt: skip
NOUNS = ("cube", "block", "box", "one")
OPENINGS = ("", "please ", "now ", "can you ", "and now ")
ENDINGS = ("", " please", " now")


def instructions(colour: str) -> list[str]:
    """Plain wordings for touching the cube of one colour, in lower case and without a full stop."""
    phrases = itertools.product(OPENINGS, VERBS, NOUNS, ENDINGS)
    return [f"{opening}{verb} the {colour} {noun}{ending}" for opening, verb, noun, ending in phrases]


def draw_instruction(colour: str, rng: np.random.Generator) -> str:
    """A wording at random; half of them plain ('poke the red block'), some with a capital and a full stop."""
    opening, ending = ("", "") if rng.random() < 0.5 else (rng.choice(OPENINGS), rng.choice(ENDINGS))
    text = f"{opening}{rng.choice(VERBS)} the {colour} {rng.choice(NOUNS)}{ending}"
    if rng.random() < 0.2:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < 0.2 else text
