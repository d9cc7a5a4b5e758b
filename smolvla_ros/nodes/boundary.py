"""Where callbacks, timers, services and threads of a node may fail, and what happens then. The only such place.

What a user or a message can do wrong is refused where it is checked. An exception that comes as far as this is a bug,
and must neither end the process in motion nor pass in silence: it is counted, told once with its traceback, and handed
to the node, which does what is safe (the controller brakes and holds). The node goes on answering.
"""

from __future__ import annotations

import functools
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock as RosClock
from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.parameter_service import ParameterService
from rclpy.time_source import TimeSource
from rosgraph_msgs.msg import Clock

from smolvla_ros.stamps import stamp_ns


class ErrorBoundary:
    """Counts and tells errors. Any thread may use it.

    Args:
        tell: takes the text for the log, once for each place.
        on_error: takes one sentence, every time; called in the thread that failed.
    """

    def __init__(self, tell: Callable[[str], object], on_error: Callable[[str], object]):
        self._tell, self._on_error = tell, on_error
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @property
    def errors(self) -> int:
        """How many there were."""
        with self._lock:
            return self._counts.total()

    def report(self, where: str, error: Exception) -> None:
        """Something failed that must not."""
        with self._lock:
            self._counts[where] += 1
            is_first = self._counts[where] == 1
        sentence = f"internal error in {where}: {type(error).__name__}: {error}"
        if is_first:
            self._tell(f"{sentence}; told once\n{''.join(traceback.format_exception(error))}")
        self._on_error(sentence)

    def guarded(self, function: Callable[..., Any], otherwise: Callable[..., Any] = lambda *_: None) -> Any:
        """The function without exceptions; instead of one it gives what `otherwise` makes of its arguments."""
        where = getattr(function, "__name__", "") or getattr(getattr(function, "func", None), "__name__", "a callback")

        @functools.wraps(function)  # rclpy looks at the signature
        def call(*args: Any) -> Any:
            try:
                return function(*args)
            except Exception as error:
                self.report(where, error)
                return otherwise(*args)

        return call

# rclpy looks at each in turn, and more than a node has are no honest request: 20 000 kept it busy for a second.
_MOST_PARAMETERS = 1000
# How long use_sim_time waits for the first /clock before it says so, and how often it does [s].
_CLOCK_PATIENCE_S, _CLOCK_REMINDER_S = 3.0, 10.0


class GuardedNode(Node):
    """A node with every callback inside of an `ErrorBoundary`, those of rclpy itself as well.

    /clock with a time that is none, such as one before 0, is refused and counted; rclpy would raise.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.boundary = ErrorBoundary(lambda text: self.get_logger().fatal(text), self.internal_error)
        self.clock_messages_refused = self.requests_refused = 0
        super().__init__(*args, **kwargs)
        self._clock_look = self.create_timer(
            _CLOCK_PATIENCE_S, self._look_at_clock, clock=RosClock(clock_type=ClockType.STEADY_TIME)
        )

    def internal_error(self, sentence: str) -> None:
        """Does what is safe after a bug; in the thread that failed."""

    def health(self) -> dict[str, str]:
        """For diagnostics: what must not happen, and how often it did."""
        return {
            "internal_errors": str(self.boundary.errors),
            "clock_messages_refused": str(self.clock_messages_refused),
            "requests_refused": str(self.requests_refused),
        }

    def create_subscription(self, msg_type: Any, topic: str, callback: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(getattr(callback, "__self__", None), TimeSource):
            callback = functools.partial(self._on_clock, callback)
        return super().create_subscription(msg_type, topic, self.boundary.guarded(callback), *args, **kwargs)

    def create_timer(self, timer_period_sec: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        return super().create_timer(timer_period_sec, self.boundary.guarded(callback), *args, **kwargs)

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, *args: Any, **kwargs: Any) -> Any:
        of_rclpy = isinstance(getattr(callback, "__self__", None), ParameterService)
        guarded = self._refusing_service(callback) if of_rclpy else self._guarded_service(callback)
        return super().create_service(srv_type, srv_name, guarded, *args, **kwargs)

    def _guarded_service(self, callback: Callable[..., Any]) -> Any:
        """Where it fails, the answer is an empty one: `success` is false."""
        return self.boundary.guarded(callback, lambda _, response: type(response)())

    def _refusing_service(self, callback: Callable[..., Any]) -> Any:
        """One of rclpy's, which raises on requests that it cannot read, such as a parameter of type 254."""

        @functools.wraps(callback)
        def call(request: Any, response: Any) -> Any:
            try:
                _check_size(request)
                return callback(request, response)
            except Exception as error:
                self.requests_refused += 1
                text = f"request {type(request).__name__} refused: {type(error).__name__}: {error}"
                self.get_logger().warning(text, throttle_duration_sec=5.0)
                return _refusal(request, type(response)(), text)

        return call

    def _look_at_clock(self) -> None:
        """Under use_sim_time everything waits for /clock, and nothing would say so."""
        clock: Any = self.get_clock()
        if not clock.ros_time_is_active or clock.now().nanoseconds:
            self._clock_look.cancel()
            return
        publishers = self.get_publishers_info_by_topic("/clock")
        names = ", ".join(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in publishers)
        why = f"{names} publishes none: is the simulation paused?" if names else "nobody publishes it"
        text = f"no /clock yet, which use_sim_time waits for: {why}"
        self.get_logger().warning(text, throttle_duration_sec=_CLOCK_REMINDER_S)

    def _on_clock(self, take: Callable[[Clock], None], message: Clock) -> None:
        if stamp_ns(message.clock) >= 0:
            take(message)
            return
        self.clock_messages_refused += 1
        told = f"{message.clock.sec} s {message.clock.nanosec} ns"
        self.get_logger().warning(f"/clock refused: {told} is no time; who publishes it?", throttle_duration_sec=5.0)


def _check_size(request: Any) -> None:
    size = max(len(getattr(request, name, ())) for name in ("names", "prefixes", "parameters"))
    if size > _MOST_PARAMETERS:
        raise ValueError(f"{size} parameters, at most {_MOST_PARAMETERS} are looked at in one request")


def _refusal(request: Any, response: Any, reason: str) -> Any:
    """The answer to a request about parameters that was not carried out."""
    refused = SetParametersResult(successful=False, reason=reason)
    if isinstance(getattr(response, "result", None), SetParametersResult):
        response.result = refused
    elif hasattr(response, "results"):
        response.results = [refused] * len(request.parameters)
    return response
