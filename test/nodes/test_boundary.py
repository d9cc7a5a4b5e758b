"""Errors that nobody foresaw: counted, told once, contained; and a node goes down in order whatever fails."""

import subprocess
import sys
import threading

import pytest
import rclpy
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters, SetParametersAtomically
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter as RosParameter
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String
from std_srvs.srv import Trigger

from smolvla_ros.log_folder import ensure_log_folder
from smolvla_ros.nodes.boundary import ErrorBoundary, GuardedNode


def fail(*_):
    raise RuntimeError("a bug")


def test_an_error_is_counted_every_time_and_told_once_with_its_traceback():
    told, handled = [], []
    boundary = ErrorBoundary(told.append, handled.append)
    guarded = boundary.guarded(fail)
    threads = [threading.Thread(target=guarded) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert boundary.errors == len(handled) == 5
    assert len(told) == 1 and "Traceback" in told[0]
    assert handled[0] == "internal error in fail: RuntimeError: a bug"


class Fragile(GuardedNode):
    """Every callback fails."""

    def __init__(self, **kwargs):
        self.handled = []
        super().__init__("fragile", **kwargs)
        self.create_subscription(String, "in", fail, 1)
        self.create_service(Trigger, "serve", fail)
        self.create_timer(0.02, fail)

    def internal_error(self, sentence):
        self.handled.append(sentence)


@pytest.fixture
def world(ros_domain):
    context = Context()
    rclpy.init(context=context, args=[])
    other = rclpy.create_node("other", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(other)

    def make(**kwargs):
        node = Fragile(context=context, **kwargs)
        executor.add_node(node)
        return node

    def until(condition):
        for _ in range(2000):
            if condition():
                return
            executor.spin_once(timeout_sec=0.01)
        raise AssertionError("it never came")

    yield other, make, until
    executor.shutdown()
    rclpy.shutdown(context=context)


def test_subscriptions_timers_and_services_that_fail_leave_the_node_working(world):
    other, make, until = world
    node = make()
    publisher = other.create_publisher(String, "in", 1)
    client = other.create_client(Trigger, "serve")
    until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    until(future.done)
    assert not future.result().success
    until(lambda: publisher.publish(String()) or len([text for text in node.handled if "fail" in text]) > 5)
    assert node.health()["internal_errors"] == str(len(node.handled))


@pytest.mark.parametrize("seconds, nanoseconds", [(-1, 0), (-(2**31), 5), (5, 10**9), (5, 2**32 - 1)])
def test_a_clock_that_tells_no_time_is_refused_and_counted(world, seconds, nanoseconds):
    other, make, until = world
    node = make(parameter_overrides=[RosParameter("use_sim_time", value=True)])
    clock = other.create_publisher(Clock, "/clock", 1)
    until(lambda: clock.publish(Clock(clock=Time(sec=7))) or node.get_clock().now().nanoseconds == 7 * 10**9)
    bad = Clock(clock=Time(sec=seconds, nanosec=nanoseconds))
    until(lambda: clock.publish(bad) or node.clock_messages_refused > 0)
    assert node.get_clock().now().nanoseconds == 7 * 10**9
    assert not any("clock" in text for text in node.handled)


@pytest.mark.parametrize(
    "kind, name, many",
    [
        (ListParameters, "list_parameters", {"prefixes": ["a"] * 1001}),
        (GetParameters, "get_parameters", {"names": ["a"] * 1001}),
        (SetParameters, "set_parameters", {"parameters": [ParameterMessage(name="a")] * 1001}),
        (SetParametersAtomically, "set_parameters_atomically", {"parameters": [ParameterMessage(name="a")] * 1001}),
    ],
)
def test_a_request_for_more_parameters_than_any_node_has_is_refused_by_its_size(world, kind, name, many):
    other, make, until = world
    node = make()
    client = other.create_client(kind, f"/fragile/{name}")
    until(client.service_is_ready)
    future = client.call_async(kind.Request(**many))
    until(future.done)
    assert node.requests_refused == 1
    result = getattr(future.result(), "result", None)
    assert not hasattr(result, "successful") or (not result.successful and "1001" in result.reason)


BROKEN = """
import sys
from rclpy.executors import SingleThreadedExecutor
from smolvla_ros.nodes.lifecycle import ManagedNode
from smolvla_ros.nodes.running import run_node
from smolvla_ros.parameters.node import NodeParameterSet

class Quiet(ManagedNode[NodeParameterSet]):
    PARAMETERS = NodeParameterSet
    def __init__(self):
        super().__init__("quiet")
    def deactivate(self):
        print("deactivated", flush=True)
    def cleanup(self):
        print("cleaned up", flush=True)

class BrokenExecutor(SingleThreadedExecutor):
    def spin_until_future_complete(self, future, timeout_sec=None):
        raise MemoryError("no wait set")

sys.exit(run_node(Quiet, args=[], executor_class=BrokenExecutor))
"""


def test_a_failing_executor_takes_the_node_down_in_order_with_code_1(ros_domain):
    ended = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stdout.split("\n")[:2] == ["deactivated", "cleaned up"]
    assert "MemoryError: no wait set" in ended.stderr


def test_logs_go_elsewhere_where_the_home_cannot_be_written(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("ROS_LOG_DIR", raising=False)
    monkeypatch.delenv("ROS_HOME", raising=False)
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    ensure_log_folder()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"no logs in {tmp_path}/home/.ros/log (Not a directory): they go to /")


def test_logs_stay_where_they_can_be_written(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "logs"))
    ensure_log_folder()
    assert capsys.readouterr().err == "" and (tmp_path / "logs").is_dir()
