"""`smolvla-ros evaluate` and `smolvla-ros demo`: the success rate in small, the files that are promised."""

import json

from PIL import Image


def test_the_policy_that_ships_touches_the_named_cubes(start, tmp_path):
    file = tmp_path / "figures.json"
    run = start("evaluate", "--episodes", "12", "--seed", "7", "--json", file)
    assert run.process.wait(timeout=280) == 0, run.output
    figures = json.loads(file.read_text())
    assert set(figures) == {"task", "episodes", "success", "reached", "grasped", "right_object", "placed", "dropped",
                            "moved_wrongly", "wilson_low", "wilson_high", "time_s", "latency_s", "idle_fraction"}
    assert figures["task"] == "touch"
    assert figures["episodes"] == 12
    # The full rate is in the README; a random choice of colours would succeed in 3 of 12.
    assert figures["success"] >= 10 / 12, run.output
    assert figures["wilson_low"] <= figures["success"] <= figures["wilson_high"]
    assert 0.0 < figures["latency_s"] < 2.0
    assert 0.0 <= figures["idle_fraction"] < 1.0


def test_the_demo_shows_a_table_and_writes_a_strip_and_an_animation(start, tmp_path):
    run = start("demo", "--output", tmp_path / "pictures", COLUMNS="120")
    assert run.process.wait(timeout=180) == 0, run.output
    for text in ("reach for the blue block", "put the red cube on the plate", "success", "time", "inference", "idle"):
        assert text in run.output
    strip = Image.open(tmp_path / "pictures" / "strip.png")
    animation = Image.open(tmp_path / "pictures" / "demo.webp")
    assert strip.width > 1000 and strip.height > 1000
    assert animation.n_frames > 30
    assert (tmp_path / "pictures" / "demo.webp").stat().st_size < 8_000_000
