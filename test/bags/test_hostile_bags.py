"""Bags out of strange hands: no tool ends in a traceback, hangs, or takes more memory than an honest bag needs.

More of them: `pytest test/bags/test_hostile_bags.py --hostile-bags 300 --timeout 1800`.
"""

import json
import subprocess
import sys

import hostile_bags
import pytest

MOST_WORK_S = 5.0
BATCH = 60  # in one process, whose memory grows slowly, whatever is read
MOST_MEMORY = 1.2  # times that of the honest bag


@pytest.fixture(scope="module")
def told(request, tmp_path_factory):
    """What came of an honest bag and of hostile ones after it: pairs, by process."""
    total, folder = request.config.getoption("--hostile-bags"), tmp_path_factory.mktemp("hostile")
    pairs = []
    for first in range(0, total, BATCH):
        count = min(BATCH, total - first)
        command = [sys.executable, hostile_bags.__file__, str(first), str(count), folder / str(first)]
        (folder / str(first)).mkdir()
        with (folder / "log").open("w") as log:
            run = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, timeout=100 + 5 * count)
        lines = [json.loads(line) for line in run.stdout.splitlines()]
        assert run.returncode == 0 and len(lines) == count + 3, (folder / "log").read_text()[-3000:]
        pairs += [(lines[2], line) for line in lines[3:]]
    return pairs


def test_hostile_bags_end_no_tool_in_a_traceback(told):
    assert [honest["traceback"] for honest, _ in told if honest["traceback"]] == []
    failed = [line for _, line in told if line["traceback"]]
    assert not failed, f"{len(failed)}: " + "\n".join(f"{x['seed']} {x['what']}: {x['traceback']}" for x in failed[:5])


def test_hostile_bags_keep_no_tool_busy(told):
    assert [line for _, line in told if line["work_s"] > MOST_WORK_S] == []


def test_hostile_bags_take_no_more_memory_than_an_honest_one(told):
    assert [line for honest, line in told if line["peak_kb"] > MOST_MEMORY * honest["peak_kb"]] == []
