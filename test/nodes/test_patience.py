"""How waiting is logged."""

from types import SimpleNamespace

from smolvla_ros.nodes.patience import RefusalLog, WaitLog


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
