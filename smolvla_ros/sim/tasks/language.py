"""Pieces of sentences that the tasks share."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence

import numpy as np

NOUNS = ("cube", "block", "box", "brick", "one")
OPENINGS = ("please", "now", "can you", "could you", "and now", "ok", "then")
ENDINGS = ("please", "now", "for me", "thanks")
FILLERS = (*OPENINGS, *ENDINGS, "the")

_TYPOS = 0.06  # of all instructions


def words_of(*groups: Iterable[str]) -> frozenset[str]:
    """Every word of some phrases."""
    return frozenset(word for group in groups for phrase in group for word in phrase.split())


def choose(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def sentence(verb: str, noun: str, rest: Sequence[str], rng: np.random.Generator) -> str:
    """A phrase with or without filler and a slip of the finger; `rest` has one '{verb}' and one '{noun}'.

    Letter cases are no part of it: the policy reads all in lower case.
    """
    slip = rng.random() < _TYPOS
    in_verb = rng.random() < 0.5
    verb = misspelt(verb, rng) if slip and in_verb else verb
    noun = misspelt(noun, rng) if slip and not in_verb else noun
    text = " ".join(rest).format(verb=verb, noun=noun)
    return with_filler(text, rng)


def with_filler(text: str, rng: np.random.Generator) -> str:
    """Half of them plain, the rest with an opening or an ending."""
    if rng.random() < 0.3:
        text = f"{choose(OPENINGS, rng)} {text}"
    if rng.random() < 0.15:
        text = f"{text} {choose(ENDINGS, rng)}"
    return text


def misspelt(phrase: str, rng: np.random.Generator) -> str:
    """One letter of one word left out, doubled, replaced, or swapped with the next; words of up to two letters stay."""
    words = phrase.split()
    long = [i for i, word in enumerate(words) if len(word) > 2]
    if not long:
        return phrase
    at = long[int(rng.integers(len(long)))]
    word = words[at]
    place = int(rng.integers(len(word) - 1))
    letter = choose(string.ascii_lowercase, rng)
    words[at] = (
        word[:place] + word[place + 1 :],
        word[: place + 1] + word[place:],
        word[:place] + letter + word[place + 1 :],
        word[:place] + word[place + 1] + word[place] + word[place + 2 :],
    )[int(rng.integers(4))]
    return " ".join(words)
