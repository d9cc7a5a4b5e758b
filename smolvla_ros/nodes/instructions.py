"""The topic `instruction`, heard from whoever publishes on it: latched, as `smolvla-ros say` does, or not.

A subscription that wants latched messages matches no plain publisher (`create_publisher(String, "instruction", 10)`,
`ros2 topic pub`, rosbridge, Foxglove), and a plain one does not get what was said before it was there. So there are
two. What a latched publisher says while both listen comes twice, and in any order, so it is told apart by when it was
sent; what was latched before something newer was said is history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from smolvla_ros.qos import LATCHED

_TOPIC = "instruction"
_REMEMBERED = 32


def hear_all_instructions(node: Node, on_message: Callable[[String], None]) -> None:
    """Subscribes to latched and plain publishers; what a latched one says comes twice. For every executor."""
    node.create_subscription(String, _TOPIC, on_message, LATCHED)
    node.create_subscription(String, _TOPIC, on_message, QoSProfile(depth=1))


class InstructionTopic:
    """Hands over each message of latched and plain publishers once. For executors that tell when one was sent.

    Args:
        on_text: takes the text, in the executor's thread.
    """

    def __init__(self, node: Node, on_text: Callable[[str], None]):
        self._on_text = on_text
        self._seen: deque[tuple[int, str]] = deque(maxlen=_REMEMBERED)
        self._newest_ns = 0
        node.create_subscription(String, _TOPIC, self.on_latched, LATCHED)
        node.create_subscription(String, _TOPIC, self.on_plain, QoSProfile(depth=1))

    def on_latched(self, message: String, info: dict[str, Any]) -> None:
        """An old message may come late, when its publisher is discovered. An empty one stops, however old."""
        if info["source_timestamp"] >= self._newest_ns or not message.data.strip():
            self.on_plain(message, info)

    def on_plain(self, message: String, info: dict[str, Any]) -> None:
        sent_ns = int(info["source_timestamp"])
        if (sent_ns, message.data) in self._seen:
            return
        self._seen.append((sent_ns, message.data))
        self._newest_ns = max(self._newest_ns, sent_ns)
        self._on_text(message.data)
