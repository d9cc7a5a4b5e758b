"""Time that its owner drives: a steady clock, and the ROS clock, which may be coarse, fast or set back."""

from __future__ import annotations


class VirtualClock:
    """Two clocks that start together at `start_ns`.

    Args:
        start_ns: of both.
        rate: time of the ROS clock per time of the steady one; 0: paused. May be changed at any time.
        tick_ns: the ROS clock moves in steps of so much, as one that is published on /clock; 0: continuously.
    """

    def __init__(self, start_ns: int, rate: float = 1.0, tick_ns: int = 0):
        self.steady_ns = start_ns
        self.rate = rate
        self._origin_ns = start_ns
        self._since_ns = 0.0  # on the ROS clock; exact up to 100 days
        self._tick_ns = tick_ns

    @property
    def exact_ns(self) -> int:
        """The ROS time of whoever makes it: a simulation stamps its joint states with that."""
        return self._origin_ns + round(self._since_ns)

    @property
    def ros_ns(self) -> int:
        """What nodes read."""
        since_ns = round(self._since_ns)
        return self._origin_ns + (since_ns // self._tick_ns * self._tick_ns if self._tick_ns else since_ns)

    def advance_to(self, steady_ns: int) -> None:
        """Time passes until the steady clock shows this."""
        self._since_ns += self.rate * (steady_ns - self.steady_ns)
        self.steady_ns = steady_ns

    def set_by(self, by_ns: int) -> None:
        """Somebody sets the ROS clock, back or forward."""
        self._origin_ns += by_ns
