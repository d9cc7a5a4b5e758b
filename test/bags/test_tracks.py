"""What the joints were told, or were measured at, at any instant, out of single messages."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.streams import COMMAND_TYPES, CommandStream
from smolvla_ros.bags.tracks import CommandTrack, Track, state_track
from smolvla_ros.parameters.robot import RobotParameters
from smolvla_ros.robot import RobotConfig

MS = 10**6
ROBOT = RobotConfig.from_parameters(RobotParameters.from_values({"joints": ["a", "b"]}))


def at(track, *times_ms):
    return track.sample(np.array(times_ms, np.int64) * MS)[:, 0].tolist()


def stamped(time_ms, **fields):
    header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=time_ms * MS))
    return SimpleNamespace(header=header, **fields)


def command(kind):
    return [CommandStream("/command", COMMAND_TYPES[kind], ("a", "b"))]


def sent(kind, log_ms, message, topic="/command"):
    return SimpleNamespace(topic=topic, type=COMMAND_TYPES[kind], log_ns=log_ms * MS, message=message)


def trajectory(start_ms, *points, names=("a", "b"), came_ms=None):
    """A message that arrives at its stamp, if nothing else is said; points are (ms from the start, positions)."""
    made = [SimpleNamespace(positions=positions, time_from_start=SimpleNamespace(sec=0, nanosec=after * MS))
            for after, positions in points]  # fmt: skip
    came_ms = start_ms if came_ms is None else came_ms
    return sent("joint_trajectory", came_ms, stamped(start_ms, joint_names=list(names), points=made))


def test_positions_lie_on_straight_lines_between_measurements():
    track = state_track(1)
    for time_ms, value in ((0, 0.0), (100, 1.0), (200, 3.0)):
        track.add(time_ms * MS, np.array([value]))
    assert at(track, 0, 50, 100, 150, 200) == pytest.approx([0.0, 0.5, 1.0, 2.0, 3.0])


def test_measured_positions_are_unknown_outside_and_in_long_gaps():
    track = state_track(1)
    for time_ms in (0, 100, 900):
        track.add(time_ms * MS, np.array([1.0]))
    assert np.isnan(at(track, -1, 101, 500, 901)).all()
    assert at(track, 0, 100, 900) == [1.0, 1.0, 1.0]


def test_a_track_without_anything_is_unknown_everywhere():
    assert np.isnan(at(state_track(2), 0, 5)).all()


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(-3, 3)), min_size=1, max_size=20, unique_by=lambda e: e[0]))
def test_in_whatever_order_measurements_come_their_instants_give_them_back(entries):
    track = state_track(1)
    for time_ms, value in entries:
        track.add(time_ms * MS, np.array([value]))
    assert at(track, *(time_ms for time_ms, _ in entries)) == pytest.approx([value for _, value in entries])


def test_a_command_stands_for_a_second_when_no_other_follows():
    track = CommandTrack(command("joint_state"), ROBOT)
    for time_ms, value in ((10, 1.0), (5000, 2.0)):
        track.add(sent("joint_state", time_ms + 3, stamped(time_ms, name=["b", "a"], position=[9.0, value])))
    known = at(track, 10, 1009, 1011, 5000, 5999, 6001)
    assert known[:2] == [1.0, 1.0] and known[3:5] == [2.0, 2.0]
    assert np.isnan([known[2], known[5]]).all()


def test_an_array_without_a_stamp_counts_from_its_reception_in_the_order_of_the_config():
    track = CommandTrack([CommandStream("/command", COMMAND_TYPES["position_array"], ("b", "a"))], ROBOT)
    due_ns, positions = track.add(sent("position_array", 40, SimpleNamespace(data=np.array([2.0, 1.0]))))
    assert due_ns == 40 * MS and positions.tolist() == [1.0, 2.0]
    assert at(track, 40) == [1.0]


def test_a_gripper_on_its_own_topic_joins_the_arm():
    kind = COMMAND_TYPES["position_array"]
    gripper = CommandStream("/gripper", kind, ("b",), scale=100.0, offset=10.0)
    track = CommandTrack([CommandStream("/command", kind, ("a",)), gripper], ROBOT)
    track.add(sent("position_array", 0, SimpleNamespace(data=np.array([1.0]))))
    track.add(sent("position_array", 5, SimpleNamespace(data=np.array([60.0])), "/gripper"))
    assert track.sample(np.array([10 * MS])).tolist() == [[1.0, 0.5]]


def test_a_trajectory_is_followed_point_by_point_and_its_last_point_stands():
    track = CommandTrack(command("joint_trajectory"), ROBOT)
    track.add(trajectory(0, (100, [1.0, 9.0]), (200, [2.0, 9.0])))
    assert at(track, 100, 150, 200, 9000) == pytest.approx([1.0, 1.5, 2.0, 2.0])


def test_a_new_trajectory_begins_where_the_old_one_was_when_it_came():
    track = CommandTrack(command("joint_trajectory"), ROBOT)
    track.add(trajectory(0, (100, [1.0, 0.0]), (300, [3.0, 0.0])))
    track.add(trajectory(200, (100, [0.0, 0.0])))
    assert at(track, 150, 200, 250, 300) == pytest.approx([1.5, 2.0, 1.0, 0.0])


def test_a_trajectory_after_one_that_has_ended_begins_at_its_last_point():
    track = CommandTrack(command("joint_trajectory"), ROBOT)
    track.add(trajectory(0, (0, [1.0, 0.0])))
    track.add(trajectory(5000, (1000, [2.0, 0.0])))
    assert at(track, 4000, 5000, 5500, 6000) == pytest.approx([1.0, 1.0, 1.5, 2.0])


def test_trajectories_as_the_controller_sends_them_give_what_was_commanded_when_it_is_followed():
    """Ten milliseconds apart, each with the commands of the last 30 ms for 20 ms later, and with what is foreseen."""
    track = CommandTrack(command("joint_trajectory"), ROBOT)
    for now in range(30, 1000, 10):
        after = [0, 10, 20, 30, 70, 110]
        points = [(ms, [(now - 30 + ms) / 1e3, 0.0]) for ms in after[:4]]
        wrong = [(ms, [9.0, 0.0]) for ms in after[4:]]  # other chunks came
        track.add(trajectory(now - 10, *points, *wrong, came_ms=now + 1))
    times = np.arange(50, 1000, 7)
    np.testing.assert_allclose(at(track, *times), (times - 20) / 1e3)


def test_a_trajectory_takes_effect_when_it_comes_even_if_its_stamp_is_older_or_later():
    track = CommandTrack(command("joint_trajectory"), ROBOT)
    track.add(trajectory(0, (0, [1.0, 0.0])))
    track.add(trajectory(100, (0, [4.0, 0.0]), (100, [5.0, 0.0]), came_ms=150))
    assert at(track, 100, 149, 150, 200) == pytest.approx([1.0, 1.0, 4.5, 5.0])
    track.add(trajectory(600, (0, [0.0, 0.0]), came_ms=400))
    assert at(track, 400, 500, 600) == pytest.approx([5.0, 2.5, 0.0])


def test_a_trajectory_of_some_joints_says_nothing_of_the_others():
    track = CommandTrack(command("joint_trajectory"), ROBOT)
    track.add(trajectory(0, (0, [7.0]), (100, [8.0]), names=("b",)))
    sampled = track.sample(np.array([50 * MS]))
    assert np.isnan(sampled[0, 0]) and sampled[0, 1] == 7.5


def test_a_point_with_too_few_positions_is_named():
    track = CommandTrack(command("joint_trajectory"), ROBOT)
    with pytest.raises(BagError, match="1 positions for 2 joints"):
        track.add(trajectory(0, (0, [1.0, 2.0]), (10, [1.0])))


def test_an_empty_trajectory_changes_nothing():
    track = CommandTrack(command("joint_trajectory"), ROBOT)
    track.add(trajectory(0, (0, [1.0, 2.0])))
    track.add(trajectory(100))
    assert at(track, 200) == [1.0]


def test_a_plan_that_reaches_into_the_past_does_not_change_it():
    track = Track(1, 10**9, holds=True)
    track.plan(0, [(0, np.array([1.0]))])
    track.plan(100 * MS, [(50 * MS, np.array([5.0])), (200 * MS, np.array([2.0]))])
    assert at(track, 50, 99, 100, 200) == pytest.approx([1.0, 1.0, 4.0, 2.0])
