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
from smolvla_ros.execution.plan import Motion, Plan, Room
from smolvla_ros.execution.seam import Seam
from smolvla_ros.execution.settings import ControllerSettings

MS = 1_000_000
STEP_NS = 40 * MS
AT_ZERO = Motion.at_rest(np.zeros(2))


def plan_of(rows, kind="cubic", start_ns=0):
    rows = np.asarray(rows, dtype=np.float64)
    return Plan(rows, np.ones(len(rows), dtype=np.int64), start_ns, STEP_NS, kind)


@pytest.mark.parametrize(
    ("rule", "weight"), [("latest_only", 1.0), ("weighted_average", 0.7), ("average", 0.5), ("conservative", 0.3)]
)
def test_each_rule_weighs_the_new_chunk_as_its_name_says(rule, weight, joint_limits):
    configuration = ControllerSettings(joint_limits(), 0.01, merge_rule=rule)
    new = Chunk(1, 2, 10 * STEP_NS, STEP_NS, np.ones((20, 2)))
    rows = Seam(configuration, plan_of(np.zeros((20, 2))), AT_ZERO, 0, new.stamp_ns).merge(new).plan.rows
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
    configuration = ControllerSettings(joint_limits(), 0.01, merge_rule="average")
    ramp = np.repeat(np.arange(20.0)[:, None], 2, axis=1)
    new = Chunk(1, 2, STEP_NS // 2, STEP_NS, ramp + 0.5)
    rows = Seam(configuration, plan_of(ramp), AT_ZERO, 0, new.stamp_ns).merge(new).plan.rows
    np.testing.assert_allclose(rows[:18], ramp[:18] + 0.5)


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


ROOM = Room(*np.full((5, 2), [[3.0], [20.0], [-9.0], [9.0], [0.03]]))


def random_plan(random, kind="cubic", noise=0.0):
    """Rows inside the limits of ROOM, but for their noise [rad]."""
    t = np.arange(40)[:, None] * STEP_NS * 1e-9
    phase = random.uniform(1.0, 6.0, 2) * t + random.uniform(0.0, 6.0, 2)
    return plan_of(random.uniform(-0.3, 0.3, 2) * np.sin(phase) + noise * random.normal(size=(40, 2)), kind)


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 10),
    at=st.integers(0, 45 * STEP_NS),
    noise=st.sampled_from([0.0, 0.005, 0.05]),
)
def test_a_seam_continues_the_last_command_inside_the_limits_and_ends_at_rest_on_the_last_row(seed, rows, at, noise):
    random = np.random.default_rng(seed)
    plan = random_plan(random, noise=noise)
    before = Motion(random.uniform(-0.4, 0.4, 2), random.uniform(-2.0, 2.0, 2), random.uniform(-5.0, 5.0, 2))
    plan.join(before, at, ROOM, rows * STEP_NS * 1e-9)
    start = plan.sample(at)
    np.testing.assert_allclose(start.position, before.position, atol=1e-9)
    np.testing.assert_allclose(start.velocity, before.velocity, atol=1e-7)
    motions = [plan.sample(time_ns) for time_ns in range(at, plan.end_ns, 2 * MS)]
    assert all((np.abs(motion.velocity) <= ROOM.velocity).all() for motion in motions)
    assert all((np.abs(motion.acceleration) <= 1.002 * ROOM.acceleration).all() for motion in motions)
    end = plan.sample(plan.end_ns)
    np.testing.assert_allclose(end.position, plan.rows[-1], atol=1e-9)
    np.testing.assert_allclose(end.velocity, 0.0, atol=1e-9)


@settings(deadline=None)
@given(way=st.floats(0.002, 0.3), speed=st.floats(-3.0, 3.0), rows=st.integers(1, 10))
def test_a_chunk_that_stands_still_is_passed_by_no_more_than_braking_takes(way, speed, rows):
    plan = plan_of(np.zeros((40, 2)))
    start, rate = np.array([way, 0.0]), np.array([speed, 0.0])
    plan.join(Motion(start, rate, np.zeros(2)), 0, ROOM, rows * STEP_NS * 1e-9)
    positions = np.array([plan.sample(time_ns).position[0] for time_ns in range(0, plan.end_ns, 2 * MS)])
    braking = max(speed**2 / (2.0 * 0.98 * ROOM.acceleration[0]) - way, 0.0) if speed < 0.0 else 0.0
    assert -positions.min() <= braking + 2e-3


def test_a_small_seam_keeps_the_pace_of_the_rows():
    plan = random_plan(np.random.default_rng(1))
    plan.join(Motion.at_rest(plan.rows[0]), 0, ROOM, 0.2)
    for row in range(10, 35):
        np.testing.assert_allclose(plan.sample(row * STEP_NS).position, plan.rows[row], atol=1e-9)


def test_noise_beyond_the_acceleration_limit_is_rounded_off_and_the_pace_is_kept():
    plan = random_plan(np.random.default_rng(3), noise=0.008)
    assert np.abs(np.diff(plan.rows, 2, axis=0)).max() > 1.5 * 20.0 * (STEP_NS * 1e-9) ** 2
    plan.join(Motion.at_rest(plan.rows[0]), 0, ROOM, 0.2)
    assert plan.end_ns - plan.expiry_ns < 2 * STEP_NS  # braking on the last row takes some
    for row in range(10, 35):
        np.testing.assert_allclose(plan.sample(row * STEP_NS).position, plan.rows[row], atol=0.03)


def test_a_row_faster_than_the_limits_slows_the_plan_instead_of_leaving_its_path():
    plan = plan_of(np.arange(10)[:, None] * np.array([0.4, 0.1]))  # 10 rad/s
    plan.join(Motion.at_rest(np.zeros(2)), 0, ROOM, 0.2)
    motions = [plan.sample(time_ns) for time_ns in range(500 * MS, plan.end_ns, 5 * MS)]
    assert max(motion.velocity.max() for motion in motions) <= 3.0
    np.testing.assert_allclose([m.position[1] for m in motions], [0.25 * m.position[0] for m in motions], atol=1e-9)


def test_a_joint_that_is_not_smoothed_follows_its_rows_at_once():
    plan = plan_of(np.full((20, 2), 0.3))
    plan.join(Motion.at_rest(np.zeros(2)), 0, ROOM._replace(velocity=np.array([3.0, np.inf])), 0.2)
    assert plan.sample(MS).position[0] < 0.01
    assert plan.sample(MS).position[1] == 0.3


def test_without_ease_in_the_chunk_is_taken_as_it_is():
    plan = plan_of(np.zeros((5, 2)))
    plan.join(Motion.at_rest(np.ones(2)), 0, ROOM, 0.0)
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


def lowest(plan, step_ns=MS):
    """[joints] of a plan, from now to its end."""
    return np.min([plan.sample(at_ns).position for at_ns in range(0, plan.end_ns, step_ns)], axis=0)


def test_a_joint_that_turns_back_from_a_limit_has_the_acceleration_for_it(joint_limits):
    lower = np.array([-1.92, -2.74])
    room = Room(*np.full((5, 2), [[4.0], [30.0], [0.0], [2.8], [0.03]]))._replace(lower=lower)
    plan = plan_of(np.linspace([-1.4607, 0.4497], [-0.4507, 0.7995], 32))
    last = Motion(np.array([-1.826, -0.9466]), np.array([-1.6293, -2.3054]), np.array([17.8, -0.5]))
    assert (last.position - last.velocity**2 / (2 * 30.0) > lower).all()  # it can
    plan.join(last, 0, room, 0.2)
    assert (lowest(plan) >= lower).all()


def test_a_curve_through_rows_inside_the_limits_does_not_leave_them_between_two_rows():
    rows = np.array([[0.10, 0.5], [0.0, 0.4], [0.0, 0.3], [0.10, 0.2], [0.2, 0.1], [0.3, 0.1]])
    room = Room(*np.full((5, 2), [[90.0], [9000.0], [0.0], [1.0], [0.03]]))
    plan = plan_of(rows)
    assert lowest(plan)[0] < -0.005  # as a spline does
    plan.join(plan.sample(0), 0, room, 0.0)
    assert lowest(plan)[0] == pytest.approx(0.0, abs=1e-5) and lowest(plan)[0] >= -1e-12
    outside = plan_of(rows - 0.2)  # what the policy wants is not changed: the limiter tells of it
    outside.join(outside.sample(0), 0, room, 0.0)
    assert lowest(outside)[0] == pytest.approx(-0.2, abs=1e-5)


def overtaken(monkeypatch, rig, times, by):
    """While a plan is made, `by` happens; so often. Returns whether the lock was free each time."""
    merge, free = Seam.merge, []

    def slow_merge(seam, chunk):
        free.append(rig.controller._lock.acquire(blocking=False))
        if free[-1]:
            rig.controller._lock.release()
            if len(free) <= times:
                by()
        return merge(seam, chunk)

    monkeypatch.setattr(Seam, "merge", slow_merge)
    return free


@pytest.mark.parametrize("times", [0, 1, 2, 3, 50])
def test_a_plan_is_made_without_the_lock_and_anew_if_a_control_step_overtook_it(monkeypatch, rig, times):
    rig.follow(to=0.4)
    free = overtaken(monkeypatch, rig, times, rig.tick)
    assert rig.deliver(rig.chunk(to=-0.4)) is None
    assert free == ([True] * (times + 1) if times < 3 else [True] * 3 + [False])
    for _ in range(100):  # the rig asserts in every one that commands go on inside the limits
        rig.tick()


def test_a_chunk_whose_plan_is_made_several_times_is_heard_once(monkeypatch, rig):
    rig.follow()
    overtaken(monkeypatch, rig, 2, rig.tick)
    rig.session, rig.sequence = 200, 0
    assert rig.deliver(rig.chunk()) is None  # a new policy takes over, and is no rival of the one before
    assert rig.deliver(rig.chunk()) is None


def test_what_happens_while_a_plan_is_made_is_as_if_it_had_come_before(monkeypatch, rig):
    rig.follow()
    first, second = rig.chunk(), rig.chunk()
    overtaken(monkeypatch, rig, 1, lambda: rig.deliver(second))
    assert rig.deliver(first) == "old_sequence"
    assert rig.status.sequence == second.sequence
    overtaken(monkeypatch, rig, 1, rig.controller.stop)
    assert rig.deliver(rig.chunk()) == "not_accepting"
    assert rig.status.remaining_rows == 0
