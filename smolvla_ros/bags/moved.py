"""A bag whose log times are moved: for one that was recorded on a machine with another clock than the robot's.

The policy node compares stamps with its own clock. In a replay the log times stand for that clock, so where recorder
and robot disagree, or the stamps are simulation time, everything looks too old or too new until one of them is moved.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from .errors import BagError
from .messages import Recorded, Topic
from .reader import Bag

_LOOKED_AT = 1000


class MovedBag:
    """As `Bag`, with `by_ns` added to all log times."""

    def __init__(self, bag: Bag, by_ns: int):
        self.by_ns = by_ns
        self._bag = bag

    @property
    def path(self) -> Path:
        return self._bag.path

    @property
    def topics(self) -> Mapping[str, Topic]:
        return self._bag.topics

    @property
    def start_ns(self) -> int:
        return self._bag.start_ns + self.by_ns

    @property
    def end_ns(self) -> int:
        return self._bag.end_ns + self.by_ns

    @property
    def defects(self) -> list[str]:
        return self._bag.defects

    def read(
        self, topics: Collection[str], start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[Recorded]:
        """As `Bag.read`, for moved times."""
        start_ns, end_ns = (None if time_ns is None else time_ns - self.by_ns for time_ns in (start_ns, end_ns))
        for recorded in self._bag.read(topics, start_ns, end_ns):
            yield replace(recorded, log_ns=recorded.log_ns + self.by_ns)


def moved(bag: Bag, offset: str, joint_states: Collection[str]) -> Bag | MovedBag:
    """The bag as the option --clock-offset wants it: '' as it is, moved by seconds, or by 'auto'.

    'auto' moves it so that the first thousand messages on `joint_states` arrive when they are stamped, in the median.

    Raises:
        BagError: the option is none of these, or the joint states have no stamps.
    """
    if not offset:
        return bag
    if offset == "auto":
        return MovedBag(bag, _clock_offset_ns(bag, joint_states))
    try:
        return MovedBag(bag, round(float(offset) * 1e9))
    except (ValueError, OverflowError):
        raise BagError(f"--clock-offset is '{offset}', expected seconds or 'auto'") from None


def _clock_offset_ns(bag: Bag, topics: Collection[str]) -> int:
    offsets = []
    for recorded in itertools.islice(bag.read(topics), _LOOKED_AT):
        try:
            stamp = recorded.message.header.stamp
        except BagError:
            continue
        if stamp.sec or stamp.nanosec:
            offsets.append(stamp.sec * 10**9 + stamp.nanosec - recorded.log_ns)
    if not offsets:
        where = " or ".join(topics)
        raise BagError(f"{bag.path}: --clock-offset is 'auto', but no message on {where} has a stamp; give seconds")
    return int(np.median(np.array(offsets, np.int64)))
