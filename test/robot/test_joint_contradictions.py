"""Two sources of the same joints are noticed, and whatever else joint states do is not taken for them."""

from types import SimpleNamespace as Simple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolvla_ros.robot.joint_contradictions import JointContradictions
from smolvla_ros.robot.observation import Freshness, ObservationBuffer

MS = 1_000_000


def looked_at(states):
    """Of (time [ms], positions)."""
    found = JointContradictions(len(states[0][1]))
    for time_ms, positions in states:
        found.add(np.array(positions, float), round(time_ms * MS))
    return found


def motion(rate_hz=100.0, seconds=4.0, speed=2.0):
    """Two joints that swing."""
    times_s = np.arange(0.0, seconds, 1.0 / rate_hz)
    return [(1e3 * t, (0.5 + 0.4 * np.sin(speed / 0.4 * t), -1.0)) for t in times_s]


@settings(max_examples=20, deadline=None)
@given(st.floats(20.0, 500.0), st.floats(20.0, 500.0), st.floats(0.1, 0.9), st.integers(0, 100))
def test_two_publishers_are_found_whatever_their_rates(one_hz, other_hz, phase, seed):
    jitter = np.random.default_rng(seed)
    zeros = [(t + 1e3 * phase / other_hz + jitter.uniform(0, 1), (0.0, 0.0)) for t, _ in motion(other_hz, 1.5)]
    found = looked_at(sorted(motion(one_hz, 1.5) + zeros))
    assert found.spans
    assert found.joint == 1 and found.largest == pytest.approx(1.0)
    assert found.zeros == len(zeros)


@pytest.mark.parametrize("rate_hz", [10.0, 100.0, 1000.0])
@pytest.mark.parametrize("speed", [0.5, 8.0])
def test_a_moving_arm_contradicts_nothing(rate_hz, speed):
    assert looked_at(motion(rate_hz, speed=speed)).returns == 0


def test_messages_that_were_held_up_and_come_all_together_contradict_nothing():
    states = [(200 * (t // 200 + 1), q) for t, q in motion(speed=8.0)]
    assert not looked_at(states).spans


def test_single_wrong_readings_are_no_second_publisher():
    states = [(t, (0.0, 0.0) if k % 100 == 50 else q) for k, (t, q) in enumerate(motion())]
    found = looked_at(states)
    assert found.returns > 0 and not found.spans


def test_a_driver_that_says_the_same_state_twice_contradicts_nothing():
    assert looked_at([state for state in motion() for _ in range(2)]).returns == 0


def test_there_is_no_observation_while_two_sources_contradict_each_other_and_there_is_one_again_afterwards():
    buffer = ObservationBuffer([], ["a", "b"], Freshness(10**9, 10**9, 10**9, 0, True))

    def put(time_ms, *positions):
        header = Simple(stamp=Simple(sec=0, nanosec=0))
        buffer.put_joint_state(Simple(header=header, name=["a", "b"], position=list(positions)), time_ms * MS)

    for time_ms in range(10, 200, 10):
        put(time_ms, 0.5, -1.0)
        put(time_ms + 3, 0.0, 0.0)
    observation, problem = buffer.take(200 * MS)
    assert observation is None and problem.startswith("joint states contradict each other: 'b' leaps away and back")
    for time_ms in range(210, 1400, 10):
        put(time_ms, 0.5, -1.0)
    assert buffer.take(1400 * MS)[0] is not None
