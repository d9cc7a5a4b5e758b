"""Joint states read out of their bytes are those that rclpy makes messages of."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import JointState

from smolvla_ros.nodes.joint_state_reader import JointStateReader
from smolvla_ros.robot.refusals import RefusedMessage

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
names = st.lists(texts, max_size=5)
numbers = st.lists(st.floats(width=64), max_size=6)


@st.composite
def messages(draw, names=names, frame=texts):
    message = JointState(name=draw(names), position=draw(numbers), velocity=draw(numbers), effort=draw(numbers))
    message.header.frame_id = draw(frame)
    message.header.stamp.sec = draw(st.integers(-(2**31), 2**31 - 1))
    message.header.stamp.nanosec = draw(st.integers(0, 999_999_999))
    return message


def expect(read, message):
    assert read.stamp_ns == message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    assert read.names == list(message.name)
    np.testing.assert_array_equal(read.positions, np.array(message.position))


few_names, few_frames = st.sampled_from([[], ["a"], ["a", "b"], ["b", "a"]]), st.sampled_from(["", "arm"])


@settings(deadline=None)  # the first message loads the middleware
@given(st.lists(messages(few_names, few_frames), max_size=8))
def test_messages_that_follow_each_other_are_read_as_rclpy_reads_them(sequence):
    reader = JointStateReader()
    for message in sequence:
        expect(reader.read(serialize_message(message)), message)


@given(messages(), messages())
def test_any_names_and_numbers_are_read_as_rclpy_reads_them(first, second):
    reader = JointStateReader()
    for message in (first, second, first):
        expect(reader.read(serialize_message(message)), message)


def big_endian(stamp, positions):
    """A joint state without names, as a machine with the other byte order sends it."""
    data = b"\x00\x00\x00\x00" + struct.pack(">iI", *stamp)
    data += struct.pack(">I", 1) + b"\x00\x00\x00\x00" + struct.pack(">II", 0, len(positions))
    data += b"\x00" * (-(len(data) - 4) % 8) + struct.pack(f">{len(positions)}d", *positions)
    return data + struct.pack(">II", 0, 0)


def test_a_message_in_the_other_byte_order_is_read_too():
    other, message = big_endian((7, 8), [1.5, -2.5]), JointState(position=[3.0, 4.0])
    assert deserialize_message(other, JointState).position.tolist() == [1.5, -2.5]
    reader = JointStateReader()
    for _ in range(2):
        expect(reader.read(other), deserialize_message(other, JointState))
        expect(reader.read(serialize_message(message)), message)


def test_bytes_that_end_too_early_are_an_error_and_not_a_position():
    reader = JointStateReader()
    data = serialize_message(JointState(name=["a", "b"], position=[1.0, 2.0]))
    reader.read(data)
    for end in range(len(data) - 16):  # velocities and efforts, which are not read, are all that may be missing
        with pytest.raises(RefusedMessage, match="cannot be read as a joint state"):
            reader.read(data[:end])
        with pytest.raises(RefusedMessage, match="cannot be read as a joint state"):
            JointStateReader().read(data[:end])


def test_drivers_that_take_turns_are_each_read_as_rclpy_reads_them():
    reader = JointStateReader()
    arm, gripper = JointState(name=["a", "b"], position=[1.0, 2.0]), JointState(name=["c"], position=[3.0])
    for _ in range(3):
        expect(reader.read(serialize_message(arm)), arm)
        expect(reader.read(serialize_message(gripper)), gripper)


def test_a_message_of_a_hundred_thousand_names_is_refused_by_its_size():
    flood = serialize_message(JointState(name=[f"joint_{k}" for k in range(100_000)]))
    with pytest.raises(RefusedMessage, match="bytes, at most 256000 are looked at") as refused:
        JointStateReader().read(flood)
    assert refused.value.reason == "too_large"
