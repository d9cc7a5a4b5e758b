"""What the view says, read as a person would."""

import json
import re

import pytest

from smolvla_ros.execution.status import ControllerState
from smolvla_ros.view import words
from smolvla_ros.view.watched import Watched


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_without_a_controller_it_says_how_to_start_one():
    assert "smolvla-ros arm" in words.headline(Watched().snapshot(), 0.0).text


def test_a_controller_that_fell_silent_is_not_shown_as_following(watched):
    headline = words.headline(watched.snapshot(), 14.0)
    assert (headline.state, headline.text) == ("", "The controller has been silent for 4 s.")


def test_a_hold_is_told_with_its_reason_and_its_figures(watched, facts):
    watched.set_status(facts(state="holding", reason="joint_states_stale", detail="0.9 s old"), 10.0)
    assert words.headline(watched.snapshot(), 10.1).text == "joint states stale: 0.9 s old"


def test_the_banner_holds_state_and_instruction_and_the_dry_run(watched, facts):
    watched.set_status(facts(dry_run=True), 10.0)
    said = text(words.banner(watched.snapshot(), 10.1))
    assert said.startswith("FOLLOWING")
    assert "dry run" in said
    assert "touch the red cube" in said


@pytest.mark.parametrize("text_from_outside", ["<script>alert(1)</script>", '"><img src=x onerror=y>'])
def test_text_from_outside_stays_text(watched, facts, text_from_outside):
    watched.set_status(facts(state="holding", reason="none", detail=text_from_outside), 10.0)
    watched.set_description("policy_node", {"instruction": text_from_outside,
                                            "checkpoint": {"folder": text_from_outside}}, 10.0)  # fmt: skip
    snapshot = watched.snapshot()
    page = words.banner(snapshot, 10.0) + words.about(snapshot) + words.joint_bars(snapshot)
    assert text_from_outside not in page


def test_streams_that_never_came_or_fell_silent_are_named(watched):
    said = text(words.streams(watched.snapshot(), 13.0))
    assert "camera front silent for 3 s" in said
    assert "never heard" in text(words.streams(Watched().snapshot(), 0.0))


def test_each_joint_is_drawn_in_its_range_with_the_way_of_the_chunk(watched):
    bars = words.joint_bars(watched.snapshot())
    centres = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', bars)]
    assert centres == pytest.approx([4 + 292 * 0.625, 4 + 292 * 0.75], abs=0.1)
    ways = [tuple(map(float, way)) for way in re.findall(r'<rect x="([\d.]+)" y="7" width="([\d.]+)"', bars)]
    assert ways[0] == pytest.approx((150.0, 73.0), abs=0.1)


def test_arm_and_gripper_may_tell_their_joints_apart(watched):
    assert watched.snapshot().joints.value == {"shoulder_pan": 0.25, "gripper": 1.5}


def test_what_was_said_is_offered_again_newest_first_and_once():
    watched = Watched()
    for said in ("a", "b", "a"):
        watched.add_instruction(said)
    assert watched.snapshot().instructions == ("a", "b")


def test_the_history_of_the_plots_is_bounded(facts):
    watched = Watched()
    for tick in range(100_000):
        watched.set_status(facts(), tick / 100)
    history = watched.snapshot().history
    assert len(history) == 150
    assert history[-1].at_s - history[0].at_s == pytest.approx(30.0, abs=0.5)


def test_an_instruction_that_was_refused_or_has_unseen_words_is_told():
    refused = {"instruction": "grab it", "accepted": False, "reason": "instruction refused: too long", "remark": ""}
    told = words.remark_on_instruction(json.dumps(refused))
    assert not told.good
    assert told.text == "“grab it”: instruction refused: too long; what was said before stays"
    unseen = {"instruction": "fetch it", "accepted": True, "reason": "", "remark": "never seen in training: fetch"}
    told = words.remark_on_instruction(json.dumps(unseen))
    assert told.good and told.text == "“fetch it”: never seen in training: fetch"


@pytest.mark.parametrize("status", ["", "{", "[1]", '{"accepted": true}', '{"accepted": true, "remark": ""}'])
def test_what_needs_no_remark_gets_none(status):
    assert words.remark_on_instruction(status) is None


@pytest.mark.parametrize("state", [state.name.lower() for state in ControllerState])
def test_every_state_of_the_controller_has_a_colour_and_is_told_in_words(watched, facts, state):
    watched.set_status(facts(state=state, reason="none", detail=""), 10.0)
    banner = words.banner(watched.snapshot(), 10.1)
    assert words._COLOURS[state] in banner
    assert text(banner).startswith(state.upper().replace("_", " "))
