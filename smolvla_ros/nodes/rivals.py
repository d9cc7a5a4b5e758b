"""Who else commands the arm.

Two controllers of one name cannot be told apart in the graph, where a killed one lingers for many seconds. So each
tells a random number of its own on ~/instance while it is active, and whoever hears another one knows. The topic is
latched: who comes later hears it before it has a chunk to follow. Anybody else is seen in the graph.

Everything here runs in the executor's thread.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from std_msgs.msg import UInt64

from .qos import LATCHED

_NO_INSTANCE = UInt64(data=0)
_HEARD_S = 1.0


class Rivals:
    """Looks for others that command the same arm, and tells them of this one.

    Args:
        node: of the controller; called in its `configure`.
        publishers: of the commands.
        on_conflict: is called with a sentence as soon as another instance is heard.
    """

    def __init__(self, node: Node, publishers: Sequence[Any], on_conflict: Callable[[str], None]):
        self._node = node
        self._publishers = publishers
        self._on_conflict = on_conflict
        self._instance = UInt64(data=secrets.randbits(64))
        self._heard_s = -_HEARD_S
        self._topic = node.create_publisher(UInt64, "~/instance", LATCHED)
        node.create_subscription(UInt64, "~/instance", self._on_instance, LATCHED)

    def announce(self) -> None:
        """Tells that this one is active; now and then."""
        self._topic.publish(self._instance)

    def retire(self) -> None:
        """Tells that this one is no longer active."""
        self._topic.publish(_NO_INSTANCE)

    def conflict(self) -> str:
        """Who else commands the arm; empty if nobody does."""
        if time.monotonic() - self._heard_s < _HEARD_S:
            return "another controller_node is active in this namespace"
        me = self._node.get_fully_qualified_name()
        for publisher in self._publishers:
            infos = self._node.get_publishers_info_by_topic(publisher.topic_name)
            names = [f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos]
            others = [name for name in names if name != me]
            if others:
                return f"{', '.join(others)} also publishes on {publisher.topic_name}"
        return ""

    def _on_instance(self, message: UInt64) -> None:
        if message.data not in (self._instance.data, _NO_INSTANCE.data):
            self._heard_s = time.monotonic()
            self._on_conflict(self.conflict())
