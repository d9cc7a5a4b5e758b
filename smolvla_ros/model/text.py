"""The instruction: what is accepted, and how it becomes token ids."""

from __future__ import annotations

import logging
import unicodedata
from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer

from smolvla_ros.model.errors import InstructionError
from smolvla_ros.model.words import TrainedWords, UnseenWords

_log = logging.getLogger(__name__)

# Far above any instruction; at worst normalising takes 4 ms for so many, and quadratic time for more.
_MAX_CHARACTERS = 2_000
Overlong = Literal["cut", "refuse"]


@dataclass(frozen=True)
class TextSettings:
    """How the checkpoint was trained to read text.

    `truncation` False: LeRobot up to 0.3 fed the whole text, however long. `cut_side` is the end that truncation
    removes. Padding is not here: padded tokens are masked everywhere and change nothing.
    """

    max_length: int = 48
    truncation: bool = True
    cut_side: Literal["left", "right"] = "right"
    ends_with_newline: bool = True


@dataclass(frozen=True)
class Tokens:
    """Token ids of an instruction and whether some were cut off."""

    ids: list[int]
    truncated: bool


class InstructionReader:
    """Checks and tokenises instructions for one checkpoint; any thread may use it, for it never changes."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        settings: TextSettings,
        overlong: Overlong = "cut",
        words: TrainedWords | None = None,
        unseen: UnseenWords = "accept",
    ) -> None:
        """`overlong` says what happens beyond `settings.max_length` tokens: cut with a warning, or refused; `unseen`
        what happens to words that are not among `words`."""
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.settings = settings
        self.overlong = overlong
        self.words = words or TrainedWords()
        self.unseen = unseen
        self._tokenizer = tokenizer
        self._special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]

    def read(self, instruction: str) -> Tokens:
        """The token ids of an instruction.

        Raises:
            InstructionError: empty, control characters, special tokens of the model, or too long where refused.
        """
        text = self._checked(instruction)
        if self.settings.ends_with_newline:
            text += "\n"
        ids, limit = self._tokenizer.encode(text).ids, self.settings.max_length
        if len(ids) <= limit:
            return Tokens(ids, truncated=False)
        if self.overlong == "refuse":
            raise InstructionError(
                f"the instruction has {len(ids)} tokens, the policy was trained with at most {limit}; shorten it"
            )
        if not self.settings.truncation:
            _log.warning("the instruction has %d tokens, more than the %d of training", len(ids), limit)
            return Tokens(ids, truncated=False)
        kept = ids[-limit:] if self.settings.cut_side == "left" else ids[:limit]
        end = "beginning" if self.settings.cut_side == "left" else "end"
        _log.warning("the instruction has %d tokens, its %s was cut to %d, as in training", len(ids), end, limit)
        return Tokens(kept, truncated=True)

    def check(self, instruction: str) -> None:
        """Whether an instruction may be given to the policy.

        Raises:
            InstructionError: it cannot be read, or has words never seen in training and those are refused.
        """
        self.read(instruction)
        if self.unseen == "refuse" and (remark := self.words.remark(instruction)):
            raise InstructionError(f"{remark}; say it in the words of training, or set unseen_words to 'accept'")

    def _checked(self, instruction: str) -> str:
        """The instruction in NFC without trailing newline, if it is nothing but text."""
        if len(instruction) > _MAX_CHARACTERS:  # before anything else is done with it
            found = len(instruction)
            raise InstructionError(f"the instruction has {found} characters, at most {_MAX_CHARACTERS} are read")
        text = unicodedata.normalize("NFC", instruction).removesuffix("\n")
        if not text.strip():
            raise InstructionError("the instruction is empty; say what the robot shall do")
        for place, character in enumerate(text):
            if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
                raise InstructionError(
                    f"the instruction has the control character U+{ord(character):04X} at position {place}; "
                    "send plain text on one line"
                )
        for token in self._special:
            if token in text:
                raise InstructionError(f"the instruction contains {token!r}, a token of the model; leave it out")
        return text
