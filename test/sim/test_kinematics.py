"""The arm is the real one: frames of the SO-101, and inverse kinematics to below a millimetre."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smolvla_ros.sim.kinematics import TOLERANCE_M, Kinematics, UnreachableError
from smolvla_ros.sim.layout import PAN_AXIS_XY
from smolvla_ros.sim.scene import load_model
from smolvla_ros.sim.world import JOINTS, World

# Position and quaternion (w x y z) of each joint's frame in the one before; every joint turns about z.
FRAMES = (
    ((0.0388, 0, 0.0624), (0, 0, -1, 0)),
    ((-0.0304, -0.0183, -0.0542), (0.5, -0.5, -0.5, -0.5)),
    ((-0.1126, -0.028, 0), (0.7071, 0, 0, 0.7071)),
    ((-0.1349, 0.0052, 0), (0.7071, 0, 0, -0.7071)),
    ((0, -0.0611, 0.0181), (0.0172, -0.0172, 0.7069, 0.7069)),
)
TOOL = (-0.0079, -0.0002, -0.0981)
RANGES = ((-1.920, 1.920), (-1.745, 1.745), (-1.69, 1.69), (-1.658, 1.658), (-2.744, 2.841), (-0.175, 1.745))


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics()


def tool_of_the_real_arm(joints: np.ndarray) -> np.ndarray:
    position, rotation = np.zeros(3), Rotation.identity()
    for (offset, (w, x, y, z)), angle in zip(FRAMES, joints[:5], strict=True):
        position = position + rotation.apply(offset)
        rotation = rotation * Rotation.from_quat([x, y, z, w]) * Rotation.from_rotvec([0, 0, angle])
    return position + rotation.apply(TOOL)


def test_the_tool_point_is_where_the_real_arm_has_it(kinematics: Kinematics) -> None:
    rng = np.random.default_rng(0)
    low, high = np.array(RANGES).T
    joints = rng.uniform(low, high, (50, 6))
    expected = np.array([tool_of_the_real_arm(row) for row in joints])
    assert np.abs(kinematics.tool(joints) - expected).max() < 1e-5


def test_the_tool_point_agrees_with_the_simulator(kinematics: Kinematics, world: World) -> None:
    world.place_arm([0.3, -0.2, 0.5, 0.9, 0.4, 0.2])
    assert np.allclose(world.data.site("tool").xpos, kinematics.tool(world.joint_positions()), atol=1e-9)


def test_joints_have_the_ranges_of_the_real_arm() -> None:
    model = load_model()
    assert [tuple(model.joint(name).range) for name in JOINTS] == [pytest.approx(limits) for limits in RANGES]


@pytest.mark.parametrize("height", [0.035, 0.045, 0.09])
def test_inverse_kinematics_reaches_the_table_to_below_a_millimetre(kinematics: Kinematics, height: float) -> None:
    for radius in np.linspace(0.17, 0.33, 9):
        for angle in np.linspace(-0.8, 0.8, 9):
            position = [*(PAN_AXIS_XY + radius * np.array([np.cos(angle), np.sin(angle)])), height]
            joints = kinematics.inverse(position)
            assert np.linalg.norm(kinematics.tool(joints) - position) < TOLERANCE_M
            assert all(low <= joint <= high for joint, (low, high) in zip(joints, RANGES, strict=True))


def test_a_position_out_of_reach_is_refused_with_the_distance(kinematics: Kinematics) -> None:
    with pytest.raises(UnreachableError, match=r"mm out of reach; choose one 0.17 to 0.33 m"):
        kinematics.inverse([0.6, 0.0, 0.05])
