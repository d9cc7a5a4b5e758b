"""Subscriptions whose messages wait until somebody takes them: no executor wakes for them.

An executor of rclpy builds a wait set for every message, which for joint states, statuses and two cameras takes a fifth
of a core. Whoever looks a few times a second only has no use for that: the middleware keeps the newest, and `take`
fetches it. Like rclcpp's `Subscription::take`, of which rclpy has the handle's `take_message` only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy


class UnattendedGroup(CallbackGroup):
    """Its entities are in no executor's wait set."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        """Nothing began."""


class PolledSubscription:
    """One topic, of which the newest `depth` messages wait. One thread creates, takes and destroys it.

    Args:
        on_message: gets every message that waited, in `take`.
        depth: one is enough for a single publisher; of several, one would hide the others.
        latched: also what was said before; else as sensors are heard, best effort.
        raw: messages are handed over serialized.
    """

    def __init__(
        self, node: Node, kind: type, topic: str, on_message: Callable[[Any], None], depth: int = 1,
        latched: bool = False, raw: bool = False,
    ):  # fmt: skip
        self._node, self._depth, self._on_message = node, depth, on_message
        qos = QoSProfile(
            depth=depth,
            reliability=ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._subscription = node.create_subscription(
            kind, topic, on_message, qos, callback_group=UnattendedGroup(), raw=raw
        )
        self.identity = (kind, self._subscription.topic_name)

    def take(self) -> int:
        """Hands over what waits, oldest first; returns how many messages that were."""
        for taken in range(self._depth):
            with self._subscription.handle:
                found = self._subscription.handle.take_message(self._subscription.msg_type, self._subscription.raw)
            if found is None:
                return taken
            self._on_message(found[0])
        return self._depth

    def destroy(self) -> None:
        self._node.destroy_subscription(self._subscription)
