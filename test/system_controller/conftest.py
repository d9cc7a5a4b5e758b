"""A monitored world around the controller node."""

import pytest
import rclpy
from controller_world import Monitor, World


@pytest.fixture(scope="module")
def ros(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def world(ros, tmp_path):
    """A monitored world; whatever the test is about, the invariants must have held on the wire."""
    monitor = Monitor()
    world = World(tmp_path, monitor)
    yield world
    world.close()
    monitor.close()
    print(world.logs())
    assert not monitor.problems, monitor.problems[:5]
