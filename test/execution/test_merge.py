"""Merge rules, ease-in and interpolation, as numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.interpolate import CubicSpline

from smolvla_ros.execution.chunk import Chunk
from smolvla_ros.execution.interpolation import segments
from smolvla_ros.execution.merge import MERGE_RULES, weight_of_new
from smolvla_ros.execution.plan import Motion, Plan
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.execution.timeline import Timeline

MS = 1_000_000
STEP_NS = 40 * MS


def plan_of(rows, kind="cubic", start_ns=0):
    rows = np.asarray(rows, dtype=np.float64)
    return Plan(rows, np.ones(len(rows), dtype=np.int64), start_ns, STEP_NS, kind)


@pytest.mark.parametrize(
    ("rule", "weight"), [("latest_only", 1.0), ("weighted_average", 0.7), ("average", 0.5), ("conservative", 0.3)]
)
def test_each_rule_weighs_the_new_chunk_as_its_name_says(rule, weight, joint_limits):
    timeline, limits = Timeline(), joint_limits()
    configuration = ControllerSettings(limits, 0.01, merge_rule=rule)
    old = Chunk(1, 1, 0, STEP_NS, np.zeros((20, 2)))
    timeline.replace(old, timeline.merged(old, 0, configuration), 0)
    new = Chunk(1, 2, 10 * STEP_NS, STEP_NS, np.ones((20, 2)))
    rows = timeline.merged(new, 10 * STEP_NS, configuration).rows
    np.testing.assert_allclose(rows[:10], weight)
    np.testing.assert_allclose(rows[10:], 1.0)


@given(chunks=st.integers(1, 12), decay=st.floats(0.0, 2.0))
def test_temporal_ensembling_is_the_weighted_mean_of_all_chunks(chunks, decay):
    values = np.random.default_rng(chunks).normal(size=chunks)
    mean = values[0]
    for count in range(1, chunks):
        weight = weight_of_new("temporal_ensemble", np.array([count]), decay)[0, 0]
        mean += weight * (values[count] - mean)
    weights = np.exp(-decay * np.arange(chunks))
    assert mean == pytest.approx((weights * values).sum() / weights.sum())


def test_an_old_chunk_between_the_rows_of_the_new_one_is_interpolated(joint_limits):
    timeline = Timeline()
    configuration = ControllerSettings(joint_limits(), 0.01, merge_rule="average")
    ramp = np.repeat(np.arange(20.0)[:, None], 2, axis=1)
    old = Chunk(1, 1, 0, STEP_NS, ramp)
    timeline.replace(old, timeline.merged(old, 0, configuration), 0)
    new = Chunk(1, 2, STEP_NS // 2, STEP_NS, ramp + 0.5)
    np.testing.assert_allclose(timeline.merged(new, STEP_NS // 2, configuration).rows[:18], ramp[:18] + 0.5)


@given(arrays(np.float64, st.tuples(st.integers(2, 30), st.just(2)), elements=st.floats(-3, 3)))
def test_cubic_interpolation_is_the_natural_spline(rows):
    plan, times = plan_of(rows), np.arange(len(rows)) * STEP_NS * 1e-9
    spline = CubicSpline(times, rows, bc_type="natural")
    for time_ns in np.linspace(0, (len(rows) - 1) * STEP_NS, 23, endpoint=False).astype(np.int64):
        motion = plan.sample(int(time_ns))
        for order, value in enumerate(motion):
            np.testing.assert_allclose(value, spline(time_ns * 1e-9, order), atol=1e-6 * 100**order, rtol=1e-6)


def test_linear_interpolation_is_straight_between_rows():
    plan = plan_of([[0.0], [1.0], [0.0]], "linear")
    assert plan.sample(STEP_NS // 4).position[0] == pytest.approx(0.25)
    assert plan.sample(STEP_NS + STEP_NS // 2).position[0] == pytest.approx(0.5)


def test_one_row_is_a_constant():
    assert plan_of([[0.3]]).sample(STEP_NS // 2).position[0] == 0.3
    assert segments(np.array([[0.3]]), 0.04, "cubic").shape == (1, 4, 1)


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["linear", "cubic"]),
    rows=st.integers(1, 10),
    at=st.integers(0, 10 * STEP_NS),
)
def test_a_seam_continues_position_velocity_and_acceleration_and_ends_on_the_chunk(seed, kind, rows, at):
    random = np.random.default_rng(seed)
    positions = random.normal(size=(40, 2))
    plan, eased = plan_of(positions, kind), plan_of(positions, kind)
    before = Motion(*random.normal(size=(3, 2)))
    eased.ease_in(plan.offset_of(before, at), at, rows * STEP_NS)
    np.testing.assert_allclose(np.array(eased.sample(at)), np.array(before), atol=1e-6)
    after = at + rows * STEP_NS
    for time_ns in (after, after + 123, after + STEP_NS):
        np.testing.assert_allclose(np.array(eased.sample(time_ns)), np.array(plan.sample(time_ns)))


def test_without_ease_in_the_chunk_is_taken_as_it_is():
    plan = plan_of(np.zeros((5, 1)))
    plan.ease_in(plan.offset_of(Motion.at_rest(np.ones(1)), 0), 0, 0)
    assert plan.sample(0).position[0] == 0.0


@pytest.mark.parametrize("rule", MERGE_RULES)
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_under_every_rule_commands_cross_a_disagreeing_seam_without_a_jump(new_rig, rule, interpolation):
    rig = new_rig(merge_rule=rule, interpolation=interpolation)
    rig.follow(rows=50, to=0.6)
    for _ in range(6):
        rig.tick(20)
        chunk = rig.chunk(rows=50, to=0.6)
        chunk.positions[:] += 0.05
        assert rig.deliver(chunk) is None
    rig.tick(20)
    positions = np.array([position for _, position in rig.commands])
    steps = np.abs(np.diff(positions, axis=0))
    assert steps.max() < 0.03
    assert rig.status.seam_jump < 0.03
