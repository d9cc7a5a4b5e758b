"""The expert that grasps and places: its kinematics, its rule, and what it gets done in the physics."""

import mujoco
import numpy as np
import pytest

from smolvla_ros.sim.evaluation import evaluate_tasks
from smolvla_ros.sim.grasping import GRASP_POINT_M, GraspKinematics, held_outward, jaw_angle
from smolvla_ros.sim.labels import Labeller, Things
from smolvla_ros.sim.layout import REGIONS, Layout
from smolvla_ros.sim.manipulation import CLOSED_RAD, LIFT_M, OPEN_RAD, STEP_S
from smolvla_ros.sim.policies import ManipulatorPolicy
from smolvla_ros.sim.scene import load_model
from smolvla_ros.sim.task import COLOURS
from smolvla_ros.sim.tasks import Asked
from smolvla_ros.sim.world import HOME

ROWS = 90


@pytest.fixture(scope="module")
def labeller() -> Labeller:
    return Labeller()


@pytest.fixture
def things() -> Things:
    layout = Layout.draw(np.random.default_rng(5), "pick_place")
    cubes = np.array([[*cube.xy, cube.half_size_m] for cube in layout.cubes])
    return Things(cubes, np.array([cube.half_size_m for cube in layout.cubes]), layout.places)


def holding(labeller: Labeller, things: Things, index: int, height_m: float) -> np.ndarray:
    """Joints with a cube between the jaws; the cube is put there."""
    half = things.halves_m[index]
    things.cubes[index, 2] = height_m + half
    out = things.cubes[index, :2] - [0.0388, 0.0]
    position = things.cubes[index, :2] - float(held_outward(half)) * out / np.hypot(*out)
    return labeller.manipulator.kinematics.joints([*position, height_m + 0.013], jaw_angle(2 * half))


def test_the_grasp_point_is_where_mujoco_has_it() -> None:
    kinematics, model = GraspKinematics(), load_model("pick_place")
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(20):
        joints = rng.uniform(-0.5, 0.8, 6)
        joints[4] = kinematics.level_roll
        data.qpos[:6] = joints
        mujoco.mj_kinematics(model, data)
        gripper = data.body("gripper")
        expected = gripper.xpos + gripper.xmat.reshape(3, 3) @ [GRASP_POINT_M[0], 0.0, GRASP_POINT_M[1]]
        np.testing.assert_allclose(kinematics.point(joints), expected, atol=5e-4)


def test_inverse_kinematics_reaches_every_point_of_the_region_at_every_height_of_a_grasp() -> None:
    kinematics, rng = GraspKinematics(), np.random.default_rng(1)
    points = np.array([[*REGIONS["pick_place"].draw_xy(rng), rng.uniform(0.012, 0.1)] for _ in range(200)])
    np.testing.assert_allclose(kinematics.point(kinematics.joints(points, 0.5)), points, atol=1e-6)


def test_it_closes_before_it_lifts_and_opens_only_over_the_place(labeller: Labeller, things: Things) -> None:
    asked = Asked("place", "red", "plate")
    rows = labeller.chunks([(HOME, things)], [asked], 150)[0, 0]
    grasp = labeller.manipulator.kinematics.point(rows)
    closing = np.flatnonzero((np.diff(rows[:, 5]) < 0) & (rows[:-1, 5] > 0.6))[-1]
    assert np.abs(grasp[closing, :2] - things.cubes[0, :2]).max() < 0.012
    lifted = closing + np.flatnonzero(grasp[closing:, 2] > 0.05)[0]
    assert rows[lifted, 5] < jaw_angle(2 * things.halves_m[0])
    opened = lifted + np.flatnonzero(rows[lifted:, 5] > 0.6)[0]
    assert np.abs(grasp[opened, :2] - things.places["plate"]).max() < 0.02


def test_a_cube_picked_up_is_lifted_and_kept(labeller: Labeller, things: Things) -> None:
    joints = holding(labeller, things, 2, 0.0)
    rows = labeller.chunks([(joints, things)], [Asked("pick", "blue")], ROWS)[0, 0]
    assert labeller.manipulator.kinematics.point(rows[-1])[2] == pytest.approx(LIFT_M + 0.013, abs=0.01)
    assert (rows[:, 5] < jaw_angle(2 * things.halves_m[2])).all()


def test_another_cube_in_the_hand_is_put_down_first(labeller: Labeller, things: Things) -> None:
    joints = holding(labeller, things, 1, 0.06)
    assert labeller.held(joints, things) == "green"
    for asked in (Asked("place", "red", "bin"), Asked("pick", "red"), Asked("touch", "red")):
        rows = labeller.chunks([(joints, things)], [asked], ROWS)[0, 0]
        grasp = labeller.manipulator.kinematics.point(rows)
        opened = np.flatnonzero(rows[:, 5] > 0.6)[0]
        assert grasp[opened, 2] < 0.03, asked
        assert np.abs(grasp[: opened + 1, :2] - grasp[0, :2]).max() < 0.015, asked


def test_holding_still_is_where_the_arm_is_with_what_it_holds_held(labeller: Labeller, things: Things) -> None:
    rows = labeller.chunks([(HOME, things)], [Asked("stay")], 20)[0, 0]
    np.testing.assert_array_equal(rows, np.tile(HOME, (20, 1)))
    joints = holding(labeller, things, 3, 0.05)
    rows = labeller.chunks([(joints, things)], [Asked("stay")], 20)[0, 0]
    np.testing.assert_array_equal(rows[:, :5], np.tile(joints[:5], (20, 1)))
    assert (rows[:, 5] < joints[5] - 0.05).all()


def test_no_joint_is_commanded_faster_than_it_may(labeller: Labeller, things: Things) -> None:
    asked = [Asked("place", colour, "bin") for colour in COLOURS] + [Asked("touch", "red"), Asked("pick", "blue")]
    rows = labeller.chunks([(HOME, things)], asked, ROWS)[0]
    assert np.abs(np.diff(rows[..., :5], axis=-2)).max() <= 1.2 * STEP_S + 1e-9
    assert rows[..., 5].min() >= CLOSED_RAD - 1e-9 and rows[..., 5].max() <= OPEN_RAD + 1e-9


def test_it_answers_many_states_as_it_answers_each_one(labeller: Labeller, things: Things) -> None:
    rng = np.random.default_rng(2)
    states = [(HOME + rng.normal(0.0, 0.1, 6), things) for _ in range(3)]
    asked = [Asked("pick", "red"), Asked("stay"), Asked("touch", "blue"), Asked("place", "green", "bin")]
    together = labeller.chunks(states, asked, 12)
    for i, state in enumerate(states):
        for j, one in enumerate(asked):
            np.testing.assert_allclose(together[i, j], labeller.chunks([state], [one], 12)[0, 0], atol=1e-12)


def test_it_does_every_task_behind_the_controller_with_latency() -> None:
    """A small version of `benchmarks/expert.py`."""
    figures = evaluate_tasks(ManipulatorPolicy, ["touch", "pick", "place", "stay"], episodes=4, seed=3)
    assert {name: each.success for name, each in figures.items()} == dict.fromkeys(figures, 4)
    assert all(each.moved_wrongly == 0 and each.right_object == 4 for each in figures.values())
