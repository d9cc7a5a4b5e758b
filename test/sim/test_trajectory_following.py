"""What joint_trajectory_controller makes of the demo's motion, by the benchmark that measures it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "trajectory_following.py"


def rows(folder, *options):
    file = folder / "rows.json"
    small = "--policy expert --streams demo seams --rates 200 1000 --json"
    subprocess.run([sys.executable, BENCHMARK, *options, *small.split(), file], check=True, capture_output=True)
    return json.loads(file.read_text())


def test_neither_speed_nor_velocity_jumps_exceed_those_of_the_plan(tmp_path):
    found = rows(tmp_path)
    assert {(row["stream"], row["rate_hz"], row["from_desired"], row["lag_ms"], row["jitter_ms"]) for row in found} == {
        (stream, rate, setting, lag, jitter)
        for stream in ("demo", "seams") for rate in (200, 1000) for setting in (False, True)
        for lag in (0, 30) for jitter in (0, 4)
    }  # fmt: skip
    assert max(row["speed_ratio"] for row in found) <= 1.02
    assert max(row["jump_ratio"] for row in found) <= 1.5


def test_the_same_commands_without_stamps_make_the_follower_jump(tmp_path):
    found = rows(tmp_path, "--undated")
    assert max(row["speed_ratio"] for row in found if row["from_desired"]) > 1.5
    assert max(row["speed_ratio"] for row in found if not row["from_desired"]) > 10


@pytest.mark.parametrize("from_desired", [False, True])
def test_a_controller_that_replaces_by_blending_plays_our_past_again(from_desired):
    """Why docs/explanation/execution.md asks for allow_trajectory_replacement: false."""
    code = f"""
import sys; sys.path.insert(0, {str(BENCHMARK.parent)!r})
import trajectory_following as bench
stream = bench.sent(bench.sine(1.0))
path = bench.follow(stream, 500, from_desired={from_desired}, lag_ms=0, jitter_ms=4, blends=True)
meant = bench.planned(stream, path.times_ns)
print((bench.extremes(path.positions, 500)[0] / bench.extremes(meant, 500)[0]).max())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) > 1.5
