"""The arm's shape for the view against the simulation's kinematics."""

import numpy as np
import pytest

from smolvla_ros.sim.kinematics import Kinematics
from smolvla_ros.sim.world import JOINTS
from smolvla_ros.view.robot_model import RobotModel, RobotModelError


@pytest.fixture(scope="module")
def model(repository):
    return RobotModel((repository / "urdf" / "so101.urdf").read_text(encoding="utf-8"))


def test_the_way_of_a_chunk_is_that_of_the_tool(model):
    rows = np.random.default_rng(1).uniform(-0.5, 0.5, (8, 6))
    np.testing.assert_allclose(model.tool_path(JOINTS, rows), Kinematics().tool(rows), atol=1e-4)


def test_columns_are_taken_by_name(model):
    rows = np.random.default_rng(2).uniform(-0.5, 0.5, (3, 6))
    order = [3, 0, 5, 1, 4, 2]
    shuffled = model.tool_path([JOINTS[i] for i in order], rows[:, order])
    np.testing.assert_allclose(shuffled, model.tool_path(JOINTS, rows), atol=1e-9)


def test_joints_that_the_arm_does_not_have_change_nothing(model):
    assert len(model.tool_path(("wheel",), np.zeros((2, 1)))) == 2


@pytest.mark.parametrize("urdf", ["", "no xml", "<robot/>", "<robot name='x'><link/></robot>"])
def test_a_description_that_cannot_be_shown_is_refused_in_one_sentence(urdf):
    with pytest.raises(RobotModelError, match="robot_description cannot be shown"):
        RobotModel(urdf)
