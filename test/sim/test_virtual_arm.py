"""The loop in virtual time: what it does by tick, and that it is the synchronous run when nothing waits."""

from dataclasses import replace

import numpy as np
import pytest

from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.policy.questions import OneByOne, Predicted
from smolvla_ros.policy.requests import RequestPolicy
from smolvla_ros.sim import JOINTS, World, scenarios
from smolvla_ros.sim.expert import STEP_S
from smolvla_ros.sim.policies import ExpertPolicy
from smolvla_ros.sim.virtual_arm import LOOP_SETTINGS, VirtualArm

ROWS = 50
RED = "touch the red cube"


def settings(**changes):
    one = np.ones(len(JOINTS))
    limits = JointLimits(JOINTS, -3 * one, 3 * one, 100 * one, 1e5 * one, 3 * one, 3 * one, 3 * one)
    return ControllerSettings(limits, **{"period_s": STEP_S, "interpolation": "linear", "ease_in_rows": 0} | changes)


class Recorder(OneByOne):
    """A policy that stays where it is, and remembers when it was asked and what for."""

    rows = ROWS

    def __init__(self, world):
        self.asked = []
        self.continuations = []
        self.world = world

    def normalised_state(self, observation):
        return observation.positions

    def answer(self, question):
        self.asked.append((round(self.world.time_s / STEP_S), question.instruction))
        self.continuations.append(question.continuation)
        rows = np.tile(question.observation.positions, (ROWS, 1))
        # What is normalised is no business of the loop: here it tells rows and chunks apart.
        numbers = np.arange(ROWS, dtype=np.float32)[:, None] + 100 * len(self.asked)
        return Predicted(rows, numbers, {"inference": 0.0}, 0)


@pytest.fixture(scope="module")
def world():
    made = World()
    yield made
    made.close()


def arm(world, policy, delay, rule="synchronous", seed=3, **changes):
    world.reset(seed)
    requests = RequestPolicy(rule, threshold=0.5)
    made = {"settings": settings(), "requests": requests, "delay": lambda: delay}
    return VirtualArm(world, policy, **{**made, **changes})


def plain_synchronous_run(world, policy, ticks, seed=3):
    """What everybody writes first: look, infer while the world stands still, execute the whole chunk."""
    world.reset(seed)
    positions = []
    while len(positions) < ticks:
        for row in policy.actions(world.joint_positions(), RED):
            world.set_targets(row)
            world.step(STEP_S)
            positions.append(world.joint_positions())
    return np.array(positions[:ticks])


def test_threshold_zero_in_a_frozen_world_is_exactly_the_synchronous_run(world):
    expected = plain_synchronous_run(world, ExpertPolicy(world), 130)
    run = arm(world, ExpertPolicy(world), delay=0, requests=RequestPolicy("threshold", threshold=0.0))
    positions = []
    for _ in range(130):
        run.step(RED)
        positions.append(world.joint_positions())
    np.testing.assert_allclose(positions, expected, rtol=0.0, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.5


@pytest.mark.parametrize("delay", [0, 1, 8, 20])
def test_synchronous_execution_idles_for_the_delay_in_every_cycle(world, delay):
    policy = Recorder(world)
    run = arm(world, policy, delay)
    idle = [run.step(RED).idle for _ in range(3 * (ROWS + delay))]
    assert [tick for tick, _ in policy.asked] == [0, ROWS + delay, 2 * (ROWS + delay)]
    assert idle == 3 * (delay * [True] + ROWS * [False])


@pytest.mark.parametrize("delay", [1, 8, 20, 24])
def test_a_threshold_above_the_delay_never_idles_after_the_first_chunk(world, delay):
    run = arm(world, Recorder(world), delay, "threshold")
    ticks = [run.step(RED) for _ in range(200)]
    assert [tick.tick for tick in ticks if tick.idle] == list(range(delay))


def test_a_chunk_lands_after_its_delay_and_rows_of_the_past_are_not_executed(world):
    run = arm(world, Recorder(world), 8, "threshold")
    ticks = [run.step(RED) for _ in range(60)]
    landed = [tick for tick in ticks if tick.merged]
    # 50 rows from tick 8 on; less than 25 are left after tick 33, so the next observation is that of tick 34.
    assert [(tick.tick, tick.observation_tick) for tick in landed] == [(8, 0), (42, 34)]
    assert landed[1].remaining_rows == ROWS - 8 - 1


def test_a_new_instruction_is_answered_at_once_unless_execution_is_synchronous(world):
    blue = "touch the blue cube"
    for rule, answered in (("threshold", 20), ("synchronous", ROWS)):
        policy = Recorder(world)
        run = arm(world, policy, 0, rule)
        for tick in range(ROWS + 1):
            run.step(RED if tick < 20 else blue)
        assert min(tick for tick, text in policy.asked if text == blue) == answered


def test_a_chunk_continues_the_rows_executed_from_its_observation_on_with_the_measured_delay(world):
    policy = Recorder(world)
    run = arm(world, policy, 8, "threshold", loop=replace(LOOP_SETTINGS, delay_percentile=75.0))
    for _ in range(45):
        run.step(RED)
    first, second = policy.continuations
    assert first is None
    # Row 0 of the first chunk was executed at tick 8, the second observation is that of tick 34.
    np.testing.assert_allclose(second.rows[:, 0], 100 + np.arange(26, ROWS), rtol=0, atol=1e-3)
    assert second.delay == 8


def test_equal_seeds_give_equal_runs(world):
    runs = []
    for _ in range(2):
        run = scenarios.task(world, lambda world, seed: _expert_arm(world), seed=4)
        runs.append((run.target, run.touched, run.time_s, np.concatenate([tick.commands for tick in run.ticks])))
    assert runs[0][:3] == runs[1][:3]
    np.testing.assert_array_equal(runs[0][3], runs[1][3])


def _expert_arm(world, delay=4):
    requests = RequestPolicy("threshold", threshold=0.5)
    smooth = settings(interpolation="cubic", ease_in_rows=5, period_s=STEP_S / 3)
    return VirtualArm(
        world, ExpertPolicy(world), settings=smooth, requests=requests, delay=lambda: delay
    )


def test_the_expert_does_its_tasks_one_after_the_other_on_a_tidy_table_and_hears_of_a_moved_cube(world):
    outcomes = scenarios.tasks_for(world, lambda world, seed: _expert_arm(world), seed=1, duration_s=6.0)
    assert len(outcomes) > 3 and all(outcome.success for outcome in outcomes[:-1])
    resting = [cube for cube in world.layout.cubes if cube.colour not in (outcomes[-1].target, outcomes[-2].target)]
    for cube in resting:  # whatever the arm pushed on its way was put back
        np.testing.assert_allclose(world.cube_position(cube.colour)[:2], cube.xy, atol=0.02)
    # After the move: at most until half the chunk is left, then the delay.
    assert 4 * STEP_S <= scenarios.reaction_s(world, lambda world, seed: _expert_arm(world), seed=1) <= 31 * STEP_S
