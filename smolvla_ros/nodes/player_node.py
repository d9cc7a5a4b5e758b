"""The player: publishes what a bag holds as its robot published it, and the bag's time on /clock.

Threads: `play` runs in the caller's thread and publishes everything at absolute deadlines; the executor's thread runs
the services, and `pause` and `resume` may be called by any thread. `_lock` guards the clock, `_changed` wakes `play`.

/clock comes with every message and at least every 10 ms, of the machine's time and of the bag's. So a node that uses
it sees every message at the age that it had on the robot.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from smolvla_ros.bags.messages import Recorded
from smolvla_ros.bags.playback import BagClock, Offer, lap, read_ahead, recorded_offers
from smolvla_ros.bags.reader import Bag
from smolvla_ros.log_folder import ensure_log_folder

from .boundary import GuardedNode

_CLOCK_PERIOD_NS = 10_000_000
_DEPTH = 10
_LISTENER_TIMEOUT_S = 1.0
_POLL_S = 0.02


@dataclass(frozen=True)
class PlaySettings:
    """How a bag is played.

    Attributes:
        topics: names of the bag's topics to publish.
        rate: seconds of the bag per second.
        start_s: where to begin, from the start of the bag [s].
        loop: begin again at the end; /clock then jumps back.
        paused: wait for `~/resume`.
        wait_for: names of lifecycle nodes that have to be active before the first message.
        remap: ROS remappings 'A:=B' of the topics.
    """

    topics: Sequence[str]
    rate: float = 1.0
    start_s: float = 0.0
    loop: bool = False
    paused: bool = False
    wait_for: Sequence[str] = ()
    remap: Sequence[str] = ()


@dataclass
class Played:
    """What was played: messages, laps begun, and how late the latest message was [s]."""

    messages: int = 0
    laps: int = 0
    latest_s: float = 0.0


class PlayError(RuntimeError):
    """What the bag is played to is not there; the text says why."""


class PlayerNode(GuardedNode):
    """Plays one bag; see `PlaySettings`. Topics whose message type is not installed are left out with a warning."""

    def __init__(self, bag: Bag, settings: PlaySettings, namespace: str = ""):
        remappings = [argument for rule in settings.remap for argument in ("-r", rule)]
        super().__init__("player_node", namespace=namespace, cli_args=["--ros-args", *remappings] if remappings else [])
        self._bag, self._settings = bag, settings
        self._start_ns = bag.start_ns + round(settings.start_s * 1e9)
        self._clock_period_ns = round(_CLOCK_PERIOD_NS / max(1.0, settings.rate))
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._time = BagClock(self._start_ns, settings.rate)
        self._wanted_pause, self._begun = settings.paused, False
        self._clock_sent_ns = 0
        self.played = Played()
        offers = recorded_offers(bag.path, bag.topics)
        self._latched = {topic for topic in settings.topics if offers[topic].latched}
        self._players = {topic: self._publisher(topic, offers[topic]) for topic in settings.topics}
        self._players = {topic: publisher for topic, publisher in self._players.items() if publisher is not None}
        self._clock_topic = self.create_publisher(Clock, "/clock", QoSProfile(depth=1))
        self.create_service(Trigger, "~/pause", self._on_pause)
        self.create_service(Trigger, "~/resume", self._on_resume)

    # Any thread.

    def pause(self) -> None:
        """The bag's time stands still, and with it everything that lives by /clock."""
        self._set_paused(True)

    def resume(self) -> None:
        self._set_paused(False)

    @property
    def paused(self) -> bool:
        with self._lock:
            return self._wanted_pause

    @property
    def position_s(self) -> float:
        """Where in the bag it is, from its start [s]."""
        with self._lock:
            return (self._time.now_ns(time.monotonic_ns()) - self._bag.start_ns) * 1e-9

    # The caller's thread.

    def play(self, stop: threading.Event) -> None:
        """Plays until the end of the bag (with `loop`: for ever) or until `stop` is set.

        Raises:
            PlayError: a node that was to be waited for is not active.
            BagError: nothing more can be read.
        """
        self._wait_for_nodes(stop)
        self._wait_for_listeners(stop)
        self._begun = True
        self._set_paused(self.paused)
        while not stop.is_set():
            self.played.laps += 1
            with closing(read_ahead(self._lap)) as messages:
                for message in messages:
                    if not self._wait_until(message.log_ns, stop):
                        return
                    self._publish(message)
            if not self._settings.loop:
                return
            with self._lock:
                self._time.set(self._start_ns, time.monotonic_ns())

    def _lap(self) -> Any:
        return lap(self._bag, self._players, self._latched, self._start_ns)

    def _publish(self, message: Recorded) -> None:
        with self._lock:
            late_ns = -self._time.wait_ns(max(message.log_ns, self._start_ns), time.monotonic_ns())
        self._tell_time()
        self._players[message.topic].publish(message.data)
        self.played.messages += 1
        self.played.latest_s = max(self.played.latest_s, late_ns * 1e-9)

    def _wait_until(self, bag_ns: int, stop: threading.Event) -> bool:
        """Keeps /clock running until the bag's time is `bag_ns`; False if stopped."""
        while not stop.is_set():
            now_ns = time.monotonic_ns()
            with self._lock:
                wait_ns = self._clock_period_ns if self._time.paused else self._time.wait_ns(bag_ns, now_ns)
            if wait_ns <= 0:
                return True
            clock_wait_ns = self._clock_sent_ns + self._clock_period_ns - now_ns
            if clock_wait_ns <= 0:
                self._tell_time()
            elif self._changed.wait(min(wait_ns, clock_wait_ns) * 1e-9):
                self._changed.clear()
        return False

    def _tell_time(self) -> None:
        self._clock_sent_ns = time.monotonic_ns()
        with self._lock:
            now_ns = self._time.now_ns(self._clock_sent_ns)
        self._clock_topic.publish(Clock(clock=Time(nanoseconds=now_ns).to_msg()))

    # Before the first message.

    def _wait_for_nodes(self, stop: threading.Event) -> None:
        """The nodes load for seconds; what is played meanwhile would be lost on them."""
        for name in self._settings.wait_for:
            client = self.create_client(GetState, f"{name}/get_state")
            while not client.service_is_ready():
                if self._idle(stop):
                    return
            # A node answers only once its automatic start is over, so the first answer is final.
            answer = client.call_async(GetState.Request())
            while not answer.done():
                if self._idle(stop):
                    return
            state = answer.result().current_state
            self.destroy_client(client)
            if state.id != State.PRIMARY_STATE_ACTIVE:
                raise PlayError(f"{name} is {state.label} instead of active; it says why in its log above")

    def _wait_for_listeners(self, stop: threading.Event) -> None:
        """Discovery takes a moment; who is there within a second hears the bag from its first message on."""
        give_up_s = time.monotonic() + _LISTENER_TIMEOUT_S
        while time.monotonic() < give_up_s and not all(p.get_subscription_count() for p in self._players.values()):
            if self._idle(stop):
                return

    def _idle(self, stop: threading.Event) -> bool:
        """The clock stands at the start meanwhile, so that nodes come up in the bag's time."""
        self._tell_time()
        return stop.wait(_POLL_S)

    # Anything else.

    def _set_paused(self, paused: bool) -> None:
        with self._lock:
            self._wanted_pause = paused
            if self._begun:
                (self._time.pause if paused else self._time.resume)(time.monotonic_ns())
        self._changed.set()

    def _on_pause(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.pause()
        response.success, response.message = True, "paused"
        return response

    def _on_resume(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.resume()
        response.success, response.message = True, "playing"
        return response

    def _publisher(self, topic: str, offer: Offer) -> Any:
        package, _, name = self._bag.topics[topic].type.split("/")
        try:
            kind = getattr(importlib.import_module(f"{package}.msg"), name)
        except (ImportError, AttributeError):
            self.get_logger().warning(f"{topic} is not played: {package}/msg/{name} is not installed here")
            return None
        qos = QoSProfile(
            depth=1 if offer.latched else _DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if offer.reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if offer.latched else DurabilityPolicy.VOLATILE,
        )
        return self.create_publisher(kind, topic, qos)


class Player:
    """A `PlayerNode` with ROS around it: a context manager that starts and stops both."""

    def __init__(self, bag: Bag, settings: PlaySettings, namespace: str = ""):
        self._arguments = (bag, settings, namespace)

    def __enter__(self) -> PlayerNode:
        ensure_log_folder()
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = PlayerNode(*self._arguments)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, name="player executor", daemon=True)
        self._thread.start()
        return self._node

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown()


