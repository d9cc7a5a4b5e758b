"""Playing a bag, without ROS: its clock, its topics and how they were offered."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from simulated_bag import make_bag

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.messages import Topic
from smolvla_ros.bags.playback import BagClock, Offer, lap, read_ahead, recorded_offers, robot_topics
from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.streams import StreamNames
from smolvla_ros.cli.robot_option import read_node_parameters
from smolvla_ros.parameters.controller import ControllerParameters

S = 10**9
STRING, IMAGE = "std_msgs/msg/String", "sensor_msgs/msg/Image"


def running(rate=1.0, steady_ns=0):
    clock = BagClock(1000 * S, rate)
    clock.resume(steady_ns)
    return clock


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_the_bags_time_runs_at_its_rate(rate):
    clock = running(rate)
    assert clock.now_ns(4 * S) == 1000 * S + round(4 * S * rate)
    assert clock.wait_ns(1006 * S, 4 * S) == round(6 * S / rate) - 4 * S


def test_time_stands_still_before_the_start_and_while_paused():
    clock = BagClock(1000 * S, 1.0)
    assert clock.now_ns(50 * S) == 1000 * S
    clock.resume(50 * S)
    clock.pause(53 * S)
    clock.pause(54 * S)
    assert clock.now_ns(90 * S) == 1003 * S
    clock.resume(90 * S)
    clock.resume(91 * S)
    assert clock.now_ns(92 * S) == 1005 * S


@given(st.floats(0.01, 100.0), st.lists(st.tuples(st.booleans(), st.integers(0, 10 * S)), max_size=20))
def test_the_bags_time_never_runs_back_whatever_is_paused(rate, events):
    clock, steady_ns, before = running(rate), 0, 1000 * S
    for pause, wait_ns in events:
        steady_ns += wait_ns
        (clock.pause if pause else clock.resume)(steady_ns)
        assert clock.now_ns(steady_ns) >= before
        before = clock.now_ns(steady_ns)


def test_a_new_lap_begins_at_its_time_and_keeps_a_pause():
    clock = running()
    clock.set(1000 * S, 7 * S)
    assert clock.now_ns(9 * S) == 1002 * S
    clock.pause(9 * S)
    clock.set(1000 * S, 9 * S)
    assert clock.now_ns(20 * S) == 1000 * S


def topics(**kinds):
    names = {"/" + name.replace("__", "/"): kind for name, kind in kinds.items()}
    return {name: Topic(name, kind, 1) for name, kind in names.items()}


def test_command_topics_are_those_of_the_robot_not_those_of_a_type():
    parameters = read_node_parameters("so101_sim", "/controller_node", ControllerParameters)
    found = topics(left__joint_states="sensor_msgs/msg/JointState", left__joint_command="sensor_msgs/msg/JointState",
                   joint_command="sensor_msgs/msg/JointState", tf="tf2_msgs/msg/TFMessage",
                   left__policy_node__description=STRING, left__robot_description=STRING,
                   diagnostics="diagnostic_msgs/msg/DiagnosticArray", clock="rosgraph_msgs/msg/Clock")  # fmt: skip
    assert robot_topics(found, parameters, StreamNames("left")) == [
        "/left/joint_states", "/joint_command", "/tf", "/left/robot_description"
    ]  # fmt: skip


def profile(reliability, durability):
    return {"reliability": reliability, "durability": durability}


@pytest.mark.parametrize("told, offer", [
    ([profile("reliable", "volatile")], Offer(True, False)),
    ([profile("best_effort", "volatile")], Offer(False, False)),
    ([profile("reliable", "transient_local")], Offer(True, True)),
    (yaml.safe_dump([profile(1, 1)]), Offer(True, True)),
    (yaml.safe_dump([profile(2, 2)]), Offer(False, False)),
    ([profile("reliable", "transient_local"), profile("best_effort", "volatile")], Offer(True, False)),
    ("", Offer(False, False)),
    ("no: [yaml", Offer(False, False)),
])  # fmt: skip
def test_topics_are_published_as_they_were(tmp_path, told, offer):
    entry = {"topic_metadata": {"name": "/image", "offered_qos_profiles": told}, "message_count": 1}
    information = {"relative_file_paths": ["bag.mcap"], "topics_with_message_count": [entry]}
    metadata = {"rosbag2_bagfile_information": information}
    (tmp_path / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    assert recorded_offers(tmp_path, topics(image=IMAGE)) == {"/image": offer}


@pytest.mark.parametrize("metadata", [None, "", "[1, 2", "rosbag2_bagfile_information: 3"])
def test_without_usable_metadata_topics_are_published_as_is_usual(tmp_path, metadata):
    if metadata is not None:
        (tmp_path / "metadata.yaml").write_text(metadata)
    assert recorded_offers(tmp_path, topics(a__instruction=STRING, a__image=IMAGE, a__text=STRING)) == {
        "/a/instruction": Offer(True, True), "/a/image": Offer(False, False), "/a/text": Offer(True, False)
    }  # fmt: skip


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    with open_bag(make_bag(tmp_path_factory.mktemp("bags") / "bag", seconds=1.0)) as bag:
        yield bag


def test_who_starts_late_hears_the_instruction_that_is_in_force(bag):
    messages = list(lap(bag, ["/instruction", "/joint_states"], ["/instruction"], bag.start_ns + S // 2))
    assert messages[0].topic == "/instruction" and messages[0].log_ns < bag.start_ns + S // 2
    assert {message.topic for message in messages[1:]} == {"/joint_states"}
    assert all(message.log_ns >= bag.start_ns + S // 2 for message in messages[1:])


def test_reading_ahead_changes_nothing(bag):
    ahead = list(read_ahead(lambda: bag.read(bag.topics)))
    assert [(m.topic, m.log_ns, m.data) for m in ahead] == [(m.topic, m.log_ns, m.data) for m in bag.read(bag.topics)]
    assert len(ahead) > 200  # more than is read ahead at once


def test_what_goes_wrong_while_reading_ahead_is_heard_of():
    def broken():
        yield from ()
        raise BagError("the file is gone")

    with pytest.raises(BagError, match="the file is gone"):
        list(read_ahead(broken))


def test_reading_ahead_ends_with_its_reader(bag):
    messages = read_ahead(lambda: bag.read(bag.topics))
    next(messages)
    messages.close()
    assert list(messages) == []
