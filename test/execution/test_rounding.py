"""Rounding of a path that asks for more acceleration than allowed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from smolvla_ros.execution.rounding import rounded

STEP_S = 1.0 / 30.0
LIMIT, TOLERANCE = np.full(2, 20.0), np.full(2, 0.03)


def swing(noise=0.0, rows=50, seed=0):
    """A gentle motion, at most 2 rad/s^2, and noise [rad] on the first joint only."""
    t = STEP_S * np.arange(rows)[:, None]
    return 0.5 * np.sin(2.0 * t + [0.0, 1.0]) + np.random.default_rng(seed).normal(size=(rows, 2)) * [noise, 0.0]


def acceleration(rows):
    """[joints] the largest of the curve through the rows."""
    times = STEP_S * np.arange(len(rows))
    return np.abs(CubicSpline(times, rows, bc_type="natural")(times, 2)).max(axis=0)


@pytest.mark.parametrize("rows", [1, 2, 3, 50])
def test_rows_inside_the_limits_stay_exactly_what_they_are(rows):
    path = swing(rows=rows)
    assert rounded(path, STEP_S, LIMIT, TOLERANCE) is path


@given(noise=st.floats(0.001, 0.1), rows=st.integers(3, 120), seed=st.integers(0, 1000))
def test_no_row_moves_further_than_the_tolerance_and_the_ends_and_the_other_joints_not_at_all(noise, rows, seed):
    path = swing(noise, rows, seed)
    smooth = rounded(path, STEP_S, LIMIT, TOLERANCE)
    assert np.abs(smooth - path).max() <= 0.03
    np.testing.assert_array_equal(smooth[[0, -1]], path[[0, -1]])
    np.testing.assert_array_equal(smooth[:, 1], path[:, 1])
    assert acceleration(smooth)[0] <= acceleration(path)[0] + 1e-9


def test_the_noise_of_a_policy_is_rounded_off_with_half_of_the_limit_to_spare():
    path = swing(noise=0.005)
    assert acceleration(path)[0] > 2.0 * LIMIT[0]
    smooth = rounded(path, STEP_S, LIMIT, TOLERANCE)
    assert acceleration(smooth)[0] <= 0.5 * LIMIT[0]
    # Nothing is delayed: what is left is nearer to the motion than the noise was.
    assert np.abs(smooth - swing())[:, 0].mean() < 0.7 * np.abs(path - swing())[:, 0].mean()


def test_rounding_looks_forwards_as_far_as_backwards():
    path = swing(noise=0.01)
    backwards = rounded(path[::-1], STEP_S, LIMIT, TOLERANCE)[::-1]
    np.testing.assert_allclose(rounded(path, STEP_S, LIMIT, TOLERANCE), backwards, atol=1e-12)


@pytest.mark.parametrize(("limit", "tolerance"), [(np.inf, 0.03), (20.0, 0.0)])
def test_a_joint_without_a_limit_or_without_a_tolerance_keeps_its_rows(limit, tolerance):
    path = swing(noise=0.02)
    smooth = rounded(path, STEP_S, np.full(2, limit), np.full(2, tolerance))
    np.testing.assert_array_equal(smooth, path)


def test_a_corner_is_rounded_as_far_as_the_tolerance_permits():
    path = 0.08 * np.minimum(np.arange(50.0), 49.0 - np.arange(50.0))[:, None] * np.ones(2)  # 2.4 rad/s and back
    smooth = rounded(path, STEP_S, LIMIT, TOLERANCE)
    assert 0.015 < np.abs(smooth - path).max() <= 0.03
    assert (acceleration(smooth) < 0.6 * acceleration(path)).all()
