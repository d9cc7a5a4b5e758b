"""When a replay asks the policy, and when the answers are there."""

from types import SimpleNamespace

import numpy as np
import pytest

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.replay.result import RecordedChunk
from smolvla_ros.bags.replay.schedule import Latency, instants, latency_from, recorded_chunks

S = 10**9


def chunk(requested_ns=0, latency_s=0.2):
    return RecordedChunk(1, 0, 0, requested_ns, latency_s, 0.1, "go", np.zeros((2, 1)))


def test_ticks_run_from_start_to_end_and_recorded_requests_lie_between_them():
    found = list(instants(0, 100, 40, [chunk(50), chunk(10)]))
    assert [(i.time_ns, i.chunk is not None) for i in found] == [
        (0, False), (10, True), (40, False), (50, True), (80, False),
    ]  # fmt: skip


def test_requests_of_one_instant_both_happen():
    assert len(list(instants(0, 10, 100, [chunk(5), chunk(5)]))) == 3


def test_a_fixed_latency_counts_from_the_stamp_and_never_ends_before_the_request():
    latency = latency_from("0.1", [])
    assert latency.usable_ns(1 * S, S - S // 20, 9.0, None) == S + S // 20
    assert latency.usable_ns(1 * S, S - S // 2, 9.0, None) == S


def test_a_measured_latency_is_the_time_that_the_inference_took_here():
    assert latency_from("measured", []).usable_ns(S, 0, 0.25, None) == S + S // 4


def test_a_recorded_latency_is_that_of_the_chunk_or_else_their_median():
    latency = latency_from("recorded", [chunk(latency_s=0.1), chunk(latency_s=0.2), chunk(latency_s=0.9)])
    assert latency.usable_ns(0, 0, 0.0, chunk(latency_s=0.9)) == round(0.9 * S)
    assert latency.usable_ns(0, 0, 0.0, None) == round(0.2 * S)


def test_without_a_choice_the_latency_is_recorded_where_there_are_chunks_and_else_zero():
    assert latency_from("", [chunk()]) == Latency("recorded", 0.2)
    assert latency_from("", []) == Latency("fixed", 0.0)


@pytest.mark.parametrize("text", ["soon", "-0.1", "nan", "inf", "61"])
def test_what_is_no_latency_is_refused(text):
    with pytest.raises(BagError, match="expected 0 to 60 seconds, 'measured' or 'recorded'"):
        latency_from(text, [])


def test_a_recorded_latency_without_chunks_is_refused():
    with pytest.raises(BagError, match="no chunks"):
        latency_from("recorded", [])


def message(**fields):
    time = SimpleNamespace(sec=5, nanosec=0)
    good = {
        "header": SimpleNamespace(stamp=time), "image_stamp": SimpleNamespace(sec=4, nanosec=S // 2),
        "session": 1, "sequence": 3, "joint_names": ["b", "a"],
        "step": SimpleNamespace(sec=0, nanosec=S // 10), "rows": 2, "positions": [1.0, 2.0, 3.0, 4.0],
        "frozen_rows": 0, "instruction": "go", "inference_s": 0.25, "latency_s": 0.5,
    }  # fmt: skip
    return SimpleNamespace(log_ns=6 * S, message=SimpleNamespace(**good | fields))


def read(*messages):
    bag = SimpleNamespace(read=lambda topics, start_ns, end_ns: iter(messages))
    return recorded_chunks(bag, "/action_chunk", ["a", "b"], 0, 10 * S)


def test_a_recorded_chunk_was_asked_for_when_its_inference_began():
    (found,) = read(message())
    assert (found.stamp_ns, found.requested_ns, found.latency_s) == (5 * S, 5 * S + S // 4, 0.5)
    assert found.image_stamp_ns == 4 * S + S // 2
    assert found.positions.tolist() == [[2.0, 1.0], [4.0, 3.0]]


@pytest.mark.parametrize("latency_s", [-1.0, float("nan"), float("inf")])
def test_a_latency_that_was_not_measured_comes_from_the_log_time(latency_s):
    (found,) = read(message(latency_s=latency_s))
    assert (found.latency_s, found.requested_ns) == (1.0, 5 * S + 3 * S // 4)


def test_an_inference_longer_than_its_latency_is_not_believed():
    (found,) = read(message(inference_s=7.0))
    assert found.requested_ns == 5 * S + S // 2


def test_chunks_that_the_controller_would_refuse_are_left_out():
    found = read(message(), message(positions=[1.0]), message(joint_names=["a", "a"]), message(sequence=4))
    assert [c.sequence for c in found] == [3, 4]
