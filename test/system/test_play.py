"""`smolvla-ros play`: the bag as it was recorded, and nodes that behave by its time as on the robot."""

import os
import pty
import termios
import threading
import time

import numpy as np
import pytest
import rclpy
from arms import wait_for
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from simulated_bag import make_bag
from std_msgs.msg import String
from std_srvs.srv import Trigger

from smolvla_ros.bags.reader import open_bag
from smolvla_ros.cli.play import keys
from smolvla_ros.msg import ActionChunk, ExecutionStatus
from smolvla_ros.qos import LATCHED

S = 10**9


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return make_bag(tmp_path_factory.mktemp("bags") / "bag", seconds=4.0)


class Listener:
    """Hears a topic's messages with the time of their arrival [ns]; /clock and status in lists."""

    def __init__(self):
        self.context = Context()
        rclpy.init(context=self.context, args=[])
        self.node = rclpy.create_node("listener", context=self.context)
        self.heard, self.subscriptions = {}, []
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin)
        self._thread.start()

    def listen(self, kind, topic, qos, raw=False):
        heard = self.heard[topic] = []
        self.subscriptions.append(self.node.create_subscription(
            kind, topic, lambda message: heard.append((time.monotonic_ns(), message)), qos, raw=raw
        ))  # fmt: skip
        self._executor.wake()
        return heard

    def call(self, service):
        client = self.node.create_client(Trigger, service)
        assert client.wait_for_service(10)
        future = client.call_async(Trigger.Request())
        wait_for(future.done, 10)
        return future.result().message

    def close(self):
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@pytest.fixture
def listener(ros_domain, monkeypatch):
    """Listens over shared memory, too: UDP loses what comes while the machine is busy."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    listener = Listener()
    yield listener
    listener.close()


def test_messages_are_played_byte_by_byte_at_their_times_with_the_clock_of_the_bag(start, bag, listener):
    states = listener.listen(JointState, "/joint_states", QoSProfile(depth=1000), raw=True)
    # Deep, because these two cores may keep the listener waiting for half a second.
    best_effort = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
    images = listener.listen(Image, "/camera", best_effort, raw=True)
    words = listener.listen(String, "/instruction", LATCHED)
    clocks = listener.listen(Clock, "/clock", QoSProfile(depth=1000))
    play = start("play", bag, "--topics-only", "--rate", "2", "--start", "1", "--remap", "/front/image_raw:=/camera",
                 "--start-paused")  # fmt: skip
    wait_for(lambda: all(s.get_publisher_count() for s in listener.subscriptions), 20)
    assert listener.call("/player_node/resume") == "playing"
    assert play.process.wait(timeout=60) == 0, play.output
    with open_bag(bag) as recorded:
        begin_ns = recorded.start_ns + S
        expected = {t: list(recorded.read([t], start_ns=begin_ns)) for t in ("/joint_states", "/front/image_raw")}
    assert [data for _, data in states] == [message.data for message in expected["/joint_states"]]
    assert {data for _, data in images} <= {message.data for message in expected["/front/image_raw"]}
    assert len(images) > 0.9 * len(expected["/front/image_raw"])
    assert words[0][1].data == "touch the red cube"  # said before the start, and still in force
    arrivals = np.array([at_ns for at_ns, _ in states])
    due = np.array([message.log_ns for message in expected["/joint_states"]])
    late_ms = (arrivals - arrivals[0] - (due - due[0]) / 2) * 1e-6
    assert np.percentile(np.abs(late_ms - np.median(late_ms)), 90) < 20
    times = np.array([message.clock.sec * S + message.clock.nanosec for _, message in clocks])
    assert (np.diff(times) >= 0).all() and times[0] == begin_ns
    assert np.diff(times).max() < 0.1 * S and len(times) > 100 * (times[-1] - times[0]) / S / 2


def test_a_looped_bag_is_followed_lap_after_lap_and_a_pause_stops_everything(start, bag, listener):
    statuses = listener.listen(ExecutionStatus, "/execution_status", QoSProfile(depth=1000))
    chunks = listener.listen(ActionChunk, "/action_chunk", QoSProfile(depth=1000))
    play = start("play", bag, "--loop")

    def seen(state, reason, since=0):
        return any((s.state, s.reason) == (state, reason) for _, s in statuses[since:])

    wait_for(lambda: seen(ExecutionStatus.FOLLOWING, ExecutionStatus.NONE), 60, lambda: play.output)
    assert statuses[-1][1].dry_run
    wait_for(lambda: seen(ExecutionStatus.HOLDING, ExecutionStatus.CLOCK_JUMP), 20, lambda: play.output)
    jump = next(i for i, (_, s) in enumerate(statuses) if s.reason == ExecutionStatus.CLOCK_JUMP)
    wait_for(lambda: seen(ExecutionStatus.FOLLOWING, ExecutionStatus.NONE, jump), 20, lambda: play.output)
    with open_bag(bag) as recorded:
        begin_s, end_s = recorded.start_ns * 1e-9, recorded.end_ns * 1e-9
    for _, chunk in chunks:
        stamp_s = chunk.header.stamp.sec + chunk.header.stamp.nanosec * 1e-9
        assert begin_s - 0.1 < stamp_s < end_s and 0.0 < chunk.latency_s < 2.0

    assert listener.call("/player_node/pause") == "paused"
    clocks = listener.listen(Clock, "/clock", QoSProfile(depth=1000))
    wait_for(lambda: len(clocks) > 20, 10)
    assert len({(message.clock.sec, message.clock.nanosec) for _, message in clocks[5:]}) == 1
    sequence, paused = chunks[-1][1].sequence, len(statuses)
    wait_for(lambda: len(statuses) > paused + 20, 10)  # more than a second: whatever was on its way has come
    assert chunks[-1][1].sequence <= sequence + 1
    still = {(s.header.stamp.sec, s.header.stamp.nanosec, s.state, s.reason) for _, s in statuses[-10:]}
    assert len(still) == 1  # nothing becomes stale where no time passes
    assert listener.call("/player_node/resume") == "playing"
    resumed = len(statuses)
    wait_for(lambda: seen(ExecutionStatus.FOLLOWING, ExecutionStatus.NONE, resumed), 20, lambda: play.output)
    wait_for(lambda: chunks[-1][1].sequence > sequence + 1, 20, lambda: play.output)
    exit_code, seconds = play.end()
    assert exit_code == 130 and seconds < 3.0, play.output
    assert "Traceback" not in play.output


def test_keys_are_heard_without_return_and_the_terminal_is_as_before_afterwards(monkeypatch):
    ours, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        pressed = []
        with keys({" ": lambda: pressed.append("space")}):
            os.write(ours, b"x  \n")
            wait_for(lambda: len(pressed) == 2, 10)
        assert termios.tcgetattr(terminal) == before
    os.close(ours)
