"""The newest position of every joint, out of messages that name some of them in any order."""

import array
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.robot.joint_states import MAX_NAMES, JointOrder, JointStates
from smolvla_ros.robot.refusals import RefusedMessage, StampRule

MS = 1_000_000
NOW_NS = 10**18
RULE = StampRule(max_age_ns=200 * MS, future_tolerance_ns=50 * MS, accept_zero=False)


def message(stamp_ns, names, positions):
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), name=names, position=positions)


def told(stamp_ns, **positions):
    return message(stamp_ns, list(positions), array.array("d", positions.values()))


def states(*joints, **changes):
    return JointStates(joints or ("pan", "lift", "gripper"), StampRule(**{**vars(RULE), **changes}))


def test_an_arm_and_a_gripper_in_two_messages_make_one_state_as_old_as_the_older_of_them():
    joints = states()
    assert joints.put(told(NOW_NS - 30 * MS, pan=1.0, lift=2.0), NOW_NS)
    assert not joints.complete
    assert joints.problem(NOW_NS) == "no joint state of 'gripper' yet"
    assert joints.put(told(NOW_NS - 90 * MS, gripper=3.0), NOW_NS)
    assert joints.complete and joints.problem(NOW_NS) == ""
    np.testing.assert_array_equal(joints.positions, [1.0, 2.0, 3.0])
    assert joints.stamp_ns == NOW_NS - 90 * MS
    np.testing.assert_array_equal(joints.ages_ns(NOW_NS), [30 * MS, 30 * MS, 90 * MS])


def test_the_joint_whose_driver_fell_silent_is_named_while_the_others_go_on():
    joints = states()
    joints.put(told(NOW_NS, pan=1.0, lift=2.0, gripper=3.0), NOW_NS)
    later_ns = NOW_NS + 201 * MS
    joints.put(told(later_ns, pan=1.1, lift=2.1), later_ns)
    assert joints.problem(later_ns) == "the last state of 'gripper' is older than 0.2 s"
    joints.put(told(later_ns, gripper=3.0), later_ns)
    assert joints.problem(later_ns) == ""


@given(
    st.permutations(["pan", "lift", "gripper", "wheel", "mimic"]),
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_however_a_state_is_cut_into_messages_and_ordered_the_same_positions_come_of_it(names, cuts, random):
    values = {name: float(place) for place, name in enumerate(names)}
    bounds = [0, *sorted(cuts), len(names)]
    parts = [names[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    random.shuffle(parts)
    joints = states()
    for part in parts:
        joints.put(told(NOW_NS, **{name: values[name] for name in part}), NOW_NS)
    np.testing.assert_array_equal(joints.positions, [values["pan"], values["lift"], values["gripper"]])
    assert joints.refusals.total == 0


@given(st.lists(st.tuples(st.integers(-150, 40), st.sampled_from(["pan", "lift", "gripper"]), st.floats(-3, 3))))
def test_of_each_joint_the_newest_measurement_counts_whenever_it_arrives(messages):
    joints, newest = states(), {}
    for age_ms, name, value in messages:
        stamp_ns = NOW_NS + age_ms * MS
        joints.put(told(stamp_ns, **{name: value}), NOW_NS)
        if stamp_ns >= newest.get(name, (0, 0.0))[0]:
            newest[name] = stamp_ns, value
    expected = [newest.get(name, (0, np.nan))[1] for name in ("pan", "lift", "gripper")]
    np.testing.assert_array_equal(joints.positions, expected)


def test_joints_of_others_are_ignored_and_told_when_they_are_all_there_is():
    joints = states()
    assert not joints.put(told(0, left_wheel=1.0, right_wheel=2.0), NOW_NS)
    assert joints.refusals.total == 0
    assert joints.problem(NOW_NS) == (
        "no joint state of 'pan', 'lift', 'gripper' yet (heard of left_wheel, right_wheel)"
    )


@pytest.mark.parametrize(
    "state, reason, sentence",
    [
        (message(NOW_NS, ["pan", "lift"], [1.0]), "lengths_differ", "2 names but 1 positions"),
        (message(NOW_NS, ["pan", "lift"], []), "lengths_differ", "2 names but 0 positions"),
        (message(NOW_NS, ["pan", "lift", "pan"], [1.0, 2.0, 3.0]), "duplicate_joint", "names pan more than once"),
        (message(NOW_NS, ["x", "pan", "x"], [1.0, 2.0, 3.0]), "duplicate_joint", "names x more than once"),
        (told(NOW_NS, pan=1.0, lift=np.nan), "not_finite", "position of 'lift' is nan"),
        (told(NOW_NS, pan=-np.inf), "not_finite", "position of 'pan' is -inf"),
        (told(NOW_NS, pan=1e308), "not_finite", "position of 'pan' is 1e\\+308"),
        (told(0, pan=1.0), "zero_stamp", "stamp is zero.*'accept_zero_stamps'"),
        (told(-5 * 10**9, pan=1.0), "negative_stamp", "stamp is -5.000 s"),
        (told(NOW_NS + 51 * MS, pan=1.0), "future_stamp", "0.051 s in the future, allowed 0.05 s"),
        (told(NOW_NS - 201 * MS, pan=1.0), "old_stamp", "0.201 s old, allowed 0.2 s"),
        (message(NOW_NS, [f"j{k}" for k in range(1001)], [0.0] * 1001), "too_large", "1001 names, at most 1000"),
    ],
)
def test_a_joint_state_that_cannot_be_trusted_is_refused_whole_and_counted_and_leaves_what_was_known(
    state, reason, sentence
):
    joints = states()
    joints.put(told(NOW_NS, pan=7.0, lift=8.0), NOW_NS)
    with pytest.raises(RefusedMessage, match=sentence) as refused:
        joints.put(state, NOW_NS)
    assert refused.value.reason == reason and joints.refusals.counts == {reason: 1}
    np.testing.assert_array_equal(joints.positions, [7.0, 8.0, np.nan])
    assert joints.problem(NOW_NS) == f"no joint state of 'gripper' yet (refused: {refused.value})"
    joints.put(told(NOW_NS, pan=7.0), NOW_NS)
    assert joints.problem(NOW_NS) == "no joint state of 'gripper' yet"


def test_what_is_told_of_a_bad_stream_stays_the_same_however_its_numbers_change():
    joints = states()
    texts = set()
    for k in range(5):
        with pytest.raises(RefusedMessage):
            joints.put(told(NOW_NS - (300 + k) * MS, pan=1.0), NOW_NS)
        texts.add(joints.problem(NOW_NS))
    assert len(texts) == 1 and "0.300 s old" in texts.pop()


def test_a_zero_stamp_means_the_time_of_reception_where_that_was_chosen():
    joints = states("pan", accept_zero=True)
    joints.put(told(0, pan=1.0), NOW_NS)
    assert joints.stamp_ns == NOW_NS


def test_after_the_clock_was_set_back_old_positions_are_stale_and_new_ones_count_at_once():
    joints = states("pan")
    joints.put(told(NOW_NS, pan=1.0), NOW_NS)
    back_ns = NOW_NS - 60 * 10**9
    assert joints.problem(back_ns)
    assert joints.put(told(back_ns, pan=2.0), back_ns)
    assert joints.problem(back_ns) == "" and joints.positions == [2.0]


def test_a_flood_of_names_is_refused_before_they_are_looked_at_and_told_in_a_short_line():
    names = [f"joint_{k}" for k in range(150_000)]
    joints = states()
    for flood in (names, ["same"] * 150_000):
        with pytest.raises(RefusedMessage) as refused:
            joints.put(message(NOW_NS, flood, np.zeros(len(flood))), NOW_NS)
        assert refused.value.reason == "too_large"
    pairs = [f"{'x' * 500}{k // 2}" for k in range(MAX_NAMES)]
    with pytest.raises(RefusedMessage) as refused:
        joints.put(message(NOW_NS, pairs, np.zeros(len(pairs))), NOW_NS)
    assert refused.value.reason == "duplicate_joint" and len(str(refused.value)) < 2000
    joints.put(message(NOW_NS, [f"{'x' * 500}{k}" for k in range(MAX_NAMES)], np.zeros(MAX_NAMES)), NOW_NS)
    assert len(joints.problem(NOW_NS)) < 2000


@given(st.lists(st.permutations(["a", "b", "c", "d"]), min_size=1, max_size=3))
def test_an_order_of_joints_takes_them_by_name_whatever_order_comes_next(orders):
    order, values = JointOrder(["c", "a"]), {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    for names in orders:
        np.testing.assert_array_equal(order.take_all(names, [values[name] for name in names]), [3.0, 1.0])


def test_where_all_joints_are_needed_a_missing_one_is_named():
    with pytest.raises(RefusedMessage, match="b is missing; there is a, c"):
        JointOrder(["a", "b"]).take_all(["a", "c"], [1.0, 2.0])


def test_recorded_positions_count_in_the_order_of_arrival_whatever_their_stamps():
    joints = JointStates.as_they_come(["pan", "lift"])
    for stamp_ns, pan in ((NOW_NS + 10**12, 1.0), (-7, 2.0), (0, 3.0)):
        joints.put(told(stamp_ns, pan=pan), NOW_NS)
    np.testing.assert_array_equal(joints.positions, [3.0, np.nan])
