"""The recorder: subscribes to what a robot says and hands the bytes to a `Recording`, untouched.

Threads: `record` and every callback run in the caller's thread; the recording has a thread of its own. Messages are
never deserialised. Their log time is when the middleware received them, so a busy interpreter does not shift it.
"""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

from smolvla_ros.bags.definitions import Definitions, has_header
from smolvla_ros.bags.recording.losses import LossCounter, Losses
from smolvla_ros.bags.recording.plan import Wanted
from smolvla_ros.bags.recording.recording import RecordedTopic, Recording
from smolvla_ros.log_folder import ensure_log_folder

from .boundary import GuardedNode
from .serialized import stamp_ns

_GRAPH_PERIOD_S = 0.2
_TELL_PERIOD_S = 5.0
_SPIN_PERIOD_S = 0.1
# An image that waits in the middleware costs its size; other messages come often and are small.
_IMAGE_DEPTH, _DEPTH = 64, 1000
LOSSES_KEY = "smolvla_ros.recording"


@dataclass
class _Stream:
    """One topic: what is wanted, and what has become of it."""

    wanted: Wanted
    topic: str
    counter: LossCounter
    type: str = ""
    subscription: Any = None
    qos: QoSProfile | None = None
    stamped: bool = False
    recorded: RecordedTopic | None = None
    received_s: float = 0.0
    told_losses: int = 0
    problem: str = "nobody publishes it"


class RecorderNode(GuardedNode):
    """Records the wanted topics into `recording`.

    Args:
        recording: takes the messages; closed by `close`.
        wanted: the topics; relative names are resolved in `namespace`.
        use_sim_time: log times are those of /clock, and nothing is recorded before it runs.
    """

    def __init__(self, recording: Recording, wanted: Sequence[Wanted], namespace: str = "", use_sim_time: bool = False):
        overrides = [Parameter("use_sim_time", value=use_sim_time)]
        super().__init__("recorder_node", namespace=namespace, parameter_overrides=overrides)
        self._recording = recording
        self._use_sim_time = use_sim_time
        self._definitions = Definitions()
        self._started_s = self._told_s = time.monotonic()
        self._told = ""
        self._streams = [_Stream(w, self.resolve_topic_name(w.name), LossCounter(w.steady)) for w in wanted]
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._look_around()
        self.create_timer(_GRAPH_PERIOD_S, self._look_around, clock=steady)

    @property
    def losses(self) -> dict[str, Losses]:
        """What became of the messages of every topic that was heard or should have been, by full name."""
        heard = [stream for stream in self._streams if stream.counter.received or stream.wanted.expected]
        return {s.topic: s.counter.summary(self._recording.messages.get(s.topic, 0)) for s in heard}

    def close(self) -> None:
        """Writes what is left and closes the bag."""
        self._recording.finish()
        notes = {topic: asdict(losses) for topic, losses in self.losses.items()}
        self._recording.close({LOSSES_KEY: json.dumps({"topics": notes, "ended": self._recording.ended})})

    # Who publishes what.

    def _look_around(self) -> None:
        for stream in self._streams:
            self._attend(stream)
        self._tell_silence()
        self._tell_losses()

    def _attend(self, stream: _Stream) -> None:
        """Subscribes so that everybody who publishes now is understood."""
        offers = self.get_publishers_info_by_topic(stream.topic)
        stream.type = stream.type or stream.wanted.type or (offers[0].topic_type if offers else "")
        others = sorted({offer.topic_type for offer in offers} - {stream.type})
        offers = [offer for offer in offers if offer.topic_type == stream.type]
        if offers:
            stream.problem = "its publisher sends nothing"
        elif others:
            stream.problem = f"it is published as {', '.join(others)}, the robot config says {stream.type}"
        else:
            stream.problem = "nobody publishes it"
        if not stream.type:
            return
        qos = _requested(stream, offers)
        if stream.subscription is None or qos != stream.qos:
            self._subscribe(stream, qos)

    def _subscribe(self, stream: _Stream, qos: QoSProfile) -> None:
        if stream.subscription is not None:
            self.destroy_subscription(stream.subscription)
        package, _, name = stream.type.split("/")
        stream.qos = qos
        stream.stamped = has_header(self._definitions.fields(stream.type))
        stream.subscription = self.create_subscription(
            getattr(importlib.import_module(f"{package}.msg"), name),
            stream.topic,
            partial(self._on_message, stream),
            qos,
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=partial(_on_lost, stream.counter),
                use_default_callbacks=False,  # what does not match is told by `_tell_silence`
            ),
        )

    # Messages.

    def _on_message(self, stream: _Stream, data: bytes, info: dict[str, Any]) -> None:
        log_ns = info["received_timestamp"]
        if self._use_sim_time or not log_ns:
            log_ns = self.get_clock().now().nanoseconds
            if not log_ns:
                return  # /clock does not run yet
        if stream.recorded is None:
            stream.recorded = self._recorded_topic(stream)
        number = info["publication_sequence_number"]
        stream.received_s = time.monotonic()
        stream.counter.receive(log_ns, number, stamp_ns(data) if stream.stamped else None)
        if not self._recording.put(stream.recorded, log_ns, info["source_timestamp"] or log_ns, number or 0, data):
            stream.counter.refused += 1

    def _recorded_topic(self, stream: _Stream) -> RecordedTopic:
        text, hash_ = self._definitions.text_and_hash(stream.type)
        offers = self.get_publishers_info_by_topic(stream.topic)
        return RecordedTopic(stream.topic, stream.type, text, hash_, [_qos_record(o.qos_profile) for o in offers])

    # What people are told.

    def _tell_silence(self) -> None:
        """Names the topics that nothing comes from, when that changes and every few seconds while it lasts."""
        now_s = time.monotonic()
        silent = [
            f"{s.topic} ({s.problem})"
            for s in self._streams
            if s.wanted.expected and now_s - max(s.received_s, self._started_s) > _TELL_PERIOD_S / 2
        ]
        told = "; ".join(silent)
        if told and (told != self._told or now_s - self._told_s > _TELL_PERIOD_S):
            self.get_logger().warning(f"recording, but nothing comes on {told}")
            self._told_s = now_s
        elif self._told and not told:
            self.get_logger().info("messages come on all topics of the robot")
        self._told = told

    def _tell_losses(self) -> None:
        for stream in self._streams:
            losses = stream.counter.lost + stream.counter.refused
            if losses > stream.told_losses and not self._recording.ended:
                self.get_logger().warning(
                    f"{stream.topic}: {stream.counter.lost} messages never arrived, {stream.counter.refused} could not "
                    "be written fast enough",
                    throttle_duration_sec=_TELL_PERIOD_S,
                )
                stream.told_losses = losses


def record(
    recording: Recording,
    wanted: Sequence[Wanted],
    stop: threading.Event,
    namespace: str = "",
    use_sim_time: bool = False,
    log_level: str = "info",
) -> dict[str, Losses]:
    """Records until `stop` is set or the recording ends by itself, and closes the bag.

    Returns:
        What became of every topic's messages.
    """
    ensure_log_folder()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = RecorderNode(recording, wanted, namespace, use_sim_time)
    node.get_logger().set_level(LoggingSeverity[log_level.upper()])
    executor = SingleThreadedExecutor()  # the other one cannot hand out the information that comes with a message
    executor.add_node(node)
    try:
        while not stop.is_set() and not recording.ended:
            executor.spin_once(timeout_sec=_SPIN_PERIOD_S)
    finally:
        node.close()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
    return node.losses


def _on_lost(counter: LossCounter, event: Any) -> None:
    counter.reported += event.total_count_change


def _requested(stream: _Stream, offers: Sequence[TopicEndpointInfo]) -> QoSProfile:
    """The strictest profile that is compatible with all offers; while there is none, the one that is usual."""
    is_image = stream.type.endswith("Image")
    reliable = all(o.qos_profile.reliability != ReliabilityPolicy.BEST_EFFORT for o in offers)
    if not offers:
        reliable = not is_image  # asking a camera for too much makes its driver complain
    latched = [o.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers] or [stream.wanted.latched]
    return QoSProfile(
        depth=_IMAGE_DEPTH if is_image else _DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if all(latched) else DurabilityPolicy.VOLATILE,
    )


def _qos_record(qos: QoSProfile) -> dict[str, Any]:
    """An offered profile as rosbag2 writes it."""

    def duration(value: Any) -> dict[str, int]:
        return {"sec": value.nanoseconds // 10**9, "nsec": value.nanoseconds % 10**9}

    return {
        "history": qos.history.name.lower(),
        "depth": qos.depth,
        "reliability": qos.reliability.name.lower(),
        "durability": qos.durability.name.lower(),
        "deadline": duration(qos.deadline),
        "lifespan": duration(qos.lifespan),
        "liveliness": qos.liveliness.name.lower(),
        "liveliness_lease_duration": duration(qos.liveliness_lease_duration),
        "avoid_ros_namespace_conventions": qos.avoid_ros_namespace_conventions,
    }
