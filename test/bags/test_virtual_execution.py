"""Replayed chunks executed in virtual time: what the request rule sees, and how chunks go over into one another."""

import numpy as np
import pytest

from smolvla_ros.bags.replay.virtual_execution import VirtualExecution
from smolvla_ros.execution.chunk import Chunk

STEP_NS = 100


def chunk(sequence, stamp_ns, values):
    return Chunk(1, sequence, stamp_ns, STEP_NS, np.array(values, float)[:, None])


@pytest.fixture
def execution():
    execution = VirtualExecution(1, STEP_NS, 0)
    execution.instruct("go", 0)
    return execution


def tick(execution, now_ns):
    execution.deliver(now_ns)
    execution.advance(now_ns)


def commands(execution):
    return execution.trace()[1][:, 0].tolist()


def test_a_chunk_is_executed_row_after_row_from_when_it_is_there(execution):
    execution.send(chunk(1, 0, [1, 2, 3]), 100)
    for now_ns in range(0, 500, STEP_NS):
        tick(execution, now_ns)
    times_ns, positions, chunks = execution.trace()
    np.testing.assert_allclose(positions[:, 0], [np.nan, 1, 2, 3, np.nan])
    assert chunks.tolist() == [-1, 0, 0, 0, -1]


def test_while_the_arm_follows_a_new_chunk_starts_at_the_instant_of_its_observation(execution):
    execution.send(chunk(1, 0, [1, 2, 3, 4, 5]), 0)
    tick(execution, 0)
    execution.send(chunk(2, 0, [10, 20, 30, 40, 50]), 200)
    for now_ns in (100, 200, 300):
        tick(execution, now_ns)
    assert commands(execution) == [1, 2, 30, 40]


def test_it_is_busy_until_the_chunk_under_way_is_there(execution):
    execution.send(chunk(1, 0, [1]), 100)
    assert execution.busy(99) and not execution.busy(100)


def test_the_request_rule_sees_what_is_left(execution):
    assert execution.view(1, 0).session == 0 and not execution.view(1, 0).following
    execution.send(chunk(1, 0, [1, 2, 3]), 0)
    tick(execution, 0)
    view = execution.view(1, 0)
    assert (view.session, view.sequence, view.remaining_rows, view.rows_executed) == (1, 1, 2, 1)
    assert view.following and view.remaining_s == pytest.approx(3 * STEP_NS * 1e-9)


def test_a_seam_is_measured_from_the_last_command_to_the_first_new_one(execution):
    execution.send(chunk(1, 0, [0, 1, 2, 3]), 0)
    tick(execution, 0)
    execution.send(chunk(2, 100, [6, 7, 8, 9]), 100)
    tick(execution, 100)
    seams = execution.seams()
    assert (seams.switches, seams.jump.max, seams.jump_ratio.max) == (1, 6.0, 6.0)
    assert seams.overlap.max == pytest.approx(5.0)  # 6, 7, 8 against 1, 2, 3
    assert seams.idle_fraction == 0.0


def test_the_first_chunk_after_a_pause_makes_no_seam(execution):
    execution.send(chunk(1, 0, [0]), 0)
    for now_ns in (0, 100, 200):
        tick(execution, now_ns)
    execution.send(chunk(2, 200, [9]), 300)
    tick(execution, 300)
    assert execution.seams().switches == 0
    assert execution.seams().idle_fraction == pytest.approx(2 / 4)


def test_without_an_instruction_nothing_is_executed_and_nothing_arrives(execution):
    execution.send(chunk(1, 0, [1, 2, 3]), 0)
    tick(execution, 0)
    execution.send(chunk(2, 0, [4, 5, 6]), 200)
    execution.instruct("", 100)
    for now_ns in (100, 200):
        tick(execution, now_ns)
    assert commands(execution)[0] == 1 and np.isnan(commands(execution)[1:]).all()
    assert execution.seams().idle_fraction == 0.0  # nobody asked for motion


def test_a_chunk_that_comes_too_late_is_counted_and_not_executed(execution):
    execution.send(chunk(1, 0, [0] * 9), 0)
    tick(execution, 0)
    execution.send(chunk(2, 0, [1]), 300)
    tick(execution, 300)
    assert execution.seams().expired == 1 and commands(execution) == [0, 0]


def test_the_age_of_an_action_counts_from_its_observation(execution):
    execution.send(chunk(1, 50, [0, 0]), 100)
    tick(execution, 100)
    assert execution.seams().action_age_s.max == pytest.approx(50e-9)


def test_without_chunks_there_are_no_figures_instead_of_zeros(execution):
    tick(execution, 0)
    seams = execution.seams()
    assert np.isnan([seams.jump.p50, seams.overlap.p95, seams.action_age_s.max, seams.idle_fraction]).all()
    assert np.isnan(seams.jerk_rms).all()


def test_jerk_is_measured_within_stretches_of_motion_only(execution):
    execution.send(chunk(1, 0, [0, 1, 2, 3, 4]), 0)
    for now_ns in range(0, 800, STEP_NS):
        tick(execution, now_ns)
    execution.send(chunk(2, 800, [90, 91, 92, 93, 94]), 800)
    for now_ns in range(800, 1200, STEP_NS):
        tick(execution, now_ns)
    np.testing.assert_allclose(execution.seams().jerk_rms, 0.0, atol=1e-6)
