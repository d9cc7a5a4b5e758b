"""Stamps of messages as plain integers, read in one place.

`rclpy.time.Time.from_msg` raises on a negative second, which anybody may send; nothing that comes from outside may end
a callback with an exception.
"""

from __future__ import annotations

from typing import Any

_SECOND_NS = 1_000_000_000
NO_TIME_NS = -1


def stamp_ns(time: Any) -> int:
    """A builtin_interfaces/Time, of rclpy or of a bag, in ns; negative: it is no time."""
    return checked_ns(time.sec, time.nanosec)


def checked_ns(seconds: int, nanoseconds: int) -> int:
    """The fields of a Time in ns; negative if seconds are, or if nanoseconds are a second and more."""
    if not 0 <= nanoseconds < _SECOND_NS:
        return NO_TIME_NS
    return int(seconds) * _SECOND_NS + int(nanoseconds)
