"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.execution import metrics


def test_idle_fraction_counts_ticks_without_an_action():
    assert metrics.idle_fraction([True, False, False, True]) == 0.5
    assert math.isnan(metrics.idle_fraction([]))


def test_seam_jump_is_the_largest_joint_difference():
    assert metrics.seam_jump([0.0, 1.0], [0.1, 0.7]) == pytest.approx(0.3)


def test_in_chunk_step_is_a_median_over_the_rows():
    assert metrics.in_chunk_step([[0, 0], [1, 0], [1, 3], [1, 5]]) == 2.0
    assert math.isnan(metrics.in_chunk_step([[0.0]]))


def test_overlap_disagreement_compares_rows_of_the_same_instant():
    old, new = np.arange(10.0)[:, None], np.arange(4.0, 14.0)[:, None] + 0.5
    assert metrics.overlap_disagreement(old, new, shift=4) == pytest.approx(0.5)
    assert math.isnan(metrics.overlap_disagreement(old, new, shift=10))


def test_the_jerk_of_a_cubic_is_its_third_derivative():
    times = np.arange(20) * 0.1
    positions = np.stack((times**3, times**2), axis=1)
    np.testing.assert_allclose(metrics.jerk(positions, 0.1), np.tile([6.0, 0.0], (17, 1)), atol=1e-9)
    np.testing.assert_allclose(metrics.jerk_rms(positions, 0.1), [6.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(metrics.jerk_percentile(positions, 0.1), [6.0, 0.0], atol=1e-9)


def test_a_recording_of_three_ticks_has_no_jerk():
    assert np.isnan(metrics.jerk_rms(np.zeros((3, 2)), 0.1)).all()


@given(scale=st.floats(0.1, 10.0), period=st.floats(0.001, 0.1))
def test_ldlj_does_not_depend_on_size_and_duration(scale, period):
    x = np.linspace(0.0, 1.0, 201)
    minimum_jerk = (10 * x**3 - 15 * x**4 + 6 * x**5)[:, None]
    value = metrics.log_dimensionless_jerk(scale * minimum_jerk, period)[0]
    # 720 D^-5 A^2 * D^3 / (1.875 A / D)^2 for the minimum-jerk motion
    assert value == pytest.approx(-math.log(720 / 1.875**2), rel=0.02)


def test_ldlj_of_a_joint_at_rest_is_undefined():
    assert np.isnan(metrics.log_dimensionless_jerk(np.zeros((50, 1)), 0.01)).all()


def test_wilson_interval_agrees_with_published_values():
    low, high = metrics.wilson_interval(190, 200)
    assert (low, high) == pytest.approx((0.9104, 0.9726), abs=1e-4)
    assert metrics.wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_contains_the_rate(counts):
    successes, trials = counts
    low, high = metrics.wilson_interval(successes, trials)
    assert 0.0 <= low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= high <= 1.0


def test_more_successes_than_trials_are_refused():
    with pytest.raises(ValueError, match="3 successes of 2"):
        metrics.wilson_interval(3, 2)


def test_jitter_and_drift_of_ticks():
    times = [0.0, 0.011, 0.020, 0.040]
    np.testing.assert_allclose(metrics.period_errors(times, 0.01), [0.001, -0.001, 0.01], atol=1e-12)
    assert metrics.drift_s(times, 0.01) == pytest.approx(0.01)
