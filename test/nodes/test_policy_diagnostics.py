"""What the policy node advises."""

from __future__ import annotations

import pytest

from smolvla_ros.nodes.policy_diagnostics import cores_advice


@pytest.mark.parametrize(("load", "cores"), [(0.1, 1), (1.9, 2), (2.5, 2)])
def test_no_advice_while_there_are_cores_for_all(load: float, cores: int) -> None:
    assert cores_advice(load, cores) == ""


def test_other_work_on_the_cores_is_told_with_what_to_do() -> None:
    assert "3.0 threads want to run on 2 cores" in cores_advice(3.0, 2)
    assert "taskset" in cores_advice(3.0, 2)
