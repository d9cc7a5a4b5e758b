"""Time during which the recorded arm was held does not count for a chunk, as on the robot."""

from types import SimpleNamespace

import numpy as np
import pytest

from smolvla_ros.bags.replay.holds import Holds
from smolvla_ros.execution.status import ControllerState

MS = 10**6
STEP_MS = 100


def status(now_ms, state, row=0, remaining=0, remaining_ms=0, dry_run=False):
    stamp = SimpleNamespace(sec=0, nanosec=now_ms * MS)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), state=int(state), row=row, remaining_rows=remaining,
                           remaining_s=remaining_ms / 1e3, dry_run=dry_run)  # fmt: skip


def holding(now_ms, **more):
    return status(now_ms, ControllerState.HOLDING, **more)


def following(now_ms, start_ms, rows=5, **more):
    """A plan of so many rows whose first was due at `start_ms`."""
    row = (now_ms - start_ms) // STEP_MS
    end_ms = start_ms + rows * STEP_MS
    return status(now_ms, ControllerState.FOLLOWING, row, rows - row - 1, end_ms - now_ms, **more)


def start_ms(messages, stamp_ms, usable_ms=None):
    holds = Holds(STEP_MS * MS)
    for message in messages:
        holds.add(message)
    usable_ms = stamp_ms if usable_ms is None else usable_ms
    (start,) = holds.starts_ns(np.array([stamp_ms * MS]), np.array([usable_ms * MS]))
    return start / MS


def test_a_chunk_seen_while_the_arm_is_held_begins_when_it_is_let_go():
    told = [holding(10), holding(50), following(250, 220)]
    assert start_ms(told, 30) == 220  # told 30 ms later
    assert start_ms(told, 220) == 220
    assert start_ms(told, 5) == 220  # before anything was told it was held, too


def test_a_chunk_seen_while_the_arm_follows_begins_at_its_stamp():
    told = [holding(10), following(110, 100), following(210, 100), following(310, 250)]
    assert start_ms(told, 205, 300) == 205


def test_a_plan_that_ends_before_the_next_chunk_is_there_holds_it_up_by_the_pause():
    told = [following(100, 100), following(500, 100), holding(630), following(810, 800)]
    # The plan ended at 600, which the status of 630 was the first to tell.
    assert start_ms(told, 550, usable_ms=750) == 750
    assert start_ms(told, 550, usable_ms=590) == 550


def test_a_hold_that_nothing_follows_says_nothing():
    assert start_ms([following(100, 100), holding(700)], 750, 900) == 750


def test_without_status_messages_a_chunk_begins_at_its_stamp():
    assert start_ms([], 30, 60) == 30


def test_a_dry_run_moves_nothing_and_says_nothing():
    assert start_ms([holding(10, dry_run=True), following(250, 220, dry_run=True)], 30) == 30


def test_a_plan_that_is_replaced_holds_nothing_up():
    assert start_ms([following(100, 100), following(300, 250), following(500, 450)], 320, 440) == 320


def test_a_status_out_of_order_is_left_out():
    assert start_ms([holding(10), following(250, 220), holding(240)], 230) == 230


def test_a_plan_begins_between_two_statuses_whatever_its_figures_say():
    assert start_ms([holding(10), holding(200), following(250, 150)], 30) == 200


@pytest.mark.parametrize("remaining_s", [float("nan"), float("inf"), 1e300, -1.0])
def test_a_status_whose_figures_cannot_be_is_left_out(remaining_s):
    odd = following(300, 100)
    odd.remaining_s = remaining_s
    told = [holding(10), following(110, 100), odd, following(310, 100)]
    assert start_ms(told, 205, 300) == 205
