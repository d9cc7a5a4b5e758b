"""The words that a policy was trained on, where its checkpoint lists them, and those of an instruction it never saw.

A policy does something with any text; with words that it has never seen, nobody can say what.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Literal

UnseenWords = Literal["accept", "refuse"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class TrainedWords:
    """The words of training, in any case; none at all means that nobody knows."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        self._words = frozenset(word.lower() for word in words)

    def unseen(self, instruction: str) -> list[str]:
        """The instruction's words, in lower case, that are not among them: each once, in order."""
        if not self._words:
            return []
        said = (word.replace("’", "'") for word in _WORD.findall(instruction.lower()))
        return list(dict.fromkeys(word for word in said if word not in self._words))

    def remark(self, instruction: str) -> str:
        """A phrase about the unseen words, with what may have been meant: 'never seen in training: gren (green?)'."""
        named = [word + self._guess(word) for word in self.unseen(instruction)]
        return f"never seen in training: {', '.join(named)}" if named else ""

    def _guess(self, word: str) -> str:
        near = difflib.get_close_matches(word, sorted(self._words), n=1, cutoff=0.75)
        return f" ({near[0]}?)" if near else ""
