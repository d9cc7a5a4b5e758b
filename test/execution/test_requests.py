"""When a chunk is asked for."""

import pytest

from smolvla_ros.execution.requests import InFlight, RequestPolicy


def asks(policy, remaining, executed=0, in_flight=False):
    return policy.should_request(
        remaining_rows=remaining, chunk_rows=50, executed_since_request=executed, in_flight=in_flight
    )


@pytest.mark.parametrize("rule", ["synchronous", "threshold", "every_n", "continuous"])
def test_an_empty_queue_asks_under_every_rule_unless_one_is_in_flight(rule):
    assert asks(RequestPolicy(rule), 0)
    assert not asks(RequestPolicy(rule), 0, in_flight=True)


def test_synchronous_waits_for_the_last_row():
    assert not asks(RequestPolicy("synchronous"), 1, executed=49)


def test_the_threshold_asks_below_its_part_of_the_chunk():
    policy = RequestPolicy("threshold", threshold=0.7)
    assert not asks(policy, 35)
    assert asks(policy, 34)


def test_threshold_zero_is_synchronous_and_one_asks_after_the_first_row():
    assert not asks(RequestPolicy("threshold", threshold=0.0), 1)
    assert asks(RequestPolicy("threshold", threshold=1.0), 49)


def test_every_n_counts_executed_rows():
    policy = RequestPolicy("every_n", every_n=10)
    assert not asks(policy, 40, executed=9)
    assert asks(policy, 40, executed=10)


def test_continuous_always_asks():
    assert asks(RequestPolicy("continuous"), 50)


@pytest.mark.parametrize("wrong", [{"rule": "sometimes"}, {"threshold": 1.1}, {"threshold": -0.1}, {"every_n": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="request"):
        RequestPolicy(**wrong)


def test_a_sent_chunk_counts_as_in_flight_until_the_status_knows_it():
    flight = InFlight(timeout_s=0.5)
    assert not flight.busy(0.0)
    flight.start()
    assert flight.busy(10.0)
    flight.sent(7, 3, 10.0)
    flight.answered(7, 2)
    flight.answered(6, 9)
    assert flight.busy(10.4)
    flight.answered(7, 3)
    assert not flight.busy(10.4)


def test_a_lost_chunk_or_answer_does_not_block_for_good():
    flight = InFlight(timeout_s=0.5)
    flight.start()
    flight.sent(7, 3, 10.0)
    assert not flight.busy(10.5)


def test_a_failed_inference_frees_the_way():
    flight = InFlight()
    flight.start()
    flight.failed()
    assert not flight.busy(0.0)

