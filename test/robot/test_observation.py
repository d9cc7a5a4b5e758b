"""Which observation the policy may act on, with the clock as an argument."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from smolvla_ros.robot.observation import Freshness, ObservationBuffer

MS = 1_000_000
START_NS = 10**18


def header(stamp_ns):
    return SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))


def image(value=0, stamp_ns=START_NS):
    return SimpleNamespace(
        header=header(stamp_ns), height=1, width=1, encoding="rgb8", is_bigendian=0, step=3, data=bytes([value] * 3)
    )


def joint_state(stamp_ns, **positions):
    return SimpleNamespace(header=header(stamp_ns), name=list(positions), position=list(positions.values()))


def make_buffer(**changes):
    settings = {
        "max_image_age_ns": 100 * MS,
        "max_joint_state_age_ns": 50 * MS,
        "future_tolerance_ns": 10 * MS,
        "frozen_frames": 3,
        "accept_zero_stamps": False,
    }
    return ObservationBuffer(["front", "wrist"], ["a", "b"], Freshness(**{**settings, **changes}))


def feed(buffer, now_ns, value=0, front_age_ns=0):
    buffer.put_image("front", image(value, stamp_ns=now_ns - front_age_ns), now_ns)
    buffer.put_image("wrist", image(value + 1, stamp_ns=now_ns), now_ns)
    buffer.put_joint_state(joint_state(now_ns, b=2.0, a=1.0), now_ns)


def test_an_observation_carries_the_stamps_of_its_state_and_of_its_oldest_image_and_joints_in_the_robots_order():
    buffer = make_buffer()
    feed(buffer, START_NS, front_age_ns=30 * MS)
    observation, problem = buffer.take(START_NS)
    assert problem == ""
    assert (observation.stamp_ns, observation.image_stamp_ns) == (START_NS, START_NS - 30 * MS)
    assert observation.received_ns == START_NS
    assert observation.positions.tolist() == [1.0, 2.0]
    assert set(observation.images) == {"front", "wrist"}


def test_what_is_missing_is_named():
    buffer = make_buffer()
    buffer.put_image("front", image(stamp_ns=START_NS), START_NS)
    observation, problem = buffer.take(START_NS)
    assert observation is None
    assert problem == "no image from camera 'wrist' yet; no joint state yet"


@pytest.mark.parametrize("age_ns, usable", [(100 * MS, True), (100 * MS + 1, False)])
def test_a_stale_image_names_its_camera_and_recovers_with_a_fresh_one(age_ns, usable):
    buffer = make_buffer(max_joint_state_age_ns=10**9)
    feed(buffer, START_NS)
    later_ns = START_NS + age_ns
    buffer.put_image("wrist", image(7, stamp_ns=later_ns), later_ns)
    observation, problem = buffer.take(later_ns)
    assert (observation is not None) == usable
    assert usable or problem == "the last image from camera 'front' is older than 0.1 s"
    buffer.put_image("front", image(9, stamp_ns=later_ns), later_ns)
    assert buffer.take(later_ns)[0] is not None


def test_a_stale_joint_state_is_named():
    buffer = make_buffer()
    feed(buffer, START_NS)
    _, problem = buffer.take(START_NS + 51 * MS)
    assert problem == "the last joint state is older than 0.05 s"


def test_equal_images_in_a_row_count_as_a_frozen_camera_until_one_differs():
    buffer = make_buffer()
    for k in range(4):
        feed(buffer, START_NS + k * MS, value=5)
    _, problem = buffer.take(START_NS + 3 * MS)
    assert "camera 'front' is frozen: the last 3 images are the same" in problem
    feed(buffer, START_NS + 4 * MS, value=6)
    assert buffer.take(START_NS + 4 * MS)[0] is not None


def test_an_image_that_is_older_than_the_cached_one_does_not_replace_it():
    buffer = make_buffer()
    feed(buffer, START_NS, value=1)
    buffer.put_image("front", image(2, stamp_ns=START_NS - MS), START_NS)
    assert buffer.take(START_NS)[0].images["front"].data == image(1).data


@pytest.mark.parametrize("put", ["image", "joint state"])
@pytest.mark.parametrize("stamp_ns, reason", [(0, "stamp is zero"), (START_NS + 11 * MS, "in the future")])
def test_impossible_stamps_are_refused(put, stamp_ns, reason):
    buffer = make_buffer()
    with pytest.raises(ValueError, match=reason):
        if put == "image":
            buffer.put_image("front", image(stamp_ns=stamp_ns), START_NS)
        else:
            buffer.put_joint_state(joint_state(stamp_ns, a=0.0, b=0.0), START_NS)


def test_zero_stamps_mean_the_time_of_reception_where_that_was_chosen():
    buffer = make_buffer(accept_zero_stamps=True)
    buffer.put_image("front", image(1, stamp_ns=0), START_NS)
    buffer.put_image("wrist", image(2, stamp_ns=0), START_NS + MS)
    buffer.put_joint_state(joint_state(0, a=0.0, b=0.0), START_NS)
    assert buffer.take(START_NS + MS)[0].image_stamp_ns == START_NS


def test_refused_images_are_counted_per_camera_and_leave_the_cache_alone():
    buffer = make_buffer()
    feed(buffer, START_NS)
    broken = image()
    broken.encoding = "16UC1"
    with pytest.raises(ValueError, match="16UC1"):
        buffer.put_image("front", broken, START_NS)
    assert buffer.refused() == {"front": {"encoding": 1}, "wrist": {}, "joint_states": {}}
    assert buffer.take(START_NS)[0] is not None


BROKEN = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes().replace(b"\xff\xc4", b"\xff\xc8", 1)


def compressed(data, stamp_ns):
    return SimpleNamespace(header=header(stamp_ns), format="jpeg", data=data)


def test_a_picture_whose_damage_shows_when_it_is_decoded_is_refused_then_and_the_next_one_counts():
    buffer = make_buffer(frozen_frames=0)
    for k in range(20):
        now_ns = START_NS + k * MS
        feed(buffer, now_ns)
        buffer.put_image("front", compressed(BROKEN, now_ns), now_ns)
        pictures, problem = buffer.decode(buffer.take(now_ns)[0])
        assert pictures is None
        assert problem.startswith("no image from camera 'front' can be used: compressed image of format 'jpeg'")
        assert buffer.take(now_ns) == (None, problem)
    assert buffer.refused()["front"] == {"broken": 20}
    feed(buffer, START_NS + 21 * MS, value=3)
    pictures, problem = buffer.decode(buffer.take(START_NS + 21 * MS)[0])
    assert problem == "" and set(pictures.images) == {"front", "wrist"}
    assert pictures.images["front"].tolist() == [[[3, 3, 3]]]


def test_an_image_refused_when_it_arrives_leaves_the_one_before_and_is_named_once_that_is_stale():
    buffer = make_buffer(max_joint_state_age_ns=10**9)
    feed(buffer, START_NS)
    later_ns = START_NS + 101 * MS
    buffer.put_image("wrist", image(7, stamp_ns=later_ns), later_ns)
    odd = image(stamp_ns=later_ns)
    odd.encoding, odd.step = "yuyv", 2
    with pytest.raises(ValueError, match="width is 1, expected an even number"):
        buffer.put_image("front", odd, later_ns)
    assert buffer.take(START_NS + 100 * MS)[0] is not None
    assert buffer.take(later_ns)[1] == (
        "the last image from camera 'front' is older than 0.1 s "
        "(refused: width is 1, expected an even number of pixels for yuyv)"
    )


def test_joints_told_in_two_messages_make_an_observation_of_the_older_stamp():
    buffer = make_buffer()
    feed(buffer, START_NS)
    buffer.put_joint_state(joint_state(START_NS + 20 * MS, a=5.0), START_NS + 20 * MS)
    observation, _ = buffer.take(START_NS + 20 * MS)
    assert (observation.stamp_ns, observation.positions.tolist()) == (START_NS, [5.0, 2.0])
    assert buffer.take(START_NS + 51 * MS)[1] == "the last state of 'b' is older than 0.05 s"


def test_after_a_clock_jump_nothing_from_before_is_used():
    buffer = make_buffer()
    feed(buffer, START_NS)
    buffer.clear()
    assert buffer.take(START_NS)[0] is None
