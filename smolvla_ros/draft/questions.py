"""What nobody but a person knows: asked on a terminal, else refused with the option that says it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

_Choice = TypeVar("_Choice", bound=str)


class DraftError(ValueError):
    """The file cannot be written with what is known; the text says what is missing and which option gives it."""


class Questions:
    """Asks a person, if there is one.

    Args:
        ask: takes a question and the possible answers and returns one of these; None: there is nobody.
    """

    def __init__(self, ask: Callable[[str, Sequence[str]], str] | None = None):
        self._ask = ask

    def choose(self, question: str, choices: Sequence[_Choice], option: str) -> _Choice:
        """One of the choices.

        Raises:
            DraftError: there is nobody to ask, or nothing to choose from.
        """
        if not choices or self._ask is None:
            there = f" (there are {', '.join(choices)})" if choices else ""
            raise DraftError(f"{question}{there}: give {option}")
        answer = self._ask(question, choices)
        return next(choice for choice in choices if choice == answer)
