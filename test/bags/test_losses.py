"""What a recording did not get: told by numbers, by the middleware and by stamps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from smolvla_ros.bags.recording.losses import LossCounter, find_gaps


def counted(numbers, reported=0):
    counter = LossCounter(steady=False)
    for log_ns, number in enumerate(numbers, start=1):
        counter.receive(log_ns, number, None)
    counter.reported = reported
    return counter


@given(st.sets(st.integers(2, 199)), st.integers(1, 1000))
def test_every_message_missing_between_two_others_is_counted(missing, first):
    counter = counted([first + i for i in range(1, 201) if i not in missing])
    assert counter.lost == len(missing)
    assert counter.received + counter.lost == 200


def test_messages_from_before_the_first_one_are_not_missing():
    assert counted([72, 73]).lost == 0


def test_a_publisher_that_starts_again_has_lost_nothing():
    assert counted([5, 6, 1, 2, 4]).lost == 1


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(0, 2**32))
def test_two_publishers_in_turns_have_lost_nothing(first, second, seed):
    rng = np.random.default_rng(seed)
    numbers, ends = [], [first, second if abs(second - first) > 200 else first + 8632]
    for place in (0, 1, 0, *rng.integers(0, 2, 100), 0, 1):
        numbers.append(ends[place])
        ends[place] += 1
    assert counted(numbers).lost == 0


def test_publishers_that_are_at_the_same_number_have_lost_nothing_whenever_one_looks():
    numbers = [1, 1, 2, 2, 1]  # two that began together, and a third
    for second in range(20):
        numbers += [3 + second, 3 + second]
        assert counted(numbers).lost == 0
        numbers += [2 + second]
        assert counted(numbers).lost == 0


def test_what_is_missing_of_one_of_two_publishers_is_counted():
    assert counted([100, 8732, 101, 8733, 103, 8735, 104, 8736]).lost == 2


def test_messages_that_came_in_another_order_are_not_missing():
    assert counted([1, 3, 2, 4]).lost == 0


def test_a_loss_that_only_the_middleware_noticed_counts():
    assert counted([1, 2], reported=3).lost == 3
    assert counted([1, 3], reported=1).lost == 1  # noticed twice


def test_a_summary_tells_rate_gaps_and_what_was_not_written():
    counter = LossCounter(steady=True)
    for i in [*range(10), *range(15, 20)]:
        counter.receive(10**9 + i * 100_000_000, i, i * 100_000_000)
    summary = counter.summary(recorded=14)
    assert (summary.recorded, summary.dropped, summary.lost) == (14, 1, 5)
    assert (summary.gaps, round(summary.longest_gap_s, 6)) == (1, 0.6)
    assert abs(summary.rate_hz - 14 / 1.9) < 1e-9


def test_stamps_of_a_topic_without_a_rate_are_no_gaps():
    counter = LossCounter(steady=False)
    for stamp_ns in (0, 10, 20, 10**9):
        counter.receive(1, None, stamp_ns)
    assert counter.summary(4).gaps == 0


@given(st.lists(st.floats(0.7, 1.7), max_size=50))
def test_jitter_is_no_gap(periods):
    assert find_gaps(np.cumsum(np.array([0.0, *periods]) * 1e7).astype(np.int64)) == (0, 0)
