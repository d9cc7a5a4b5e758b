"""Every field of every message and request that each node takes, mutated, over DDS: it lives, answers and stays safe.

The invariants on the wire are asserted by the monitor. Many more: `python benchmarks/wire_fuzz.py`.
"""

from types import SimpleNamespace

import pytest
from fuzzed_nodes import fuzz_controller, fuzz_policy, fuzz_sim
from node_fuzz import Interview, Question
from wire_cycles import Cycles, in_ms

from smolvla_ros.msg import ExecutionStatus as Status

MESSAGES, CYCLES = 900, 11


@pytest.mark.parametrize("fuzz_node", [fuzz_controller, fuzz_policy, fuzz_sim])
def test_a_node_that_hears_anything_at_all_lives_answers_and_stays_safe(world, fuzz_node):
    process, fuzz = fuzz_node(world, MESSAGES, seed=1)
    target, bare = in_ms(fuzz.target.answers_s), in_ms(fuzz.bare.answers_s)
    print(f"{sum(fuzz.sent.values())} messages: answered {target}; bare service {bare}")
    assert process.child.poll() is None, process.log
    assert "internal error" not in process.log and "Traceback" not in process.log and "bug" not in process.log
    if fuzz_node is fuzz_controller:
        assert world.monitor.status.state in (Status.FOLLOWING, Status.HOLDING, Status.STOPPED)
        assert any(status.state == Status.FOLLOWING for status in world.monitor.statuses)


def test_random_stops_pauses_and_deaths_leave_every_command_inside_its_limits(world):
    cycles = Cycles(world, seed=2)
    cycles.run(CYCLES)
    print(f"{dict(cycles.done)}; stop answered {in_ms(cycles.watch.answers_s)}; bare {in_ms(cycles.watch.bare_s)}")
    assert cycles.done["kill_controller"] == 1


def test_a_question_that_a_busy_node_lost_is_asked_again_and_one_always_lost_ends_the_fuzz():
    futures = []

    def ask():
        futures.append(SimpleNamespace(add_done_callback=lambda done: None))
        return futures[-1]

    question = Question(ask)
    interview = Interview(question)
    interview.look(10.0)
    interview.look(13.0)  # nothing came
    assert (len(futures), question.lost) == (2, 1)
    futures[1].answered_s = 13.1
    interview.look(13.2)
    assert question.answers_s == pytest.approx([0.1])
    with pytest.raises(AssertionError, match="does not answer"):
        for second in range(20, 60, 3):
            interview.look(float(second))
