"""Tasks: what is success in the physics, and in which words they are asked for."""

from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest

from smolvla_ros.parameters.sim import TaskName
from smolvla_ros.sim.demo_model import demo_tokenizer, known_words
from smolvla_ros.sim.layout import Layout
from smolvla_ros.sim.referee import Referee
from smolvla_ros.sim.scene import PLACES, SUPPORT_M
from smolvla_ros.sim.task import COLOURS
from smolvla_ros.sim.tasks import TASKS, Asked
from smolvla_ros.sim.world import World


@pytest.fixture(scope="module")
def table() -> Iterator[World]:
    world = World(scene="pick_place")
    yield world
    world.close()


def put(world: World, colour: str, xy: np.ndarray, height_m: float) -> None:
    world.place_cube(colour, [*xy, height_m + world.layout.cube(colour).half_size_m], 0.1)


@pytest.mark.parametrize("place", PLACES)
def test_a_cube_is_placed_when_it_rests_on_the_named_place(table: World, place: str) -> None:
    table.reset(3)
    asked = Asked("place", "blue", place)
    assert not TASKS["place"].is_done(table, asked)
    put(table, "blue", np.asarray(table.layout.places[place]), SUPPORT_M[place] + 0.001)
    table.step(0.3)
    assert TASKS["place"].is_done(table, asked)
    assert not TASKS["place"].is_done(table, Asked("place", "red", place))
    other = PLACES[1 - PLACES.index(place)]
    assert not TASKS["place"].is_done(table, Asked("place", "blue", other))


def test_a_cube_above_or_beside_its_place_is_not_placed(table: World) -> None:
    table.reset(3)
    for place in PLACES:
        xy = np.asarray(table.layout.places[place])
        for off, height in ((0.0, 0.05), (0.05, 0.0)):
            put(table, "green", xy + [off, 0.0], SUPPORT_M[place] + height)
            table.place_arm(table.joint_positions())
            assert not TASKS["place"].is_done(table, Asked("place", "green", place)), (place, off, height)


def test_a_cube_in_the_air_that_no_finger_holds_is_not_picked_up(table: World) -> None:
    table.reset(3)
    put(table, "red", np.array([0.2, 0.0]), 0.08)
    table.place_arm(table.joint_positions())
    assert not TASKS["pick"].is_done(table, Asked("pick", "red"))


def test_a_passing_moment_is_no_success(table: World) -> None:
    table.reset(3)
    referee = Referee(table, Asked("place", "blue", "plate"))
    put(table, "blue", np.asarray(table.layout.places["plate"]), SUPPORT_M["plate"])
    table.step(0.1)
    referee.watch()
    put(table, "blue", np.array([0.3, 0.0]), 0.0)
    for _ in range(30):
        table.step(1 / 30)
        referee.watch()
    assert not referee.verdict().success


def test_a_cube_that_is_moved_by_mistake_is_told(table: World) -> None:
    table.reset(3)
    referee = Referee(table, Asked("place", "blue", "plate"))
    table.move_cube("red", (0.3, 0.2))
    assert referee.verdict().moved_wrongly


def test_an_arm_that_moves_though_told_to_hold_still_fails(table: World) -> None:
    for turn_rad, success in ((0.02, True), (0.3, False)):
        table.reset(3)
        referee = Referee(table, Asked("stay"))
        table.set_targets(table.joint_positions() + turn_rad)
        for _ in range(160):
            table.step(1 / 30)
            referee.watch()
        verdict = referee.verdict()
        assert (verdict.success, verdict.moved_wrongly) == (success, not success)


def test_layouts_leave_room_between_all_things() -> None:
    for seed in range(50):
        layout = drawn_layout(seed)
        things = np.array([*(cube.xy for cube in layout.cubes), *layout.places.values()])
        apart = np.linalg.norm(things[:, None] - things, axis=-1)[np.triu_indices(len(things), 1)]
        assert apart.min() >= 0.06


def drawn_layout(seed: int) -> Layout:
    return Layout.draw(np.random.default_rng(seed), "pick_place")


def test_an_instruction_names_what_is_asked_for_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    for name in ("touch", "pick", "place"):
        task = TASKS[name]
        texts = set()
        for place in task.places:
            for colour in COLOURS:
                drawn = [task.say(Asked(name, colour, place), rng) for _ in range(300)]
                assert all([other for other in COLOURS if other in text.split()] == [colour] for text in drawn)
                texts |= set(drawn)
        assert len(texts) > 500


def test_told_to_hold_still_in_many_ways() -> None:
    rng = np.random.default_rng(0)
    texts = [TASKS["stay"].say(Asked("stay"), rng) for _ in range(400)]
    assert any("do not" in text for text in texts) and any("stop" in text for text in texts)
    for text in texts:  # whatever could be done is denied, or lacks its colour, verb or place
        words = set(text.split())
        plain = {"do", "don't", "never", "not", "nothing"} & words
        whole = words & set(COLOURS) and not plain and not words & {"table", "floor", "shelf", "left", "right"}
        assert not whole or len(text.split()) <= 3, text


def test_every_word_is_one_token_however_it_is_written() -> None:
    tokenizer = demo_tokenizer()
    for word in known_words():
        ids = {tuple(tokenizer.encode(text + "\n").ids) for text in (word, word.upper(), word.capitalize(), f"{word}.")}
        assert len(ids) == 1, word
        assert len(ids.pop()) == 2 or "'" in word, word  # the word and the end of the line
    assert tokenizer.encode("Put the RED cube on the plate.\n").ids == tokenizer.encode(
        "put the red cube on the plate\n"
    ).ids


def test_the_tasks_of_the_parameter_are_those_that_there_are() -> None:
    assert get_args(TaskName) == tuple(TASKS)
