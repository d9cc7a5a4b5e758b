"""Commands in, servo targets out: set points at once, trajectories as joint_trajectory_controller follows them."""

import numpy as np
import pytest

from smolvla_ros.sim.commands import CommandError, FollowedTrajectory, Follower, check_positions
from smolvla_ros.sim.pacing import Pace
from smolvla_ros.sim.world import JOINTS

NAMES = list(JOINTS)


def test_a_set_point_goes_to_the_joints_it_names() -> None:
    follower = Follower(np.zeros(6))
    follower.set_positions(*check_positions(["gripper", "shoulder_pan"], [0.5, -0.3]))
    assert follower.targets(0.0).tolist() == [-0.3, 0, 0, 0, 0, 0.5]


def test_a_trajectory_without_velocities_is_followed_along_straight_lines() -> None:
    follower = Follower(np.zeros(6))
    rows = [[0.1] * 6, [0.3] * 6]
    follower.follow(FollowedTrajectory.checked(NAMES, [0.1, 0.2], rows, [[], []]), start_s=5.0, now_s=5.0)
    for now_s, expected in ((5.05, 0.05), (5.1, 0.1), (5.15, 0.2), (5.2, 0.3), (9.0, 0.3)):
        assert follower.targets(now_s) == pytest.approx([expected] * 6)


def test_a_trajectory_with_velocities_passes_its_points_with_them() -> None:
    follower = Follower(np.zeros(6))
    trajectory = FollowedTrajectory.checked(NAMES, [0.1, 0.3], [[0.1] * 6, [0.2] * 6], [[1.0] * 6, [0.0] * 6])
    follower.follow(trajectory, start_s=0.0, now_s=0.0)
    before, at, after = (follower.targets(t)[0] for t in (0.099, 0.1, 0.101))
    assert at == pytest.approx(0.1)
    assert (after - before) / 0.002 == pytest.approx(1.0, abs=0.02)
    end = [follower.targets(t)[0] for t in (0.299, 0.3)]
    assert end[1] == pytest.approx(0.2) and end[1] - end[0] < 1e-5


def test_a_trajectory_for_some_joints_leaves_the_others_alone() -> None:
    follower = Follower(np.arange(6.0))
    follower.follow(FollowedTrajectory.checked(["elbow_flex"], [0.5], [[0.0]], [[]]), start_s=0.0, now_s=0.0)
    assert follower.targets(1.0).tolist() == [0, 1, 0, 3, 4, 5]


def test_a_new_trajectory_starts_from_where_the_old_one_has_come() -> None:
    follower = Follower(np.zeros(6))
    follower.follow(FollowedTrajectory.checked(NAMES, [1.0], [[1.0] * 6], [[]]), start_s=0.0, now_s=0.0)
    follower.follow(FollowedTrajectory.checked(NAMES, [1.0], [[0.5] * 6], [[]]), start_s=0.5, now_s=0.5)
    assert follower.targets(0.5) == pytest.approx([0.5] * 6)
    assert follower.targets(1.2) == pytest.approx([0.5] * 6)


def test_points_that_are_in_the_past_are_left_out() -> None:
    follower = Follower(np.zeros(6))
    trajectory = FollowedTrajectory.checked(NAMES, [0.1, 0.2], [[0.1] * 6, [0.4] * 6], [[], []])
    follower.follow(trajectory, start_s=-0.15, now_s=0.0)
    assert follower.targets(0.05) == pytest.approx([0.4] * 6)
    follower.follow(trajectory, start_s=-9.0, now_s=1.0)
    assert follower.targets(1.0) == pytest.approx([0.4] * 6)


@pytest.mark.parametrize(
    ("names", "times", "positions", "found"),
    [
        ([*NAMES[:5], "elbow"], [0.1], [[0.0] * 6], "elbow"),
        ([*NAMES[:5], NAMES[0]], [0.1], [[0.0] * 6], "at most once"),
        (NAMES, [], [], "times"),
        (NAMES, [0.2, 0.1], [[0.0] * 6] * 2, "times"),
        (NAMES, [0.1], [[0.0] * 5], "5 positions for 6 joints"),
        (NAMES, [0.1], [[0.0] * 5 + [float("nan")]], "finite"),
    ],
)
def test_a_malformed_trajectory_is_refused_with_what_was_found(
    names: list[str], times: list[float], positions: list[list[float]], found: str
) -> None:
    with pytest.raises(CommandError, match=found):
        FollowedTrajectory.checked(names, times, positions, [[] for _ in positions])


def test_a_set_point_without_names_must_be_for_all_joints() -> None:
    assert check_positions((), [0.0] * 6)[0] == (0, 1, 2, 3, 4, 5)
    with pytest.raises(CommandError, match="3 positions for 6 joints"):
        check_positions((), [0.0] * 3)


def test_simulated_time_follows_the_clock_and_skips_what_it_cannot_catch_up_with() -> None:
    clock_s = [10.0]
    pace = Pace(factor=2.0, clock_s=lambda: clock_s[0])
    pace.start()
    clock_s[0] += 0.05
    assert pace.elapsed_s() == pytest.approx(0.1) and pace.now_s == pytest.approx(0.1)
    clock_s[0] += 3.0
    assert pace.elapsed_s() == pytest.approx(0.2)
    assert pace.lost_s == pytest.approx(2.9)
    clock_s[0] += 60.0
    pace.start()  # a pause is not lost time
    assert pace.elapsed_s() == 0.0
