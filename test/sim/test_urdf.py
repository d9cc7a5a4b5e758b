"""The URDF that ships is the arm that the simulation moves."""

import xml.etree.ElementTree as ElementTree

import mujoco
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from smolvla_ros.execution.urdf import read_limits
from smolvla_ros.sim.scene import load_model
from smolvla_ros.sim.world import JOINTS


@pytest.fixture(scope="module")
def urdf(repository):
    return (repository / "urdf" / "so101.urdf").read_text(encoding="utf-8")


def frames(urdf: str, positions: dict[str, float]) -> dict[str, np.ndarray]:
    """[4, 4] transforms from the world to every link, by forward kinematics along the description's joints."""
    joints = ElementTree.fromstring(urdf).findall("joint")
    found = {"world": np.eye(4)}
    for joint in joints:  # parents stand before their children in this file
        origin, step = joint.find("origin"), np.eye(4)
        if origin is not None:
            step[:3, 3] = [float(value) for value in origin.get("xyz").split()]
            step[:3, :3] = Rotation.from_euler("xyz", [float(v) for v in origin.get("rpy").split()]).as_matrix()
        if joint.get("type") == "revolute":
            turn = np.eye(4)
            turn[:3, :3] = Rotation.from_rotvec([0.0, 0.0, positions[joint.get("name")]]).as_matrix()
            step = step @ turn
        found[joint.find("child").get("link")] = found[joint.find("parent").get("link")] @ step
    return found


@pytest.mark.parametrize("seed", range(5))
def test_every_frame_is_where_the_simulation_has_it(urdf, seed):
    model = load_model()
    data = mujoco.MjData(model)
    lower, upper = model.jnt_range[[model.joint(name).id for name in JOINTS]].T
    drawn = np.random.default_rng(seed).uniform(lower, upper)
    for name, position in zip(JOINTS, drawn, strict=True):
        data.qpos[model.joint(name).qposadr[0]] = position
    mujoco.mj_forward(model, data)
    found = frames(urdf, dict(zip(JOINTS, drawn, strict=True)))
    for body in ("base", "shoulder", "upper_arm", "lower_arm", "wrist", "gripper", "moving_jaw"):
        np.testing.assert_allclose(found[body][:3, 3], data.body(body).xpos, atol=1e-5)
        np.testing.assert_allclose(found[body][:3, :3].ravel(), data.body(body).xmat, atol=1e-5)
    np.testing.assert_allclose(found["tool"][:3, 3], data.site("tool").xpos, atol=1e-5)
    for camera in ("front", "wrist"):
        view = data.cam(camera).xmat.reshape(3, 3)
        expected = np.stack((view[:, 0], -view[:, 1], -view[:, 2]), axis=1)  # optical: x right, y down, z forward
        np.testing.assert_allclose(found[f"{camera}_optical_frame"][:3, 3], data.cam(camera).xpos, atol=1e-5)
        np.testing.assert_allclose(found[f"{camera}_optical_frame"][:3, :3], expected, atol=1e-5)


def test_its_limits_are_those_of_the_simulation(urdf):
    model, limits = load_model(), read_limits(urdf)
    for name in JOINTS:
        np.testing.assert_allclose((limits[name].lower, limits[name].upper), model.joint(name).range, atol=1e-6)
    assert set(JOINTS) <= set(limits)
