"""Who else commands the arm.

Two controllers of one name cannot be told apart in the graph, where a killed one lingers for many seconds. So each
tells a random number of its own on ~/instance while it is active, and whoever hears another one knows. The topic is
latched: who comes later hears it before it has a chunk to follow. Anybody else is seen in the graph: by another name,
or, under this node's own, because there are more publishers than there are instances that ever told of themselves.

Everything here runs in the executor's thread.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from std_msgs.msg import UInt64

from smolvla_ros.qos import LATCHED

_NO_INSTANCE = UInt64(data=0)
_HEARD_S = 1.0
_MOST = 64
_REMEMBERED_S = 60.0  # longer than a killed process stays in the graph


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
        self._instances_s: dict[int, float] = {}  # of others: when they were heard last
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
        now_s = time.monotonic()
        self._instances_s = {number: s for number, s in self._instances_s.items() if now_s - s < _REMEMBERED_S}
        if any(now_s - heard_s < _HEARD_S for heard_s in self._instances_s.values()):
            return "another controller_node is active in this namespace"
        me = self._node.get_fully_qualified_name()
        for publisher in self._publishers:
            infos = self._node.get_publishers_info_by_topic(publisher.topic_name)
            names = [f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos]
            others = [name for name in names if name != me]
            if others:
                return f"{', '.join(others)} also publishes on {publisher.topic_name}"
            if len(names) - 1 > len(self._instances_s):
                return f"another node that is called {me} also publishes on {publisher.topic_name}"
        return ""

    def _on_instance(self, message: UInt64) -> None:
        if message.data not in (self._instance.data, _NO_INSTANCE.data) and len(self._instances_s) < _MOST:
            self._instances_s[message.data] = time.monotonic()
            self._on_conflict(self.conflict())
