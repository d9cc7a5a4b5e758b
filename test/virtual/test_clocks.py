"""ROS clocks that are coarse, fast, slow, paused or set: what the arm does."""

import numpy as np
import pytest

from smolvla_ros.execution.simulated_time import SimulatedTime
from smolvla_ros.policy.loop_types import LoopState
from smolvla_ros.virtual.clock import VirtualClock

S = 10**9
PERIOD_NS = 10_000_000
CLOCK_60_HZ_NS = 16_666_667  # of real time; a simulation at twice real time moves it on by twice as much


def clamped(arm):
    counters = arm.status.counters
    return counters.acceleration.ticks + counters.velocity.ticks


@pytest.mark.parametrize("rate", [0.25, 0.5, 1.0, 1.02, 2.0, 3.0])
def test_under_a_clock_of_60_hz_no_tick_is_clamped_and_the_arm_stays_on_the_plan_at_any_rate(new_arm, rate):
    clock = VirtualClock(10**18, rate=rate, tick_ns=round(CLOCK_60_HZ_NS * rate))
    arm = new_arm(clock=clock, sim_time=True)
    arm.run(2.0 + 6.0 / rate)
    before = clamped(arm)
    arm.run(4.0 / rate)
    print(f"real-time factor {rate}: {arm.speed(3.0):.4f} rad/s, {clamped(arm) - before} ticks clamped")
    assert arm.following and clamped(arm) == before
    # An arm that is one command behind its stamp loses 10 ms in the 500 ms between two chunks.
    assert arm.speed(3.0) == pytest.approx(0.5, rel=0.03)


def test_a_paused_clock_freezes_the_arm_without_commands_and_motion_goes_on_after_it(new_arm):
    clock = VirtualClock(10**18, tick_ns=CLOCK_60_HZ_NS)
    arm = new_arm(clock=clock, sim_time=True)
    arm.run(3.0)
    clock.rate = 0.0
    arm.run(0.1)
    sent, before = len(arm.commands), clamped(arm)
    arm.run(5.0)
    assert len(arm.commands) == sent
    clock.rate = 1.0
    arm.run(3.0)
    assert arm.following and clamped(arm) == before
    assert arm.speed(1.0) == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("by_s", [-60.0, -0.5, 30.0])
def test_a_clock_that_is_set_is_told_once_by_the_policy_and_motion_goes_on_by_the_new_time(new_arm, by_s):
    arm = new_arm()
    arm.run(3.0)
    told = len(arm.stack.policy.reports)
    arm.clock.set_by(round(by_s * S))
    arm.run(1.0)
    arm.commands.clear()
    arm.run(1.5)
    (jump,) = [text for _, text in arm.stack.policy.reports[told:] if "clock jumped" in text]
    assert float(jump.split()[5]) == pytest.approx(by_s, abs=0.02)
    assert arm.stack.policy.state[0] is LoopState.RUNNING and arm.following
    assert arm.speed(1.0) == pytest.approx(0.5, rel=0.02)


def test_a_slow_inference_beside_a_fast_simulation_is_no_jump(new_arm):
    clock = VirtualClock(10**18, rate=3.0)
    arm = new_arm(clock=clock, sim_time=True, latency_ms=lambda: 400, max_action_age_s=20.0)
    arm.run(5.0)
    assert not [text for _, text in arm.stack.policy.reports if "jumped" in text]


def read(simulated, messages, until_s):
    """What is read every 10 ms under messages (steady [s], ROS [s]): [n, 2] of the same."""
    rows = []
    for steady_s in np.arange(messages[0][0], until_s, 0.01):
        heard_s = [ros_s for at_s, ros_s in messages if at_s <= steady_s + 1e-9][-1]
        rows.append((steady_s, simulated.now_ns(round(heard_s * S), round(steady_s * S)) / S))
    return np.array(rows)


@pytest.mark.parametrize("hz", [10, 30, 60, 250])
@pytest.mark.parametrize("rate", [0.3, 1.0, 4.0])
def test_time_between_messages_is_continuous_and_near_the_clock_however_late_they_come(hz, rate):
    rng = np.random.default_rng(0)
    sent_s = np.arange(0.0, 6.0, 1.0 / hz)
    late_s = rng.uniform(0.0, 0.005, len(sent_s))
    messages = [(100.0 + at + late, 50.0 + rate * at) for at, late in zip(sent_s, late_s, strict=True)]
    times = read(SimulatedTime(PERIOD_NS), messages, 105.9)
    settled = times[times[:, 0] > 102.0]
    steps = np.diff(settled[:, 1]) / 0.01
    assert steps.min() >= 0.0
    assert (np.abs(steps / rate - 1.0) < 0.25).all()
    error_s = settled[:, 1] - (50.0 + rate * (settled[:, 0] - 100.0))
    assert np.abs(error_s).max() < rate * (1.5 / hz + 0.02)


def test_time_never_goes_back_unless_the_clock_does_and_then_starts_anew():
    messages = [(100.0 + k / 60, 50.0 + k / 60) for k in range(60)]
    messages += [(101.0 + k / 60, 20.0 + k / 60) for k in range(60)]
    times = read(SimulatedTime(PERIOD_NS), messages, 102.0)
    back = np.flatnonzero(np.diff(times[:, 1]) < 0.0)
    assert len(back) == 1 and times[back[0] + 1, 1] == pytest.approx(20.0, abs=0.02)


def test_steps_are_a_period_apart_and_a_jump_is_one_step():
    simulated = SimulatedTime(PERIOD_NS)
    heard_ns, steps = 50 * S, []
    for tick in range(300):
        heard_ns += 2 * PERIOD_NS
        if tick == 200:
            heard_ns += 100 * S
        steps += simulated.due(heard_ns, 100 * S + tick * PERIOD_NS)
    gaps = np.diff(steps)
    assert (gaps == PERIOD_NS).sum() == len(gaps) - 1 and gaps.max() > 99 * S
