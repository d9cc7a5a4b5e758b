"""Windows of latencies against values worked out by hand."""

import math

import pytest

from smolvla_ros.policy.latency import LatencyWindow, StageLatencies


def test_one_slow_call_leaves_the_window_again():
    window = LatencyWindow(size=10)
    window.add(9.0)
    for _ in range(10):
        window.add(0.1)
    assert window.percentile(100) == 0.1
    assert (len(window), window.last) == (10, 0.1)


def test_percentiles_are_linear_between_measurements():
    window = LatencyWindow()
    for seconds in (0.1, 0.2, 0.3):
        window.add(seconds)
    assert window.percentile(75) == pytest.approx(0.25)


def test_an_empty_window_says_nothing():
    window = LatencyWindow()
    assert math.isnan(window.last)
    assert math.isnan(window.percentile(50))
    window.add(1.0)
    window.clear()
    assert len(window) == 0


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_latency_that_is_not_finite_is_refused(seconds):
    with pytest.raises(ValueError, match="finite"):
        LatencyWindow().add(seconds)


def test_stages_keep_windows_of_their_own():
    stages = StageLatencies(size=2)
    stages.add({"vision": 0.1, "denoise": 0.5})
    stages.add({"vision": 0.3})
    assert stages.percentiles(100) == {"vision": 0.3, "denoise": 0.5}
