"""Policy and controller together: what the arm does when cameras lag, answers jitter, chunks are refused."""

import numpy as np
import pytest

from smolvla_ros.execution.chunk import Rejection

MS = 1_000_000


@pytest.mark.parametrize("lag_ms", [0, 33, 100, 200, 400])
def test_the_arm_moves_at_the_policys_speed_however_late_the_images_are(new_arm, lag_ms):
    arm = new_arm(image_lag_ms=lag_ms)
    arm.run(6.0)
    print(f"images {lag_ms} ms older than the state: {arm.speed(4.0):.4f} rad/s, the policy wants 0.5")
    assert arm.speed(4.0) == pytest.approx(0.5, rel=0.02)
    assert arm.status.action_age_s > lag_ms / 1e3


@pytest.mark.parametrize("seed", range(5))
def test_answers_that_jitter_change_nothing_in_the_speed(new_arm, seed):
    rng = np.random.default_rng(seed)
    arm = new_arm(image_lag_ms=70, latency_ms=lambda: rng.uniform(20, 500))
    arm.run(8.0)
    assert arm.speed(5.0) == pytest.approx(0.5, rel=0.02)


def test_a_refused_chunk_is_asked_for_again_at_once(new_arm):
    arm = new_arm()
    arm.run(2.0)
    arm.fake.speed = 40.0  # more than a joint may move between two rows
    asked = len(arm.fake.asked_ns)
    arm.run(0.9)
    assert arm.stack.refused.keys() == {Rejection.STEP_TOO_LARGE}
    gaps_ms = np.diff(arm.fake.asked_ns[asked:]) / MS
    assert len(gaps_ms) >= 3 and gaps_ms.max() <= 70 + 10  # its latency and a period; a time-out would be 500
    arm.fake.speed = 0.5
    arm.run(2.0)
    assert arm.following and arm.speed(1.0) == pytest.approx(0.5, rel=0.02)


def test_a_policy_restarted_with_any_session_number_and_a_clock_of_any_age_takes_over(new_arm):
    arm = new_arm()
    arm.run(2.0)
    for session in (2**64 - 1, 1, 2**40):
        arm.restart_policy(session)
        arm.stack.policy.instruct("go on")
        arm.run(2.0)
        assert arm.following and arm.status.session == session
    assert not arm.stack.refused


def test_a_withdrawn_instruction_drops_the_chunk_under_way_and_ends_motion(new_arm):
    arm = new_arm(latency_ms=lambda: 300)
    arm.run(2.0)
    while not arm.stack.policy.busy:
        arm.run(0.01)
    asked = len(arm.fake.asked_ns)
    arm.stack.instruct("")
    arm.run(1.0)
    assert not arm.following and len(arm.fake.asked_ns) == asked and not arm.stack.refused
