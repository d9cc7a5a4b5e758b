"""Playing a bag, without ROS: which topics, how they were offered, when each message is due, reading ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolvla_ros.parameters.controller import ControllerParameters

from .errors import BagError
from .messages import Recorded, Topic
from .names import StreamNames
from .reader import Bag
from .storage.metadata import read_metadata
from .streams import CHUNK_TYPE, DESCRIBED_NODES, IMAGE_TYPES, STATUS_TYPE, command_topics

# What the nodes that are brought up say themselves.
_OWN_TYPES = frozenset({CHUNK_TYPE, STATUS_TYPE, "diagnostic_msgs/msg/DiagnosticArray", "rosgraph_msgs/msg/Clock",
                        "lifecycle_msgs/msg/TransitionEvent", "rcl_interfaces/msg/Log",
                        "rcl_interfaces/msg/ParameterEvent"})  # fmt: skip
_USUALLY_LATCHED = ("instruction", "robot_description", "task_success", "task_verdict", "tf_static")
_AHEAD = 128


def robot_topics(
    topics: Mapping[str, Topic], parameters: ControllerParameters | None, names: StreamNames
) -> list[str]:
    """The topics of a bag that its robot said: all but those that policy and controller say.

    Args:
        topics: of the bag.
        parameters: of the controller, for the names of the command topics; None: they are not known.
        names: resolves the names of those parameters.
    """
    own = {names.resolve(f"{node}/{topic}") for node in DESCRIBED_NODES for topic in ("description", "instance")}
    own |= {names.resolve(topic) for topic in command_topics(parameters)} if parameters is not None else set()
    return [name for name, topic in topics.items() if topic.type not in _OWN_TYPES and name not in own]


@dataclass(frozen=True)
class Offer:
    """How a topic is published."""

    reliable: bool
    latched: bool


def recorded_offers(bag: Path, topics: Mapping[str, Topic]) -> dict[str, Offer]:
    """How the topics of a bag were published, by topic: as metadata.yaml tells, else as is usual."""
    profiles = read_metadata(bag).profiles
    return {name: _offer(topic, profiles.get(name, ())) for name, topic in topics.items()}


def _offer(topic: Topic, profiles: Sequence[Mapping[str, Any]]) -> Offer:
    """Names since version 9, numbers before; reliable and transient local are 1 in both enumerations."""
    if not profiles:
        latched = topic.name.rpartition("/")[2] in _USUALLY_LATCHED
        return Offer(reliable=latched or topic.type not in IMAGE_TYPES.values(), latched=latched)
    reliable = any(profile.get("reliability") in (1, "reliable") for profile in profiles)
    return Offer(reliable, all(profile.get("durability") in (1, "transient_local") for profile in profiles))


class BagClock:
    """The time of the bag as a function of a steady clock: runs at a rate, stands still while paused.

    Not locked; times in ns.
    """

    def __init__(self, bag_ns: int, rate: float):
        self._rate = rate
        self._bag_ns, self._since_ns = bag_ns, 0
        self.paused = True

    def now_ns(self, steady_ns: int) -> int:
        """The bag's time at an instant of the steady clock."""
        passed_ns = 0 if self.paused else round((steady_ns - self._since_ns) * self._rate)
        return self._bag_ns + passed_ns

    def wait_ns(self, bag_ns: int, steady_ns: int) -> int:
        """How long it takes on the steady clock until the bag's time is `bag_ns`; negative: it is past."""
        return round((bag_ns - self.now_ns(steady_ns)) / self._rate)

    def pause(self, steady_ns: int) -> None:
        self._bag_ns, self.paused = self.now_ns(steady_ns), True

    def resume(self, steady_ns: int) -> None:
        if self.paused:
            self._since_ns, self.paused = steady_ns, False

    def set(self, bag_ns: int, steady_ns: int) -> None:
        """Jumps to a time of the bag; a pause goes on."""
        self._bag_ns, self._since_ns = bag_ns, steady_ns


def lap(bag: Bag, topics: Collection[str], latched: Collection[str], start_ns: int) -> Iterator[Recorded]:
    """The messages from `start_ns` on, in the order of their log times.

    First come the last messages before that of latched topics, which still hold at `start_ns`.
    """
    still_held: dict[str, Recorded] = {}
    if start_ns > bag.start_ns:
        still_held = {m.topic: m for m in bag.read(set(topics) & set(latched), end_ns=start_ns - 1)}
    yield from sorted(still_held.values(), key=lambda message: message.log_ns)
    yield from bag.read(topics, start_ns=start_ns)


def read_ahead(messages: Callable[[], Iterator[Recorded]]) -> Generator[Recorded]:
    """Iterates over `messages()` in a thread of its own, so that decompressing does not make a message late.

    Closing the generator ends the thread. What the iteration raises is raised here.
    """
    ahead: queue.Queue[Recorded | BaseException | None] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def put(item: Recorded | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return ahead.put(item, timeout=0.1)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for message in messages():
                put(message)
                if stop.is_set():
                    return
            put(None)
        except (BagError, OSError) as error:
            put(error)

    thread = threading.Thread(target=read, name="reading ahead", daemon=True)
    thread.start()
    try:
        while (item := ahead.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
