"""Replayed chunks executed in virtual time: how chunks go over into one another, and what is told of it."""

import numpy as np
import pytest

from smolvla_ros.bags.replay.motion import ReplayedMotion, open_settings
from smolvla_ros.execution.chunk import Chunk, ChunkError, Rejection
from smolvla_ros.execution.controller import Controller

STEP_NS = 100_000_000
START_NS = 10**12


class Replayed:
    """A controller that passes everything on, by tick, and the record of what it did."""

    def __init__(self):
        self.controller = Controller(open_settings(["joint"], STEP_NS * 1e-9))
        self.controller.activate(START_NS - 10**9, 0)
        self.motion = ReplayedMotion(1, STEP_NS)
        self.rows = []
        self.instructed = True

    def send(self, stamp_tick, values, now_tick, image_tick=None):
        """Row 0 belongs to `stamp_tick`; the chunk arrives at `now_tick`; its refusal or None."""
        self.rows.append(np.array(values, float)[:, None])
        stamp_ns, now_ns = self.ns(stamp_tick), self.ns(now_tick)
        image_ns = stamp_ns if image_tick is None else self.ns(image_tick)
        for _ in range(3):
            self.controller.receive_joint_positions(np.zeros(1), now_ns, now_ns)
        try:
            self.controller.receive_chunk(
                Chunk(1, len(self.rows), stamp_ns, STEP_NS, self.rows[-1], 0, image_ns), now_ns, now_ns
            )
        except ChunkError as error:
            return error.reason
        return None

    def tick(self, *ticks):
        for tick in ticks:
            now_ns = self.ns(tick)
            self.controller.receive_joint_positions(np.zeros(1), now_ns, now_ns)
            command = self.controller.step(now_ns, now_ns)
            status = self.controller.status()
            rows = self.rows[status.sequence - 1] if status.sequence else None
            self.motion.add(now_ns, command, status, rows, self.instructed)

    def ns(self, tick):
        return START_NS + round(tick * STEP_NS)

    @property
    def commands(self):
        return self.motion.trace()[1][:, 0]


@pytest.fixture
def replayed():
    return Replayed()


def test_a_chunk_is_executed_row_after_row_from_when_it_is_there(replayed):
    replayed.tick(0)
    replayed.send(0, [1, 2, 3], now_tick=1)
    replayed.tick(1, 2, 3, 4)
    times_ns, positions, chunks = replayed.motion.trace()
    assert times_ns[1] == replayed.ns(1)
    np.testing.assert_allclose(positions[:, 0], [np.nan, 1, 2, 3, np.nan], atol=1e-5)
    assert chunks.tolist() == [-1, 0, 0, 0, -1]


def test_while_the_arm_follows_a_new_chunk_starts_at_the_instant_of_its_state(replayed):
    replayed.send(0, [1, 2, 3, 4, 5], now_tick=0)
    replayed.tick(0, 1)
    replayed.send(0, [10, 20, 30, 40, 50], now_tick=2)
    replayed.tick(2, 3)
    np.testing.assert_allclose(replayed.commands, [1, 2, 30, 40], atol=1e-6)


def test_a_seam_is_measured_from_the_last_command_to_the_first_new_one(replayed):
    replayed.send(0, [0, 1, 2, 3], now_tick=0)
    replayed.tick(0)
    replayed.send(1, [6, 7, 8, 9], now_tick=1)
    replayed.tick(1)
    seams = replayed.motion.seams(0)
    assert (seams.switches, seams.jump.max, seams.jump_ratio.max) == (1, pytest.approx(6.0), pytest.approx(6.0))
    assert seams.overlap.max == pytest.approx(5.0)  # 6, 7, 8 against 1, 2, 3
    assert seams.idle_fraction == 0.0


def test_the_first_chunk_after_a_pause_makes_no_seam(replayed):
    replayed.send(0, [0], now_tick=0)
    replayed.tick(0, 1, 2)
    replayed.send(2, [9], now_tick=3)
    replayed.tick(3)
    seams = replayed.motion.seams(0)
    assert seams.switches == 0 and seams.idle_fraction == pytest.approx(2 / 4)


def test_while_nobody_asks_for_motion_nothing_is_idle(replayed):
    replayed.send(0, [1, 2, 3], now_tick=0)
    replayed.tick(0)
    replayed.controller.withdraw()
    replayed.instructed = False
    replayed.tick(1, 2)
    assert np.isnan(replayed.commands[1:]).all()
    assert replayed.motion.seams(0).idle_fraction == 0.0


def test_a_chunk_that_comes_too_late_is_counted_and_not_executed(replayed):
    replayed.send(0, [0] * 9, now_tick=0)
    replayed.tick(0)
    assert replayed.send(0, [1], now_tick=3) == Rejection.EXPIRED
    replayed.tick(3)
    assert replayed.motion.seams(1).expired == 1
    np.testing.assert_allclose(replayed.commands, 0.0, atol=1e-6)


def test_the_age_of_an_action_counts_from_its_oldest_image(replayed):
    replayed.send(0.5, [0, 0], now_tick=1, image_tick=0.25)
    replayed.tick(1)
    assert replayed.motion.seams(0).action_age_s.max == pytest.approx(0.75 * STEP_NS * 1e-9)


def test_without_chunks_there_are_no_figures_instead_of_zeros(replayed):
    replayed.tick(0)
    seams = replayed.motion.seams(0)
    assert np.isnan([seams.jump.p50, seams.overlap.p95, seams.action_age_s.max, seams.idle_fraction]).all()
    assert np.isnan(seams.jerk_rms).all()


def test_jerk_is_measured_within_stretches_of_motion_only(replayed):
    replayed.send(0, [0, 1, 2, 3, 4], now_tick=0)
    replayed.tick(*range(8))
    replayed.send(8, [90, 91, 92, 93, 94], now_tick=8)
    replayed.tick(*range(8, 12))
    np.testing.assert_allclose(replayed.motion.seams(0).jerk_rms, 0.0, atol=1e-2)
