"""Commands in, servo targets out: set points at once, trajectories as joint_trajectory_controller follows them."""

import numpy as np
import pytest

from smolvla_ros.sim.commands import Follower, check_positions, check_trajectory
from smolvla_ros.sim.pacing import Pace
from smolvla_ros.sim.trajectory_follower import CommandError
from smolvla_ros.sim.world import JOINTS

NAMES = list(JOINTS)


PERIOD_S = 0.005
NS = 10**9


def follower(positions: np.ndarray) -> Follower:
    return Follower(positions, round(PERIOD_S * NS))


def give(
    arm: Follower, times_s: list[float], rows: list[list[float]], rates: list[list[float]], *, at_s: float = 0.0,
    stamp_s: float = 0.0, names: list[str] = NAMES,
) -> None:  # fmt: skip
    times_ns = [round(time_s * NS) for time_s in times_s]
    arm.follow(*check_trajectory(names, round(stamp_s * NS), times_ns, rows, rates), round(at_s * NS))


def at(arm: Follower, now_s: float) -> np.ndarray:
    """The targets for `now_s`: an update commands what is meant for a period later."""
    return arm.targets(round((now_s - PERIOD_S) * NS), np.zeros(6), np.zeros(6)).copy()


def test_a_set_point_goes_to_the_joints_it_names() -> None:
    arm = follower(np.zeros(6))
    arm.set_positions(*check_positions(["gripper", "shoulder_pan"], [0.5, -0.3]))
    assert at(arm, 0.0).tolist() == [-0.3, 0, 0, 0, 0, 0.5]


def test_a_trajectory_without_velocities_is_followed_along_straight_lines() -> None:
    arm = follower(np.zeros(6))
    give(arm, [0.1, 0.2], [[0.1] * 6, [0.3] * 6], [[], []], at_s=4.9, stamp_s=5.0)
    for now_s, expected in ((5.1, 0.1), (5.15, 0.2), (5.2, 0.3), (9.0, 0.3)):
        assert at(arm, now_s) == pytest.approx([expected] * 6, abs=1e-9)


def test_a_trajectory_with_velocities_passes_its_points_with_them() -> None:
    arm = follower(np.zeros(6))
    give(arm, [0.1, 0.3], [[0.1] * 6, [0.2] * 6], [[1.0] * 6, [0.0] * 6])
    at(arm, 1.0 + PERIOD_S)  # from the first update on
    before, passing, after = (at(arm, 1.0 + t)[0] for t in (0.099, 0.1, 0.101))
    assert passing == pytest.approx(0.1)
    assert (after - before) / 0.002 == pytest.approx(1.0, abs=0.02)
    end = [at(arm, 1.0 + t)[0] for t in (0.299, 0.3)]
    assert end[1] == pytest.approx(0.2) and end[1] - end[0] < 1e-5


def test_a_trajectory_for_some_joints_leaves_the_others_alone() -> None:
    arm = follower(np.arange(6.0))
    give(arm, [0.5], [[7.0, 0.0]], [[]], names=["gripper", "elbow_flex"])
    for now_s in (0.1, 1.0):
        targets = at(arm, now_s)
    assert targets.tolist() == [0, 1, 0, 3, 4, 7]


def test_a_new_trajectory_begins_at_the_measured_position_as_real_controllers_begin_by_default() -> None:
    arm = follower(np.ones(6))
    give(arm, [1.0], [[1.0] * 6], [[]])
    assert at(arm, PERIOD_S).tolist() == pytest.approx([PERIOD_S] * 6)


def test_points_that_are_in_the_past_are_passed_by_and_a_trajectory_that_has_ended_is_refused() -> None:
    arm = follower(np.zeros(6))
    rows = [[0.1] * 6, [0.4] * 6]
    give(arm, [0.1, 0.2], rows, [[], []], at_s=1.15, stamp_s=1.0)
    assert at(arm, 1.15) == pytest.approx([0.25] * 6)
    with pytest.raises(CommandError, match=r"ended 0\.300 s ago"):
        give(arm, [0.1, 0.2], rows, [[], []], at_s=1.5, stamp_s=1.0)


def test_a_trajectory_that_would_not_end_at_rest_is_refused() -> None:
    with pytest.raises(CommandError, match=r"velocity is up to 0\.5 rad/s, expected 0"):
        give(follower(np.zeros(6)), [0.1], [[0.1] * 6], [[0.5] * 6])


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
        check_trajectory(names, 0, [round(time_s * NS) for time_s in times], positions, [[] for _ in positions])


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
