"""Subscriptions that are taken by whoever looks, and wake nobody."""

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import String

from smolvla_ros.nodes.polling import PolledSubscription
from smolvla_ros.qos import LATCHED

_PATIENCE_S = 10.0


@pytest.fixture
def node(ros_domain):
    rclpy.init()
    node = rclpy.create_node("watcher")
    yield node
    node.destroy_node()
    rclpy.shutdown()


def test_the_newest_waits_until_it_is_taken_and_no_executor_takes_it(node):
    heard = []
    polled = PolledSubscription(node, String, "word", lambda message: heard.append(message.data))
    publisher = node.create_publisher(String, "word", 10)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not polled.take():  # until both have found each other
        publisher.publish(String(data="nobody heard this"))
    polled.take()
    heard.clear()
    for word in ("first", "second", "third"):
        publisher.publish(String(data=word))
    sentinel = []
    node.create_subscription(String, "sentinel", sentinel.append, LATCHED)
    node.create_publisher(String, "sentinel", LATCHED).publish(String(data="after"))
    while not sentinel:
        executor.spin_once(timeout_sec=_PATIENCE_S)
    assert heard == []
    assert polled.take() == 1
    assert heard == ["third"]
    assert polled.take() == 0
    polled.destroy()


def test_with_a_depth_as_much_as_several_publishers_said_waits_and_what_was_latched_too(node):
    heard = []
    for name in ("arm", "gripper"):
        node.create_publisher(String, "word", LATCHED).publish(String(data=name))
    polled = PolledSubscription(node, String, "word", lambda message: heard.append(message.data), depth=4, latched=True)
    while len(heard) < 2:
        polled.take()
    assert sorted(heard) == ["arm", "gripper"]
