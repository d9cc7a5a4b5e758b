"""Joint states that are believed, and those that no joint could have reached."""

import numpy as np
import pytest

from smolvla_ros.execution.watch import JointStateWatch

VELOCITY = np.array([2.0, 2.0])
TICK_NS = 10_000_000


def refused_of_split_drivers(gripper_rate_hz: float, gripper_speed: float, jump_at: int = -1) -> int:
    """An arm's driver tells at 100 Hz, a gripper's at its own rate; both in steady motion. How many were refused."""
    watch, gripper, measured_ns = JointStateWatch(VELOCITY, 0.01), 0.0, 0
    every = round(100 / gripper_rate_hz)
    for tick in range(1000):
        steady_ns = tick * TICK_NS
        if tick % every == 0:
            gripper, measured_ns = gripper_speed * tick * 0.01, steady_ns
        arm = 1.9 * tick * 0.01 + (1.0 if tick == jump_at else 0.0)
        watch.receive(np.array([arm, gripper]), steady_ns, steady_ns, np.array([0, steady_ns - measured_ns]))
    return watch.refused


@pytest.mark.parametrize("rate_hz", [100.0, 20.0, 10.0, 5.0])
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.9])
def test_a_slow_driver_of_one_joint_beside_a_fast_one_is_believed(rate_hz, speed):
    assert refused_of_split_drivers(rate_hz, speed) == 0


def test_one_state_that_no_joint_could_have_reached_is_refused_beside_a_slow_driver_too():
    assert refused_of_split_drivers(5.0, 1.0, jump_at=500) == 1
