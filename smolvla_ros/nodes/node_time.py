"""The ROS clock as the controller reads it: the system's without rclpy's detour, or a simulated one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rclpy.clock import Clock

from smolvla_ros.execution.simulated_time import SimulatedTime


class NodeTime:
    """Any thread may ask for `now_ns`; `due` is for the control thread.

    Args:
        clock: of the node.
        period_ns: between two steps of the controller.
    """

    def __init__(self, clock: Clock, period_ns: int):
        self._clock: Any = clock  # a ROSClock: what rclpy calls its type lacks half of it
        self._period_ns = period_ns
        self.restart()

    def restart(self) -> None:
        """Forgets the steps made so far: before a control thread starts."""
        self._simulated = SimulatedTime(self._period_ns)

    def now_ns(self) -> int:
        """ROS time. Where it is the system's, rclpy's own way to it takes as long as publishing a command."""
        if not self._clock.ros_time_is_active:
            return time.time_ns()
        return self._simulated.now_ns(self._clock.now().nanoseconds, time.monotonic_ns())

    def due(self, deadline_ns: int, steady_ns: int) -> Sequence[int]:
        """The instants at which the controller is to step in the tick that was due at `deadline_ns` (steady clock)."""
        if self._clock.ros_time_is_active:
            return self._simulated.due(self._clock.now().nanoseconds, steady_ns)
        # The plan is sampled for the instant that was meant, without the jitter.
        return (time.time_ns() - (steady_ns - deadline_ns),)
