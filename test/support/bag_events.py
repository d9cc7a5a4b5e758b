"""Messages with the time at which they were received, to be written into a bag."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from smolvla_ros.bags.messages import MessageTypes


@dataclass(frozen=True)
class Event:
    """One message: full topic name, when it was received, and the message."""

    topic: str
    log_ns: int
    message: Any

    @property
    def type(self) -> str:
        return self.message.__msgtype__

    @property
    def data(self) -> bytes:
        """As the bag holds it."""
        return types().serialise(self.message)


@functools.cache
def types() -> MessageTypes:
    """The message types; `types().store.types[name]` makes messages."""
    return MessageTypes({})


def message(type_name: str, **fields: Any) -> Any:
    """A message of rosbags: `message("std_msgs/msg/String", data="x")`."""
    return types().store.types[type_name](**fields)


def stamp(time_ns: int) -> Any:
    return message("builtin_interfaces/msg/Time", sec=time_ns // 10**9, nanosec=time_ns % 10**9)


def header(time_ns: int, frame: str = "") -> Any:
    return message("std_msgs/msg/Header", stamp=stamp(time_ns), frame_id=frame)


def is_image(event: Event) -> bool:
    return event.type == "sensor_msgs/msg/Image"
