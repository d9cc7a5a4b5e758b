"""What a chunk continues, and which delay it plans for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.policy.continuation import SentChunks
from smolvla_ros.policy.envelope import Envelope, envelope_s, latency_rows
from smolvla_ros.policy.requests import ExecutionView

ROWS, STEP_S, SESSION = 50, 0.1, 7
NOW_NS = 10**18
TASK = 4


def executing(remaining_s, sequence=1, following=True, session=SESSION):
    return ExecutionView(NOW_NS, True, following, session, sequence, round(remaining_s / STEP_S), remaining_s, 0)


def sent(*latencies_s, percentile=75.0):
    chunks = SentChunks(STEP_S, percentile)
    rows = np.arange(ROWS, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    for sequence, latency_s in enumerate(latencies_s, start=1):
        chunks.add(sequence, TASK, rows + 1000 * sequence, latency_s)
    return chunks


@given(executed=st.floats(0, 48), later_s=st.floats(-0.2, 0.05))
def test_rows_are_those_of_the_new_chunks_own_instants(executed, later_s):
    """The chunk counts its rows: the value at an instant is its place."""
    view = executing((ROWS - executed) * STEP_S)
    rows, _ = sent(0.3).continuation(view, SESSION, NOW_NS + round(later_s * 1e9), TASK)
    first = max(executed + later_s / STEP_S, 0.0)
    np.testing.assert_allclose(rows[:, 0], 1000 + first + np.arange(len(rows)), atol=1e-3)
    assert ROWS - 2 <= first + len(rows) - 1 <= ROWS - 1 + 1e-6


def test_it_is_the_chunk_that_the_controller_executes_not_the_one_sent_last():
    rows, _ = sent(0.3, 0.3, 0.3).continuation(executing(2.0, sequence=2), SESSION, NOW_NS, TASK)
    assert rows[0, 0] == pytest.approx(2030)


@pytest.mark.parametrize("view", [
    executing(2.0, following=False),
    executing(2.0, sequence=9),
    executing(2.0, session=SESSION + 1),
    executing(0.0),
])  # fmt: skip
def test_nothing_is_continued_that_is_not_being_executed(view):
    assert sent(0.3).continuation(view, SESSION, NOW_NS, TASK) is None


def test_a_new_instruction_continues_nothing():
    assert sent(0.3).continuation(executing(2.0), SESSION, NOW_NS, TASK + 1) is None


def test_one_slow_call_does_not_raise_the_delay_and_is_forgotten_whatever_the_percentile():
    slow = [0.3] * 6 + [5.0]
    assert sent(*slow).continuation(executing(4.0, sequence=7), SESSION, NOW_NS, TASK).delay == 3
    highest = sent(5.0, *[0.3] * 50, percentile=100.0)
    assert highest.continuation(executing(4.0, sequence=51), SESSION, NOW_NS, TASK).delay == 3


def test_the_delay_is_at_most_what_is_left():
    assert sent(5.0).continuation(executing(2.0), SESSION, NOW_NS, TASK).delay == 20


@pytest.mark.parametrize("latency_s, rows", [(0.0, 0), (0.1, 1), (0.3, 3), (0.31, 4)])
def test_a_latency_in_rows_is_rounded_up(latency_s, rows):
    assert latency_rows(latency_s, STEP_S) == rows


def test_the_envelope_is_half_of_what_a_chunk_covers_and_is_left_and_entered_without_flicker():
    envelope = Envelope(ROWS, STEP_S)
    assert envelope.limit_s == envelope_s(ROWS, STEP_S) == pytest.approx(2.5)
    texts = []
    for latency_s in [2.4] * 3 + [2.6] * 4 + [2.45] * 30 + [2.0] * 30:
        envelope.add(latency_s)
        texts.append(envelope.too_slow)
    changes = [text for text, before in zip(texts, ["", *texts], strict=False) if text != before]
    assert len(changes) == 2 and "2600 ms" in changes[0] and "5000 ms" in changes[0] and changes[1] == ""
