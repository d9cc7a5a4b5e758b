"""Every field of every message and request that each node takes, mutated, over DDS: it lives, answers and stays safe.

The invariants on the wire are asserted by the monitor. Many more: `python benchmarks/wire_fuzz.py`.
"""

import pytest
from fuzzed_nodes import fuzz_controller, fuzz_policy, fuzz_sim
from wire_cycles import Cycles, in_ms

from smolvla_ros.msg import ExecutionStatus as Status

MESSAGES, CYCLES = 900, 11


@pytest.mark.parametrize("fuzz_node", [fuzz_controller, fuzz_policy, fuzz_sim])
def test_a_node_that_hears_anything_at_all_lives_answers_and_stays_safe(world, fuzz_node):
    process, fuzz = fuzz_node(world, MESSAGES, seed=1)
    print(f"{sum(fuzz.sent.values())} messages: answered {in_ms(fuzz.answers_s)}; bare service {in_ms(fuzz.bare_s)}")
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
