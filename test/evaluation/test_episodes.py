"""The figures of an evaluation."""

import pytest

from smolvla_ros.evaluation.episodes import Episode, Task, draw_tasks, idle_since_motion, summary
from smolvla_ros.msg import ExecutionStatus

HOLDING, FOLLOWING = ExecutionStatus.HOLDING, ExecutionStatus.FOLLOWING


def status(state, ticks, idle_ticks):
    return ExecutionStatus(state=state, ticks=ticks, idle_fraction=idle_ticks / ticks)


def test_idle_time_is_counted_from_the_first_motion_on():
    statuses = [status(HOLDING, 50, 50), status(FOLLOWING, 60, 58), status(HOLDING, 80, 68), status(FOLLOWING, 100, 78)]
    assert idle_since_motion(statuses) == pytest.approx(20 / 40)


@pytest.mark.parametrize("statuses", [[], [status(HOLDING, 50, 50)], [status(FOLLOWING, 50, 10)]])
def test_without_motion_there_is_no_idle_time(statuses):
    assert idle_since_motion(statuses) is None


def episode(success, touched, time_s=2.0, idle=0.0):
    return Episode(Task(1, "red", "touch the red cube"), success, touched, time_s, 0.1, 0.08, idle)


def test_a_wrong_cube_counts_as_wrong_and_a_missed_one_does_not():
    figures = summary([episode(True, "red"), episode(False, "blue"), episode(False, ""), episode(True, "red", 4.0)])
    assert figures["episodes"] == 4
    assert figures["success"] == 0.5
    assert figures["wrong_object"] == 0.25
    assert figures["time_s"] == 3.0
    assert 0.0 < figures["wilson_low"] < 0.5 < figures["wilson_high"] < 1.0


def test_tasks_are_seeded_and_take_the_colours_in_turn():
    assert draw_tasks(8, seed=3) == draw_tasks(8, seed=3)
    assert draw_tasks(8, seed=3) != draw_tasks(8, seed=4)
    assert len({task.target for task in draw_tasks(4, seed=0)}) == 4
    assert all(task.target in task.instruction.lower() for task in draw_tasks(40, seed=1))
