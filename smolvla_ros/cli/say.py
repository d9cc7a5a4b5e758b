"""Tell the arm what to do: publishes an instruction and waits until a policy has received it.

An empty instruction makes the policy stop asking for motion.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

# Others that listen, such as the controller and a recorder, are discovered within so long after one another [s].
_SETTLED_S = 0.5
_POLL_S = 0.02


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `say`."""
    parser.add_argument("instruction", help='for example "touch the red cube"')
    parser.add_argument("--namespace", default="", help="namespace of the arm")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S",
                        help="how long to wait for a policy node that is still starting [s] (default: 10)")


def run(args: argparse.Namespace) -> int:
    """Publishes the instruction; 0 if a policy node has acknowledged it, 1 if there was none in time."""
    import rclpy
    from rclpy.duration import Duration
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from std_msgs.msg import String

    rclpy.init()
    node = rclpy.create_node("smolvla_ros_say", namespace=args.namespace)
    try:
        topic = node.resolve_topic_name("instruction")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        publisher = node.create_publisher(String, topic, latched)
        publisher.publish(String(data=args.instruction))
        deadline = time.monotonic() + args.timeout
        while not any(info.node_name == "policy_node" for info in node.get_subscriptions_info_by_topic(topic)):
            if time.monotonic() > deadline:
                print(f"no policy node listens on {topic} after {args.timeout:g} s; "
                      "is the arm up (`smolvla-ros arm`), in this namespace and ROS domain?", file=sys.stderr)
                return 1
            time.sleep(0.05)
        _wait_until_settled(publisher.get_subscription_count)
        acknowledged = publisher.wait_for_all_acked(Duration(seconds=max(1.0, deadline - time.monotonic())))
        if not acknowledged:
            print(f"not everybody who listens on {topic} has confirmed within {args.timeout:g} s that the instruction "
                  "arrived: look whether the policy node tells it, or say it again", file=sys.stderr)
            return 1
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _wait_until_settled(listeners: Callable[[], int]) -> None:
    """Returns once nobody new has begun to listen for a moment: who is not discovered yet would hear nothing."""
    count, since_s = listeners(), time.monotonic()
    while time.monotonic() - since_s < _SETTLED_S:
        time.sleep(_POLL_S)
        if listeners() != count:
            count, since_s = listeners(), time.monotonic()
