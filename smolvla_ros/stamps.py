"""Stamps of messages as plain integers, read in one place.

`rclpy.time.Time.from_msg` raises on a negative second, which anybody may send; nothing that comes from outside may end
a callback with an exception.
"""

from __future__ import annotations

from typing import Any


def stamp_ns(time: Any) -> int:
    """A builtin_interfaces/Time, of rclpy or of a bag, in ns; negative if its seconds are."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)
