"""The scene: seeded layouts, cameras that see the cubes, and touches that only contact can make."""

import numpy as np
import pytest

from smolvla_ros.sim.expert import STEP_S, ScriptedExpert
from smolvla_ros.sim.layout import PAN_AXIS_XY, REGIONS, Layout
from smolvla_ros.sim.task import COLOURS
from smolvla_ros.sim.world import CAMERAS, HOME, PICTURE_SIZE, World


def drive(world: World, expert: ScriptedExpert, colour: str, seconds: float = 4.0) -> None:
    """Lets the expert touch a cube, or run out of time."""
    goal = expert.goal(world.cube_position(colour), world.layout.cube(colour).top_m)
    for _ in range(round(seconds / STEP_S)):
        world.set_targets(expert.step(world.joint_positions(), goal))
        world.step(STEP_S)
        if world.touched():
            return


def test_a_seed_decides_the_layout_and_the_pictures() -> None:
    first, second = World(3), World(4)
    before = first.render("front")
    second.reset(3)
    assert first.layout == second.layout
    assert np.array_equal(before, second.render("front"))
    second.reset(4)
    assert first.layout != second.layout
    assert not np.array_equal(before, second.render("front"))
    first.close(), second.close()


def test_an_episode_leaves_nothing_behind_for_the_next_one(world: World, expert: ScriptedExpert) -> None:
    fresh = world.joint_positions(), [world.cube_position(colour) for colour in COLOURS]
    drive(world, expert, "red")
    assert world.touched() == "red"
    world.reset(7)
    assert world.touched() == "" and world.time_s == 0.0
    assert np.array_equal(world.joint_positions(), fresh[0])
    assert np.array_equal([world.cube_position(colour) for colour in COLOURS], fresh[1])


def test_every_layout_has_one_reachable_cube_of_each_colour_with_room_around_it() -> None:
    for seed in range(200):
        layout = Layout.draw(np.random.default_rng(seed))
        places = np.array([cube.xy for cube in layout.cubes])
        assert [cube.colour for cube in layout.cubes] == list(COLOURS)
        distances = np.linalg.norm(places[:, None] - places, axis=-1)[np.triu_indices(len(places), 1)]
        assert distances.min() >= REGIONS["touch"].spacing_m
        radii = np.linalg.norm(places - PAN_AXIS_XY, axis=-1)
        assert radii.min() >= 0.17 and radii.max() <= 0.33


def test_no_colour_has_a_favourite_place() -> None:
    places = [[cube.xy for cube in Layout.draw(np.random.default_rng(seed)).cubes] for seed in range(400)]
    means = np.mean(places, axis=0)
    assert np.ptp(means, axis=0).max() < 0.04


def is_colour(picture: np.ndarray, colour: str) -> np.ndarray:
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    return {
        "red": (red > 2 * green) & (red > 2 * blue),
        "green": (green > 1.5 * red) & (green > 1.5 * blue),
        "blue": (blue > 1.5 * red) & (blue > 1.2 * green),
        "yellow": (red > 2.2 * blue) & (green > 2.0 * blue) & (red < 2 * green),
    }[colour]


@pytest.mark.parametrize("colour", COLOURS)
def test_the_front_camera_sees_every_cube_from_home(world: World, colour: str) -> None:
    for seed in range(25):
        world.reset(seed)
        assert is_colour(world.render("front"), colour).sum() >= 20, f"seed {seed}"


def test_the_wrist_camera_sees_the_cube_that_the_gripper_comes_down_on(world: World, expert: ScriptedExpert) -> None:
    for seed in range(8):
        world.reset(seed)
        cube = world.layout.cubes[seed % 4]
        world.place_arm(expert.goal(cube.xy, cube.top_m).hover)
        assert is_colour(world.render("wrist"), cube.colour).sum() >= 40, f"seed {seed}"


def test_pictures_have_the_size_asked_for(world: World) -> None:
    assert {world.render(camera).shape for camera in CAMERAS} == {(*PICTURE_SIZE, 3)}
    picture = world.render("viewer", (120, 160))
    assert picture.shape == (120, 160, 3) and picture.dtype == np.uint8


def test_a_finger_that_hovers_over_a_cube_has_not_touched_it(world: World, expert: ScriptedExpert) -> None:
    cube = world.layout.cube("blue")
    close_above = expert.kinematics.inverse([*cube.xy, cube.top_m + 0.006])
    world.place_arm(close_above)
    world.step(0.5)
    assert world.touched() == ""


def test_the_first_cube_touched_is_the_one_that_counts(world: World, expert: ScriptedExpert) -> None:
    drive(world, expert, "green")
    assert world.touched() == "green"
    world.step(0.2)
    world.place_arm(expert.goal(world.cube_position("blue"), 0.05).hover)
    drive(world, expert, "blue")
    assert world.touched() == "green"


def test_a_new_task_does_not_count_the_cube_that_is_being_left(world: World, expert: ScriptedExpert) -> None:
    drive(world, expert, "yellow")
    world.step(0.3)
    world.forget_touch()
    world.step(0.1)
    assert world.touched() == ""
    drive(world, expert, "red")
    assert world.touched() == "red"


def test_the_links_of_the_arm_touch_nothing(world: World) -> None:
    """Only fingers can succeed; a cube under the forearm is no touch."""
    world.place_arm([0.0, 1.2, 0.2, -1.2, 0.0, 0.1])
    elbow = world.data.body("wrist").xpos
    world.move_cube("red", (float(elbow[0]), float(elbow[1])))
    world.step(0.2)
    assert world.touched() == ""


def test_a_cube_can_be_moved_in_the_middle_of_an_episode(world: World) -> None:
    world.move_cube("red", (0.25, 0.0))
    world.step(0.5)
    assert np.allclose(world.cube_position("red")[:2], (0.25, 0.0), atol=1e-3)


def test_the_servos_follow_their_targets_within_a_degree(world: World) -> None:
    target = HOME + [0.4, 0.3, -0.2, 0.1, 0.2, 0.3]
    world.set_targets(target)
    world.step(1.0)
    assert np.abs(world.joint_positions() - target).max() < np.radians(1.0)


def test_targets_beyond_the_range_are_held_at_its_end(world: World) -> None:
    world.set_targets(np.full(6, 10.0))
    assert world.targets()[0] == pytest.approx(1.92)


def test_time_that_is_less_than_a_physics_step_is_not_lost(world: World) -> None:
    for _ in range(300):
        world.step(STEP_S / 7)
    assert world.time_s == pytest.approx(300 * STEP_S / 7, abs=0.002)
