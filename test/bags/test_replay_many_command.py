"""`smolvla-ros replay` of many bags, and of two checkpoints: one page, names of what is broken, exit codes."""

import json
import pickle
import shutil

import numpy as np
import pytest
from replaying import FakePolicy
from simulated_bag import make_bag

from smolvla_ros.bags.replay.run import ReplaySettings
from smolvla_ros.cli.main import main
from smolvla_ros.cli.replay_task import BagReplayer, ReplayTask
from smolvla_ros.policy import setup as policy_setup

FAULTS = {"near": 0.5, "far": 8.0}  # how far off the checkpoints of these names are, in their units


class Off(FakePolicy):
    def __init__(self, offset):
        super().__init__()
        self.rows = np.full_like(FakePolicy.rows, offset)


@pytest.fixture
def quick(monkeypatch):
    """Policies that cost nothing, by the name of the checkpoint; the list of those that were loaded."""
    loaded = []

    def load(parameters, robot, warn):
        loaded.append(parameters.checkpoint)
        return Off(FAULTS.get(parameters.checkpoint, 2.0))

    monkeypatch.setattr(policy_setup, "load_policy", load)
    return loaded


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    """Three bags in a folder; the second is cut off, the third no bag at all."""
    folder = tmp_path_factory.mktemp("monday")
    for name in ("a", "b"):
        make_bag(folder / name, seconds=2.5)
    file = next((folder / "b").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    (folder / "c").mkdir()
    (folder / "c" / "c.mcap").write_bytes(b"not a bag")
    return folder


def replay(*arguments):
    return main(["replay", *map(str, arguments)])


def result(out):
    return json.loads((out / "replays.json").read_text())


def test_a_broken_bag_is_named_and_the_others_go_on(bags, tmp_path, quick, capsys):
    assert replay(bags, "--out", tmp_path, "--jobs", 1) == 3
    output = capsys.readouterr().out
    assert "not replayed c: " in output and "partial b: " in output
    found = result(tmp_path)
    assert [bag["name"] for bag in found["bags"]] == ["a", "b"] and found["failed"][0]["name"] == "c"
    assert {file.name for file in (tmp_path / "bags" / "a").iterdir()} == {"report.html", "replay.json", "rows.parquet"}
    page = (tmp_path / "report.html").read_text()
    assert 'href="bags/a/report.html"' in page and "neither mcap nor sqlite3" in page
    assert len(quick) == 1, "a policy is loaded once for all bags"
    assert replay(bags, "--out", tmp_path, "--jobs", 1, "--allow-partial") == 0


def test_a_bag_among_many_gets_the_figures_that_it_has_alone(bags, tmp_path, quick):
    replay(bags / "a", bags / "b", "--out", tmp_path / "many", "--jobs", 1)
    replay(bags / "a", "--out", tmp_path / "one")
    for name in ("replay.json", "rows.parquet"):
        assert (tmp_path / "many" / "bags" / "a" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_a_condition_that_holds_in_one_bag_fails_and_names_it(bags, tmp_path, quick, capsys):
    assert replay(bags / "a", bags / "b", "--out", tmp_path, "--jobs", 1, "--fail-if", "chunks>2") == 1
    assert "failed a: chunks is" in capsys.readouterr().out


def test_no_bag_that_can_be_used_is_a_mistake_of_the_user(bags, tmp_path, quick):
    assert replay(bags / "c", bags / "nowhere", "--out", tmp_path) == 2
    assert replay(bags / "a", bags / "a", "--out", tmp_path, "--fail-if", "mea>1", "--against", "far") == 2


def test_the_nearer_checkpoint_passes_and_the_farther_one_does_not(tmp_path, quick, capsys):
    bag = make_bag(tmp_path / "bag", seconds=13.0, picture_size=(24, 24))
    options = ("--out", tmp_path / "out", "--jobs", 1, "--rows", "none")
    assert replay(bag, "--checkpoint", "far", "--against", "near", *options) == 4
    found = result(tmp_path / "out")["comparison"]
    assert found["verdict"] == "farther" and "blocks of" in found["over"]
    assert all(joint["difference"] > 0.0 for joint in found["joints"].values())
    assert (tmp_path / "out" / "bags" / "bag" / "against" / "report.html").exists()
    assert replay(bag, "--checkpoint", "near", "--against", "far", *options) == 0
    assert "The checkpoint is nearer to what the robot did" in capsys.readouterr().out
    assert replay(bag, "--checkpoint", "near", "--against", "far", "--duration", 3, *options) == 5
    assert "do not tell" in capsys.readouterr().out


def test_stopping_keeps_the_bags_that_were_done(bags, tmp_path, quick, monkeypatch, capsys):
    import os
    import signal

    class Stopping(Off):
        def predict(self, *args, **kwargs):
            if (tmp_path / "bags" / "a" / "replay.json").exists():
                os.kill(os.getpid(), signal.SIGTERM)
            return super().predict(*args, **kwargs)

    monkeypatch.setattr(policy_setup, "load_policy", lambda parameters, robot, warn: Stopping(1.0))
    assert replay(bags / "a", bags / "b", "--out", tmp_path, "--jobs", 1) == 143
    found = result(tmp_path)
    assert [bag["name"] for bag in found["bags"]] == ["a"] and found["stopped"] == ["b"]
    assert "the bags that were done by then are in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--margin", "0.1"], "give --against too"),
        (["--jobs", "0"], "--jobs: is '0', expected a whole number"),
        (["--margin", "wide"], "--margin: is 'wide', expected a number of rad"),
    ],
)
def test_a_mistake_ends_in_one_line(bags, tmp_path, capsys, options, text):
    try:
        code = replay(bags / "a", "--out", tmp_path, *options)
    except SystemExit as error:  # argparse's way
        code = error.code
    assert code == 2 and text in capsys.readouterr().err


def test_tasks_and_results_go_from_process_to_process(bags, tmp_path, quick):
    copies = [shutil.copytree(bags / "c", tmp_path / name) for name in ("d", "e")]
    assert replay(*copies, "--out", tmp_path / "out", "--jobs", 2) == 2
    assert [failed["name"] for failed in result(tmp_path / "out")["failed"]] == ["d", "e"]
    settings = ReplaySettings()
    found = BagReplayer()(ReplayTask("a", str(bags / "a"), tmp_path / "out", settings, against="far", rows="none"))
    assert pickle.loads(pickle.dumps(found)).pairs.ours.counts.any()
