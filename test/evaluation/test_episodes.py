"""Figures, tables and pictures of episodes, from made-up ones. No processes."""

import numpy as np
import pytest
from PIL import Image as Picture
from rich.console import Console
from sensor_msgs.msg import Image

from smolvla_ros.evaluation.episodes import Episode, Task, draw_tasks, summary
from smolvla_ros.evaluation.operator import to_array
from smolvla_ros.evaluation.pictures import Scene, save_animation, save_strip
from smolvla_ros.evaluation.report import table
from smolvla_ros.sim.referee import Verdict
from smolvla_ros.sim.task import COLOURS
from smolvla_ros.sim.tasks import Asked


def episode(touched="red", time_s=2.0, latency_s=0.1, idle_fraction=0.0):
    task = Task(1, Asked("touch", "red"), "touch the red cube")
    done = touched == "red"
    verdict = Verdict(done, done, False, touched in ("", "red"), False, False, False)
    return Episode(task, verdict, touched, time_s, latency_s, 0.05, idle_fraction)


def test_a_seed_gives_the_same_tasks_and_another_seed_others():
    assert draw_tasks(20, seed=3) == draw_tasks(20, seed=3)
    assert {task.seed for task in draw_tasks(20, seed=3)}.isdisjoint(task.seed for task in draw_tasks(20, seed=4))


def test_tasks_take_every_colour_equally_often_and_name_it():
    tasks = draw_tasks(40, seed=0)
    assert [sum(task.asked.colour == colour for task in tasks) for colour in COLOURS] == [10, 10, 10, 10]
    assert all(task.asked.colour in task.instruction.lower() for task in tasks)
    assert len({task.instruction for task in tasks}) > 30


def test_the_summary_counts_successes_and_wrong_cubes_and_takes_medians():
    figures = summary([episode(), episode(time_s=4.0), episode("blue", latency_s=0.3), episode("", time_s=15.0)])
    assert figures["episodes"] == 4
    assert figures["success"] == 0.5
    assert figures["right_object"] == 0.75
    assert figures["time_s"] == 3.0  # of the successes
    assert figures["latency_s"] == 0.1
    # R's binom::binom.wilson(2, 4)
    assert (figures["wilson_low"], figures["wilson_high"]) == pytest.approx((0.1500, 0.8500), abs=1e-4)


def test_the_median_of_nothing_is_none():
    figures = summary([episode("", latency_s=None, idle_fraction=None)])
    assert figures["time_s"] is figures["latency_s"] is figures["idle_fraction"] is None


def test_the_table_shows_what_was_measured_and_a_dash_for_what_was_not():
    console = Console(width=120, record=True)
    console.print(table([episode(), episode("", latency_s=None, idle_fraction=None)]))
    first, second = (line for line in console.export_text().splitlines() if "touch the red cube" in line)
    assert "yes" in first and "100 ms" in first and "0%" in first
    assert "no" in second and second.count(" - ") == 3


def test_an_image_message_with_padded_rows_becomes_its_picture():
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    padded = np.concatenate([picture.reshape(2, 9), np.full((2, 4), 255, np.uint8)], axis=1)
    message = Image(height=2, width=3, encoding="rgb8", step=13, data=padded.tobytes())
    assert (to_array(message) == picture).all()


@pytest.fixture
def scene():
    """A red square that stands still for ten frames and then moves."""
    frames = np.full((20, 60, 80, 3), 200, np.uint8)
    for i, frame in enumerate(frames):
        left = 10 + 5 * max(0, i - 9)
        frame[20:40, left : left + 15] = (200, 20, 20)
    return Scene(list(frames), [0.1 * i for i in range(20)], "touch the red cube", "2.0 s", True)


def test_the_strip_has_a_row_for_each_scene_and_skips_the_time_before_the_motion(tmp_path, scene):
    save_strip(tmp_path / "strip.png", [scene, scene])
    strip = np.asarray(Picture.open(tmp_path / "strip.png").convert("RGB")).astype(int)
    assert strip.shape[1] == 1500
    middle = strip[strip.shape[0] // 4 + 17]
    starts = [int(np.argmax(cell[:, 0] - cell[:, 1] > 100)) for cell in middle.reshape(5, 300, 3)]
    assert starts == sorted(set(starts))  # in every picture further right: none of the frames at rest but the first


def test_the_animation_keeps_the_pace_of_the_run_and_the_colours(tmp_path, scene):
    save_animation(tmp_path / "demo.webp", [scene])
    animation = Picture.open(tmp_path / "demo.webp")
    # The encoder joins the ten equal frames at the start into one.
    total_ms = 0
    for index in range(animation.n_frames):
        animation.seek(index)
        animation.load()
        total_ms += animation.info["duration"]
    assert total_ms == 19 * 100 + 900
    assert np.abs(np.asarray(animation.convert("RGB"))[34 + 30, 65].astype(int) - (200, 20, 20)).max() < 12
