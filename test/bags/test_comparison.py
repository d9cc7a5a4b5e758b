"""Errors of chunks: which numbers they are made of, and what is left out."""

import numpy as np
import pytest

from smolvla_ros.bags.replay.comparison import (
    chunk_errors,
    compare,
    hold_errors,
    joint_errors,
    recorded_errors,
    usable_std,
)
from smolvla_ros.bags.replay.result import RecordedChunk, ReplayedChunk

NAN = np.nan


def chunk(positions, reference, state=(0.0, 0.0), recorded=None):
    positions, reference = np.array(positions, float), np.array(reference, float)
    made = None if recorded is None else RecordedChunk(1, 0, 0, 0, 0.0, 0.1, "", np.array(recorded, float))
    return ReplayedChunk(0, 0, 0, 0, 0, "", np.array(state, float), positions, reference, 0, 0.0, made)


ONE = chunk([[1.0, 0.0], [2.0, 0.0]], [[0.0, 0.0], [0.0, 4.0]])
STD = np.array([2.0, 4.0])


def test_errors_are_means_over_joints_rows_and_both_in_both_units():
    errors = chunk_errors([ONE], 2, STD)
    assert errors.values == 4
    assert errors.robot.mean == pytest.approx((1 + 2 + 0 + 4) / 4)
    np.testing.assert_allclose(errors.robot.joint_mean, [1.5, 2.0])
    np.testing.assert_allclose(errors.robot.row_mean, [0.5, 3.0])
    np.testing.assert_allclose(errors.robot.cell_mean, [[1, 0], [2, 4]])
    np.testing.assert_allclose(errors.std.joint_mean, [0.75, 0.5])
    assert errors.robot.p95 == pytest.approx(np.percentile([1, 2, 0, 4], 95))
    np.testing.assert_allclose(errors.robot.joint_p95, [np.percentile([1, 2], 95), np.percentile([0, 4], 95)])
    np.testing.assert_allclose(errors.robot.row_p95, [np.percentile([1, 0], 95), np.percentile([2, 4], 95)])


def test_where_the_bag_tells_nothing_nothing_is_compared():
    errors = chunk_errors([chunk([[1.0, 1.0]] * 2, [[0.0, NAN], [NAN, NAN]])], 2, STD)
    assert (errors.values, errors.robot.mean) == (1, 1.0)
    assert np.isnan(errors.robot.row_mean[1]) and np.isnan(errors.robot.joint_mean[1])


def test_no_chunks_give_no_errors_instead_of_zero():
    errors = chunk_errors([], 2, STD)
    assert errors.values == 0 and np.isnan(errors.robot.mean) and errors.robot.cell_mean.shape == (2, 2)


def test_a_joint_that_did_not_move_in_training_has_no_error_in_std():
    errors = chunk_errors([ONE], 2, usable_std(np.array([0.0, 4.0])))
    assert np.isnan(errors.std.joint_mean[0]) and errors.std.mean == pytest.approx(0.5)


def test_standing_still_is_measured_against_the_same_reference():
    errors = hold_errors([chunk([[9.0, 9.0]] * 2, [[1.0, 2.0], [3.0, NAN]], state=(1.0, 1.0))], 2, STD)
    np.testing.assert_allclose(errors.robot.cell_mean, [[0.0, 1.0], [2.0, NAN]])


def test_recorded_chunks_are_compared_row_by_row_as_far_as_they_go():
    errors = recorded_errors([chunk([[1.0, 1.0]] * 2, [[NAN, NAN]] * 2, recorded=[[1.0, 3.0]])], 2, STD)
    assert errors is not None and errors.values == 2
    np.testing.assert_allclose(errors.robot.joint_mean, [0.0, 2.0])
    assert recorded_errors([ONE], 2, STD) is None


def test_the_errors_of_a_single_chunk_are_means_over_its_rows():
    np.testing.assert_allclose(joint_errors(ONE), [1.5, 2.0])


def test_errors_have_no_sign():
    assert compare(np.full((1, 1, 1), -1.0), np.zeros((1, 1, 1)), np.ones(1)).robot.mean == 1.0
