"""The page: complete in itself, harmless whatever a bag says, and of a bounded size."""

import base64
import copy
import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from recorded_motion import Motion, facts, record
from replays import replay_of

from smolvla_ros.bags.replay.result import BagFinding, Skipped
from smolvla_ros.bags.replay.verdict import verdict
from smolvla_ros.bags.report import write_report
from smolvla_ros.bags.report.figures import drawn_chunks, traces
from smolvla_ros.bags.report.timeline import strips
from smolvla_ros.parameters.files import read_parameters
from smolvla_ros.parameters.robot import RobotParameters
from smolvla_ros.robot import RobotConfig

HOSTILE = """</script><script>alert('x')</script><img src=x onerror=alert(1)>"&'{{ 7*7 }}"""
CONFIG = Path(__file__).parents[2] / "config" / "so101_sim.yaml"


@pytest.fixture(scope="module")
def robot():
    return RobotConfig.from_parameters(read_parameters(CONFIG, "/robot", RobotParameters))


@pytest.fixture(scope="module")
def replay(robot):
    motion = record(2, 2.0)
    return replay_of(motion, facts(motion, robot), robot)


class Elements(HTMLParser):
    """Tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self._inside = [], "", ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if not self._inside:
            self.text += data


def page_of(replay, folder):
    write_report(replay, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_asks_for_nothing_from_anywhere(replay, tmp_path):
    page = page_of(replay, tmp_path)
    elements = Elements(page)
    asked = [attrs[name] for _, attrs in elements.tags for name in ("src", "href", "data", "action") if name in attrs]
    assert asked and all(address.startswith("data:image/jpeg;base64,") for address in asked)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in elements.tags}
    (policy,) = [attrs["content"] for _, attrs in elements.tags if "http-equiv" in attrs]
    assert policy.startswith("default-src 'none'")
    assert "@import" not in page.partition("</style>")[0] and "url(" not in page.partition("</style>")[0]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_what_a_bag_says_stays_text(robot, tmp_path):
    motion = record(2, 2.0)
    seen = facts(motion, robot, instruction=HOSTILE, topics={"front": f"/{HOSTILE}"})
    named = dataclasses.replace(robot, joints=(dataclasses.replace(robot.joints[0], name=HOSTILE), *robot.joints[1:]))
    made = replay_of(motion, seen, robot)
    hostile = dataclasses.replace(
        made, bag=f"/tmp/{HOSTILE}", checkpoint=HOSTILE, robot_config=HOSTILE, robot=named, joints=named.joint_names,
        reference=HOSTILE, latency=HOSTILE, defects=(HOSTILE,), findings=(BagFinding("x", "error", HOSTILE),),
        skipped=(Skipped("observation", made.start_ns, made.start_ns, 1, HOSTILE),),
        chunks=tuple(dataclasses.replace(chunk, instruction=HOSTILE) for chunk in made.chunks),
        streams=tuple(dataclasses.replace(stream, refusal=HOSTILE, refused=1) for stream in made.streams),
    )  # fmt: skip
    harmless = Elements(page_of(replay_of(motion, facts(motion, robot), robot), tmp_path))
    page = page_of(hostile, tmp_path)
    elements = Elements(page)
    assert HOSTILE in elements.text
    assert [tag for tag, _ in elements.tags if tag == "script"] == [tag for tag, _ in harmless.tags if tag == "script"]
    assert not any(name.startswith("on") for _, attrs in elements.tags for name in attrs)
    for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL):
        assert "<" not in data


def test_the_page_of_a_long_bag_is_not_much_larger(robot, tmp_path):
    short = record(2, 2.0)
    times = 300  # ten minutes
    step = short.times_ns[-1] - short.times_ns[0] + 10_000_000
    long = Motion(
        np.concatenate([short.times_ns + k * step for k in range(times)]),
        np.tile(short.commands, (times, 1)), np.tile(short.positions, (times, 1)),
        {name: [pictures[0]] * (len(pictures) * times) for name, pictures in short.images.items()},
    )  # fmt: skip
    made = replay_of(long, facts(long, robot, keep_every={"camera front": 30, "camera wrist": 30}), robot)
    assert len(made.chunks) > 1000
    sizes = [len(page_of(replay, tmp_path)) for replay in (replay_of(short, facts(short, robot), robot), made)]
    assert sizes[1] < sizes[0] + 1_500_000
    assert len(drawn_chunks(made)) <= 160


def test_findings_and_the_verdict_stand_before_every_figure(replay, tmp_path):
    found = dataclasses.replace(replay, findings=(BagFinding("swapped_joints", "error", "a and b are exchanged."),))
    page = page_of(found, tmp_path)
    assert page.index("mend that first") < page.index("a and b are exchanged.") < page.index('id="traces"')


def test_a_replay_without_an_answer_has_a_page_too(replay, robot, tmp_path):
    silent = replay_of(record(2, 2.0), replay.facts, robot, every=10**6)
    nothing = dataclasses.replace(silent, chunks=(), errors=nan_errors(silent), hold_errors=nan_errors(silent))
    page = page_of(nothing, tmp_path)
    assert "The policy gave no answer" in page
    assert 'id="horizon-plot"' not in page


def nan_errors(replay):
    from smolvla_ros.bags.replay.comparison import chunk_errors

    return chunk_errors((), replay.rows, replay.action_std)


@pytest.mark.parametrize(("error_rad", "mood"), [(0.01, "good"), (0.5, "bad")])
def test_the_verdict_measures_against_standing_still(robot, error_rad, mood):
    motion = record(0, 6.0)
    sentence, found = verdict(replay_of(motion, facts(motion, robot), robot, error_rad=error_rad))
    assert found == mood, sentence
    assert "standing still" in sentence


def test_an_arm_at_rest_is_not_held_against_the_policy(robot):
    rest = record(1, 3.0, at_rest=True)
    assert "hardly moves" in verdict(replay_of(rest, facts(rest, robot), robot))[0]


def test_a_strip_ends_where_its_stream_does_and_marks_what_was_refused(robot):
    motion = record(0, 6.0)
    seen = facts(motion, robot, until_s={"camera front": 3.0})
    seen.streams["/wrist/image_raw"].refused[100:120] = seen.streams["/wrist/image_raw"].messages[100:120]
    front, wrist = strips(replay_of(motion, seen, robot))[:2]
    (only,) = front.spans
    assert (only.kind, only.start) == ("seen", 0.0) and 49.0 < only.length < 53.0
    assert [span.kind for span in wrist.spans] == ["seen", "refused", "seen"]
    assert sum(span.length for span in wrist.spans) > 98.0


def test_no_line_is_drawn_across_a_pause_of_the_commands(replay):
    facts = copy.deepcopy(replay.facts)
    facts.streams["/joint_command"].gaps.append((600_000_000, replay.start_ns + 10**9))
    data = json.loads(traces(dataclasses.replace(replay, facts=facts)))["data"]
    lines = [np.frombuffer(base64.b64decode(line["y"]["bdata"]), np.float32) for line in data
             if line["legendgroup"] in ("r", "m")]  # fmt: skip
    missing = [int(np.isnan(line).sum()) for line in lines]
    assert missing == [0, 18] * 6  # measured, commanded: 0.6 s of 33 ms


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
def test_a_browser_draws_all_figures_without_an_error(replay, tmp_path):
    page_of(replay, tmp_path)
    ended = subprocess.run(
        ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=8000", "--dump-dom",
         (tmp_path / "report.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    drawn = ended.stdout.partition("<main>")[2].partition("</main>")[0]
    assert drawn.count('class="main-svg"') >= 3
    assert "CONSOLE" not in ended.stderr, ended.stderr
