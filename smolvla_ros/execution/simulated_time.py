"""ROS time under use_sim_time: between two messages on /clock, and the instants at which the controller steps by it.

/clock comes at 10 to 1000 Hz with the jitter of an executor, from a simulation that runs faster or slower than real
time or not at all. A plan sampled at the last message moves in steps, and a limiter that counts wall time would brake
an arm that lives in simulated time. So time goes on between the messages at the rate that they had, and the controller
takes one step for each of its periods of ROS time: two in one tick at twice real time, none while the clock stands.

Thread-safe: one lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

# The rate is that of the messages of the last so many ns; over less than the second figure it is taken to be 1.
_WINDOW_NS = 1_000_000_000
_LEAST_WINDOW_NS = 50_000_000
_RECENT_NS = 250_000_000
# An error against the clock is made up for within this time; beyond so much, time starts anew at the clock.
_SLEW_NS = 200_000_000
_SLEW_LIMIT_NS = 500_000_000
# Without a message, time goes on for so many of their intervals.
_AHEAD_INTERVALS = 1.5
# More steps in one tick are a jump.
_MOST_STEPS = 50


class SimulatedTime:
    """A continuous, never decreasing ROS time out of what /clock says; see the module.

    Args:
        period_ns: ROS time between two steps of the controller.
    """

    def __init__(self, period_ns: int):
        self._period_ns = period_ns
        self._lock = threading.Lock()
        self._restart(0, 0)
        self._stepped_ns: int | None = None

    def now_ns(self, heard_ns: int, steady_ns: int) -> int:
        """The ROS time at `steady_ns`, when /clock has last said `heard_ns`."""
        with self._lock:
            return self._read(heard_ns, steady_ns)

    def due(self, heard_ns: int, steady_ns: int) -> Sequence[int]:
        """The instants of ROS time at which the controller is to step now, a period apart; for one caller."""
        with self._lock:
            now_ns = self._read(heard_ns, steady_ns)
            last_ns = self._stepped_ns
            if last_ns is None or not 0 <= now_ns - last_ns <= _MOST_STEPS * self._period_ns:
                instants: Sequence[int] = (now_ns,)
            else:
                instants = range(last_ns + self._period_ns, now_ns + 1, self._period_ns)
            if instants:
                self._stepped_ns = instants[-1]
            return instants

    def _restart(self, heard_ns: int, steady_ns: int) -> None:
        self._heard: deque[tuple[int, int]] = deque([(steady_ns, heard_ns)])
        self._longest_ns = 0
        # now = base + rate * (steady - since), up to the limit.
        self._since_ns, self._base_ns, self._rate = steady_ns, heard_ns, 1.0
        self._last_ns = heard_ns

    def _read(self, heard_ns: int, steady_ns: int) -> int:
        self._go_on(steady_ns)
        if heard_ns != self._heard[-1][1]:
            self._hear(heard_ns, steady_ns)
        return self._last_ns

    def _go_on(self, steady_ns: int) -> None:
        limit_ns = self._heard[-1][1] + round(_AHEAD_INTERVALS * self._longest_ns)
        now_ns = min(self._base_ns + round(self._rate * (steady_ns - self._since_ns)), limit_ns)
        self._last_ns = max(self._last_ns, now_ns)

    def _hear(self, heard_ns: int, steady_ns: int) -> None:
        heard = self._heard
        if heard_ns < heard[-1][1] or abs(heard_ns - self._last_ns) > _SLEW_LIMIT_NS:
            self._restart(heard_ns, steady_ns)
            return
        heard.append((steady_ns, heard_ns))
        while len(heard) > 2 and steady_ns - heard[0][0] > _WINDOW_NS:
            heard.popleft()
        self._longest_ns = max(after[1] - before[1] for before, after in zip(heard, list(heard)[1:], strict=False))
        span_ns = steady_ns - heard[0][0]
        rate = (heard_ns - heard[0][1]) / span_ns if span_ns >= _LEAST_WINDOW_NS else 1.0
        # A message is never heard before it was sent, only later: the earliest tell where the clock is.
        target_ns = max(
            said_ns + rate * (steady_ns - at_ns) for at_ns, said_ns in heard if steady_ns - at_ns <= _RECENT_NS
        )
        # From where time stands now, at the clock's rate and a little faster or slower, never back.
        self._since_ns, self._base_ns = steady_ns, self._last_ns
        self._rate = min(max(rate + (target_ns - self._last_ns) / _SLEW_NS, 0.0), 2.0 * rate)
