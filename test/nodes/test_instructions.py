"""Instructions come once, whoever publishes them and in whatever order the subscriptions hand them over."""

from hypothesis import given
from hypothesis import strategies as st
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import String

from smolvla_ros.nodes.instructions import InstructionTopic
from smolvla_ros.qos import BEST_EFFORT


class FakeNode:
    def __init__(self):
        self.heard = {}

    def create_subscription(self, kind, topic, callback, qos, event_callbacks):
        assert (kind, topic) == (String, "instruction")
        self.heard[qos.durability, qos.reliability] = callback


class Topic:
    def __init__(self):
        node, self.texts = FakeNode(), []
        InstructionTopic(node, self.texts.append)
        self._latched = node.heard[DurabilityPolicy.TRANSIENT_LOCAL, ReliabilityPolicy.RELIABLE]
        self._plain = node.heard[QoSProfile(depth=1).durability, ReliabilityPolicy.RELIABLE]
        self._best_effort = node.heard[BEST_EFFORT.durability, ReliabilityPolicy.BEST_EFFORT]

    def latched(self, text, sent_ns):
        self._latched(String(data=text), {"source_timestamp": sent_ns})

    def plain(self, text, sent_ns):
        self._plain(String(data=text), {"source_timestamp": sent_ns})

    def best_effort(self, text, sent_ns):
        self._best_effort(String(data=text), {"source_timestamp": sent_ns})


def test_a_plain_publisher_is_heard_and_may_say_the_same_again():
    topic = Topic()
    topic.plain("touch", 1)
    topic.plain("", 2)
    topic.plain("touch", 3)
    assert topic.texts == ["touch", "", "touch"]


def test_what_was_latched_before_the_node_was_there_is_heard():
    topic = Topic()
    topic.latched("touch", 1)
    assert topic.texts == ["touch"]


def test_what_was_latched_before_something_newer_was_said_is_history_but_a_stop_is_not():
    topic = Topic()
    topic.plain("touch the blue cube", 5)
    topic.latched("touch the red cube", 1)
    assert topic.texts == ["touch the blue cube"]
    topic.latched("", 1)
    assert topic.texts[-1] == ""


def test_a_plain_instruction_counts_though_the_clock_of_its_machine_is_behind():
    topic = Topic()
    topic.plain("touch the blue cube", 5)
    topic.plain("touch the red cube", 1)
    assert topic.texts[-1] == "touch the red cube"


@given(st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_what_comes_twice_ends_with_what_was_said_last_however_the_two_are_interleaved(said, random):
    topic, places = Topic(), {"plain": 0, "latched": 0}
    while min(places.values()) < len(said):
        name = random.choice([name for name, place in places.items() if place < len(said)])
        getattr(topic, name)(said[places[name]], places[name] + 1)
        places[name] += 1
    assert topic.texts[-1] == said[-1]
    assert len(topic.texts) == len(said)


@given(
    st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=8),
    st.sets(st.integers(0, 7)),
    st.randoms(use_true_random=False),
)
def test_whatever_best_effort_loses_or_overtakes_what_was_said_last_counts(said, lost, random):
    topic, places = Topic(), {"plain": 0, "best_effort": 0}
    while min(places.values()) < len(said):
        name = random.choice([name for name, place in places.items() if place < len(said)])
        if name == "plain" or places[name] not in lost:
            getattr(topic, name)(said[places[name]], places[name] + 1)
        places[name] += 1
    assert topic.texts[-1] == said[-1]


def test_a_publisher_that_is_only_best_effort_is_heard_and_may_say_the_same_again():
    topic = Topic()
    topic.best_effort("touch", 1)
    topic.best_effort("", 2)
    topic.best_effort("touch", 3)
    assert topic.texts == ["touch", "", "touch"]
