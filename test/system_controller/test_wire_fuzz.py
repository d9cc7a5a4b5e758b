"""Every field of every message and request that each node takes, mutated, over DDS: it lives, answers and stays safe.

The invariants on the wire are asserted by the monitor.
"""

import pytest
from fuzzed_nodes import fuzz_controller, fuzz_policy, fuzz_sim

from smolvla_ros.msg import ExecutionStatus as Status

MESSAGES = 900


@pytest.mark.parametrize("fuzz_node", [fuzz_controller, fuzz_policy, fuzz_sim])
def test_a_node_that_hears_anything_at_all_lives_answers_and_stays_safe(world, fuzz_node):
    process, fuzz = fuzz_node(world, MESSAGES, seed=1)
    answers_ms = sorted(1e3 * answer_s for answer_s in fuzz.answers_s)
    median_ms, longest_ms = answers_ms[len(answers_ms) // 2], answers_ms[-1]
    print(f"{sum(fuzz.sent.values())} messages: answered within {median_ms:.1f} ms, at most {longest_ms:.1f} ms")
    assert process.child.poll() is None, process.log
    assert "internal error" not in process.log and "Traceback" not in process.log and "bug" not in process.log
    if fuzz_node is fuzz_controller:
        assert world.monitor.status.state in (Status.FOLLOWING, Status.HOLDING, Status.STOPPED)
        assert any(status.state == Status.FOLLOWING for status in world.monitor.statuses)
