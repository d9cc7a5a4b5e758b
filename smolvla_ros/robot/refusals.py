"""Messages that are not believed: typed reasons, their counters, and the one rule for stamps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Refusal(StrEnum):
    """Why an image or a joint state was refused. The value is the name of its counter."""

    NEGATIVE_STAMP = "negative_stamp"
    ZERO_STAMP = "zero_stamp"
    FUTURE_STAMP = "future_stamp"
    OLD_STAMP = "old_stamp"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    LENGTHS_DIFFER = "lengths_differ"
    DUPLICATE_JOINT = "duplicate_joint"
    NOT_FINITE = "not_finite"
    ENCODING = "encoding"
    SIZE = "size"
    LAYOUT = "layout"
    NO_PICTURE = "no_picture"
    BROKEN = "broken"


class RefusedMessage(ValueError):
    """A message that is not used; `reason` is typed, the text says what was found and what was expected."""

    def __init__(self, reason: Refusal, text: str):
        self.reason = reason
        super().__init__(text)


class Refusals:
    """What was refused of one stream. Not locked.

    Attributes:
        counts: messages by reason, since the stream exists.
        text: why the first one since the last good message was refused; empty if that was the last. It stays the same
            while a stream is bad, however the numbers in later reasons differ: what is told with it is told once.
    """

    def __init__(self) -> None:
        self.counts: Counter[Refusal] = Counter()
        self.text = ""

    @property
    def total(self) -> int:
        return self.counts.total()

    def add(self, error: RefusedMessage) -> None:
        self.counts[error.reason] += 1
        self.text = self.text or str(error)

    def accepted(self) -> None:
        """A good message came."""
        self.text = ""


@dataclass(frozen=True)
class StampRule:
    """Which stamps are believed, of images and of joint states, in both nodes and in bags.

    max_age_ns: of a message when it arrives.
    future_tolerance_ns: how far ahead of the clock a stamp may lie.
    accept_zero: a stamp of zero is taken for the time of reception; else it is refused.
    """

    max_age_ns: int
    future_tolerance_ns: int
    accept_zero: bool

    def checked(self, stamp_ns: int, now_ns: int) -> int:
        """The instant [ns] at which something was measured that arrived at `now_ns`, both on the ROS clock.

        Raises:
            RefusedMessage: the stamp cannot be believed.
        """
        if stamp_ns == 0:
            if self.accept_zero:
                return now_ns
            raise RefusedMessage(
                Refusal.ZERO_STAMP,
                "stamp is zero, expected the time of measurement; 'accept_zero_stamps' takes the time of reception",
            )
        if stamp_ns < 0:
            raise RefusedMessage(Refusal.NEGATIVE_STAMP, f"stamp is {stamp_ns / 1e9:.3f} s, expected a time after 0")
        age_ns = now_ns - stamp_ns
        if age_ns < -self.future_tolerance_ns:
            raise RefusedMessage(
                Refusal.FUTURE_STAMP,
                f"stamp is {-age_ns / 1e9:.3f} s in the future, allowed {self.future_tolerance_ns / 1e9:g} s: do the "
                "clocks of two machines differ, or use_sim_time of two nodes?",
            )
        if age_ns > self.max_age_ns:
            raise RefusedMessage(
                Refusal.OLD_STAMP,
                f"stamp is {age_ns / 1e9:.3f} s old, allowed {self.max_age_ns / 1e9:g} s: do the clocks of two "
                "machines differ, or use_sim_time of two nodes?",
            )
        return stamp_ns
