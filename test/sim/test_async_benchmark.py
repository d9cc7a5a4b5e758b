"""The benchmark of ways to execute chunks: its rows, and the page it writes. In small, with the expert as policy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
COLUMNS = (
    "method", "delay", "jitter", "episodes", "success", "wilson_low", "wilson_high", "time_s", "tasks_per_minute",
    "idle", "seam_p50", "seam_p95", "step_p50", "jerk_rms", "reaction_s",
)  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = tmp_path_factory.mktemp("benchmark") / "rows.json"
    command = [sys.executable, BENCHMARKS / "async_execution.py", "--policy", "expert", "--no-docs", "--json", file]
    small = "--episodes 3 --windows 0 --reactions 1 --delays 0 12 --jitter 0 0.5 --methods sync ease_in --workers 1"
    subprocess.run([*command, *small.split()], check=True, capture_output=True)
    return json.loads(file.read_text())


def test_every_row_has_every_column_and_none_is_measured_twice(rows):
    assert all(tuple(row) == COLUMNS for row in rows)
    cells = [(row["method"], row["delay"], row["jitter"]) for row in rows]
    # A delay of nothing has no jitter.
    assert cells == [(m, d, j) for m in ("sync", "ease_in") for d, j in ((0, 0.0), (12, 0.0), (12, 0.5))]


def test_the_expert_is_always_right_and_faster_without_waiting(rows):
    by_cell = {(row["method"], row["delay"], row["jitter"]): row for row in rows}
    assert all(row["success"] == 1.0 and row["episodes"] == 3 for row in rows)
    sync, ahead = by_cell["sync", 12, 0.0], by_cell["ease_in", 12, 0.0]
    assert sync["idle"] > 0.1 and ahead["idle"] == 0.0
    assert ahead["time_s"] < 0.8 * sync["time_s"] and ahead["reaction_s"] < sync["reaction_s"]


def test_the_page_is_rewritten_between_its_marks_only(rows, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from async_report import write_docs

    marks = "<!-- begin async_execution.py: {} -->\nold\n<!-- end -->\n"
    page = tmp_path / "explanation" / "async.md"
    page.parent.mkdir()
    page.write_text("before\n" + marks.format("comparison") + "between\n" + marks.format("all rows") + "after\n")
    full = [{name: float("nan") if value is None else value for name, value in row.items()} for row in rows]
    write_docs(full, tmp_path)
    text = page.read_text()
    assert "old" not in text and text.startswith("before\n") and text.endswith("after\n") and "\nbetween\n" in text
    assert text.count("| 12 | 50% |") == 2
    assert (tmp_path / "images" / "async_execution.png").stat().st_size > 10_000


def test_a_page_without_marks_is_left_alone_and_named(rows, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from async_report import write_docs

    (tmp_path / "explanation").mkdir()
    (tmp_path / "explanation" / "async.md").write_text("nothing to replace\n")
    with pytest.raises(ValueError, match="async.md"):
        write_docs([{**row, "tasks_per_minute": 1.0} for row in rows], tmp_path)
