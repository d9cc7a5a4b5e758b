"""Which instruction was in force, as the policy knew it: the one rule of replay and export."""

from __future__ import annotations

from collections.abc import Callable

from .errors import BagError
from .messages import Recorded
from .streams import Streams, described


class InstructionInForce:
    """Follows the messages on which instructions are told (`topics`), in the order of their log times.

    Where the policy says in its description what it acts on, that counts: what it refused is on the topic alone. An
    empty instruction ends motion at once, whoever heard it, since the controller brakes on it by itself.

    Args:
        streams: of the bag.
        check: raises a ValueError for a text that the policy which is replayed cannot read.

    Attributes:
        text: the instruction in force; '' for none.
        ignored: texts on the topic that the policy did not take, and how often.
    """

    def __init__(self, streams: Streams, check: Callable[[str], None] = lambda text: None):
        self.text = ""
        self.ignored: dict[str, int] = {}
        self._topic, self._policy_tells = streams.instruction, streams.policy_tells_instruction
        self.topics = streams.instructions
        self._check = check
        self._asked = ""  # on the topic, and not yet answered by the policy

    def put(self, recorded: Recorded) -> str:
        """Takes a message; returns why it is not followed, '' if it is or says nothing."""
        is_asked = recorded.topic == self._topic
        try:
            text = recorded.message.data.strip() if is_asked else described(recorded).get("instruction")
        except BagError as error:
            if not self._policy_tells:
                self.text = ""  # nobody knows what came after it
            return str(error)
        if not isinstance(text, str):
            return ""
        if is_asked and self._policy_tells and text:
            self._ask(text)
            return ""
        return self._follow(text)

    def finish(self) -> None:
        """The bag is at its end: what was not answered was ignored."""
        self._ask("")

    def _ask(self, text: str) -> None:
        if self._asked:
            self.ignored[self._asked] = self.ignored.get(self._asked, 0) + 1
        self._asked = "" if text == self.text else text

    def _follow(self, text: str) -> str:
        if text == self._asked:
            self._asked = ""
        if text:
            try:
                self._check(text)
            except ValueError as error:
                return str(error)
        self.text = text
        return ""
