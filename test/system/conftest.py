import threading

import pytest
from arms import SMOLVLA_ROS, Arm

from smolvla_ros.evaluation.operator import Operator


@pytest.fixture
def start(tmp_path):
    """Starts a command of `smolvla-ros`, or any other as a list."""
    arms = []

    def start(*arguments, command=(SMOLVLA_ROS,), **environment):
        arms.append(Arm([*command, *arguments], tmp_path / f"output{len(arms)}.txt", environment))
        return arms[-1]

    yield start
    for arm in arms:
        arm.close()


@pytest.fixture
def operator():
    with Operator("", threading.Event()) as operator:
        yield operator
