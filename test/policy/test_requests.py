"""When a chunk is asked for, and what cannot stop it for good."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.policy.requests import RULES, ExecutionView, Requester, RequestPolicy

ROWS = 50
SESSION = 7
HERE = np.zeros(2, np.float32)


def view(remaining=0, executed=0, sequence=0):
    return ExecutionView(10**9, True, remaining > 0, SESSION, sequence, remaining, remaining * 0.1, executed)


@pytest.mark.parametrize("rule, remaining, executed, asks", [
    ("synchronous", 1, 49, False),
    ("synchronous", 0, 50, True),
    ("threshold", 25, 25, False),
    ("threshold", 24, 26, True),
    ("every_n", 41, 9, False),
    ("every_n", 40, 10, True),
    ("continuous", 49, 1, True),
])  # fmt: skip
def test_every_rule_asks_at_its_own_time(rule, remaining, executed, asks):
    requester = Requester(ROWS)
    policy = RequestPolicy(rule, threshold=0.5, every_n=10)
    requester.started(view(), 1, HERE)
    requester.sent(SESSION, 1, steady_s=0.0)
    assert requester.wants(policy, view(remaining, executed, sequence=1), 1, HERE, 0.1) == asks


@pytest.mark.parametrize("rule, threshold, every_n", [("often", 0.5, 1), ("threshold", 1.1, 1), ("every_n", 0.5, 0)])
def test_a_rule_that_makes_no_sense_is_refused_with_its_value(rule, threshold, every_n):
    with pytest.raises(ValueError, match="often|1.1|0"):
        RequestPolicy(rule, threshold, every_n)


def test_a_counter_that_started_again_with_the_controller_does_not_delay_the_next_chunk():
    requester = Requester(ROWS)
    policy = RequestPolicy("every_n", every_n=10)
    requester.started(view(executed=1000), 1, HERE)
    requester.sent(SESSION, 1, steady_s=0.0)
    assert requester.wants(policy, view(remaining=40, executed=10, sequence=1), 1, HERE, 0.1)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "synchronous"])
def test_a_refused_chunk_is_answered_at_once_by_the_status_while_the_one_before_is_executed(rule):
    requester = Requester(ROWS, min_change=0.1)
    policy = RequestPolicy(rule, threshold=0.5, every_n=10)
    requester.started(view(), 1, HERE)
    requester.sent(SESSION, 2, steady_s=0.0)
    running = view(remaining=20, executed=5, sequence=1)
    assert not requester.wants(policy, running, 1, HERE, 0.01)
    refused = replace(running, last_session=SESSION, last_sequence=2, last_refused=True)
    assert requester.wants(policy, refused, 1, HERE, 0.02)


def test_a_chunk_of_another_session_answers_nothing():
    requester = Requester(ROWS)
    policy = RequestPolicy("continuous")
    requester.started(view(), 1, HERE)
    requester.sent(SESSION, 1, steady_s=0.0)
    for session in (SESSION - 1, SESSION + 1):
        other = replace(view(), session=session, sequence=9, last_session=session, last_sequence=9, last_refused=True)
        assert not requester.wants(policy, other, 1, HERE, 0.1)


def test_nothing_is_asked_for_while_a_chunk_is_under_way_or_unanswered():
    requester = Requester(ROWS, timeout_s=0.5)
    policy = RequestPolicy("continuous")
    requester.started(view(), 1, HERE)
    assert not requester.wants(policy, view(), 1, HERE, 100.0)
    requester.sent(SESSION, 1, steady_s=100.0)
    assert not requester.wants(policy, view(), 1, HERE, 100.4)
    assert requester.wants(policy, view(remaining=50, sequence=1), 1, HERE, 100.4)


@given(
    rule=st.sampled_from(RULES),
    threshold=st.floats(0, 1),
    every_n=st.integers(1, 100),
    min_change=st.floats(0, 10),
    outcome=st.sampled_from(["answered", "refused", "failed"]),
)
def test_an_empty_queue_is_answered_whatever_the_rule_the_filter_and_the_fate_of_the_last_chunk(
    rule, threshold, every_n, min_change, outcome
):
    requester = Requester(ROWS, min_change, timeout_s=0.5)
    requester.started(view(), 1, HERE)
    if outcome == "failed":
        requester.failed()
    else:
        requester.sent(SESSION, 1, steady_s=0.0)
    report = view(sequence=1 if outcome == "answered" else 0)
    assert requester.wants(RequestPolicy(rule, threshold, every_n), report, 1, HERE, 0.5)
