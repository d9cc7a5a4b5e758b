"""How waiting is logged."""

from types import SimpleNamespace

import pytest

from smolvla_ros.nodes.patience import RefusalLog, StateLog, WaitLog


def recorder():
    lines = []
    logger = SimpleNamespace(info=lambda t: lines.append(("info", t)), warning=lambda t: lines.append(("warning", t)))
    return logger, lines


def logged(patience_s):
    logger, lines = recorder()
    return WaitLog(logger, patience_s), lines


def test_a_wait_while_a_node_starts_is_no_warning_until_it_lasts():
    waits, lines = logged(patience_s=3600.0)
    waits.begin("no image yet")
    waits.look()
    assert lines == [("info", "no image yet")]
    waits, lines = logged(patience_s=0.0)
    waits.begin("no image yet")
    waits.look()
    waits.look()
    assert lines == [("info", "no image yet"), ("warning", "still no image yet")]


def test_what_goes_missing_later_is_a_warning_at_once():
    waits, lines = logged(patience_s=3600.0)
    waits.end()
    waits.begin("no image for 0.5 s")
    waits.look()
    assert lines == [("warning", "no image for 0.5 s")]


def test_waiting_for_people_is_never_a_warning():
    waits, lines = logged(patience_s=0.0)
    for _ in range(2):
        waits.begin("no instruction", ordinary=True)
        waits.look()
        waits.end()
    assert {level for level, _ in lines} == {"info"}


def test_a_flood_of_one_refusal_is_one_line_and_hides_no_other():
    logger, lines = recorder()
    refusals = RefusalLog(logger, period_s=3600.0)
    for _ in range(3):
        refusals.tell("joint state", "old_stamp", "stamp is 9 s old")
        refusals.tell("joint state", "not_finite", "position of 'elbow' is nan")
        refusals.tell("image of camera 'front'", "old_stamp", "stamp is 9 s old", ordinary=True)
    assert lines == [
        ("warning", "joint state refused: stamp is 9 s old"),
        ("warning", "joint state refused: position of 'elbow' is nan"),
        ("info", "image of camera 'front' refused: stamp is 9 s old"),
    ]


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr("smolvla_ros.nodes.patience.time", SimpleNamespace(monotonic=lambda: now.s))
    return now


def test_a_state_that_comes_and_goes_every_second_is_told_now_and_then_with_its_count(clock):
    logger, lines = recorder()
    states = StateLog(logger)
    for _ in range(24):
        states.warning("holding (chunk_exhausted): chunk 7 ended")
        states.look()
        clock.s += 0.5
        states.info("following")
        states.look()
        clock.s += 0.5
    assert lines[:2] == [("warning", "holding (chunk_exhausted): chunk 7 ended"), ("info", "following")]
    assert lines[2] == ("warning", "holding (chunk_exhausted): chunk 7 ended (10 times in 10 s)")
    assert len(lines) == 6


def test_a_state_that_lasts_is_told_whatever_was_told_before(clock):
    logger, lines = recorder()
    states = StateLog(logger)
    for text in ("following", "holding (a): b", "following", "holding (a): c"):
        states.info(text)
        clock.s += 0.1
    assert lines[-1] == ("info", "holding (a): b")
    for _ in range(30):
        states.look()
        clock.s += 0.1
    assert lines[2:] == [("info", "holding (a): c")]
