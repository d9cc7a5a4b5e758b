"""The topic `instruction`, heard from whoever publishes on it: latched as by `smolvla-ros say`, plain or best effort.

A subscription that wants latched messages matches no plain publisher (`create_publisher(String, "instruction", 10)`,
`ros2 topic pub`, rosbridge, Foxglove), a plain one does not get what was said before it was there, one that wants them
reliable matches nobody who sends them as sensors do, and one that does not might lose them. So there are three. What
one publisher says comes as often as it matches, and in any order, so it is told apart by when it was sent; what was
latched before something newer was said is history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from smolvla_ros.qos import BEST_EFFORT, LATCHED

_TOPIC = "instruction"
_REMEMBERED = 32
# One of three matches: that the others do not is no reason to warn of a publisher that will not be heard.
_NO_WARNING = SubscriptionEventCallbacks(use_default_callbacks=False)


def hear_all_instructions(node: Node, on_message: Callable[[String], None]) -> None:
    """Subscribes to every kind of publisher; what one says may come up to three times. For every executor."""
    for qos in (LATCHED, QoSProfile(depth=1), BEST_EFFORT):
        node.create_subscription(String, _TOPIC, on_message, qos, event_callbacks=_NO_WARNING)


class InstructionTopic:
    """Hands over each message of every kind of publisher once. For executors that tell when one was sent.

    Args:
        on_text: takes the text, in the executor's thread.
        topic: where instructions are said.
    """

    def __init__(self, node: Node, on_text: Callable[[str], None], topic: str = _TOPIC):
        self._on_text = on_text
        self._seen: deque[tuple[int, str]] = deque(maxlen=_REMEMBERED)
        self._seen_by_best_effort: deque[tuple[int, str]] = deque(maxlen=_REMEMBERED)
        self._newest_ns, self._last = 0, ""
        for take, qos in (
            (self.on_latched, LATCHED), (self.on_plain, QoSProfile(depth=1)), (self.on_best_effort, BEST_EFFORT),
        ):  # fmt: skip
            node.create_subscription(String, topic, take, qos, event_callbacks=_NO_WARNING)  # type: ignore[arg-type]

    def on_latched(self, message: String, info: dict[str, Any]) -> None:
        """An old message may come late, when its publisher is discovered. An empty one stops, however old."""
        if info["source_timestamp"] >= self._newest_ns or not message.data.strip():
            self.on_plain(message, info)

    def on_plain(self, message: String, info: dict[str, Any]) -> None:
        sent = int(info["source_timestamp"]), message.data
        if sent in self._seen:
            return
        self._seen.append(sent)
        # Best effort overtakes what has to be sent again: what it said before counts again if something came between.
        if sent not in self._seen_by_best_effort or message.data != self._last:
            self._hand_over(sent)

    def on_best_effort(self, message: String, info: dict[str, Any]) -> None:
        sent = int(info["source_timestamp"]), message.data
        if sent not in self._seen and sent not in self._seen_by_best_effort:
            self._seen_by_best_effort.append(sent)
            self._hand_over(sent)

    def _hand_over(self, sent: tuple[int, str]) -> None:
        self._newest_ns, self._last = max(self._newest_ns, sent[0]), sent[1]
        self._on_text(sent[1])
