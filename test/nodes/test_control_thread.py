"""The control thread: its grid of deadlines, what it skips, what it says when it fails or may not have a priority."""

import threading
import time

import pytest

from smolvla_ros.nodes import control_thread
from smolvla_ros.nodes.control_thread import ControlThread


def run(tick, ticks=20, period_s=0.005, **options):
    """The thread after so many calls of `tick`, stopped."""
    done, deadlines = threading.Event(), []

    def counted(deadline_ns):
        deadlines.append(deadline_ns)
        tick(len(deadlines))
        if len(deadlines) == ticks:
            done.set()

    thread = ControlThread(period_s, counted, warn=options.pop("warn", pytest.fail), **options)
    thread.start()
    done.wait(20.0)
    assert thread.stop(5.0)
    return thread, deadlines


def test_deadlines_lie_on_a_grid_whatever_a_tick_takes():
    _, deadlines = run(lambda count: time.sleep(0.002 if count % 3 else 0.012))
    steps = [later - earlier for earlier, later in zip(deadlines, deadlines[1:], strict=False)]
    assert all(step > 0 and step % 5_000_000 == 0 for step in steps)


def test_ticks_that_come_too_late_are_skipped_and_counted():
    thread, deadlines = run(lambda count: time.sleep(0.05) if count == 5 else None)
    skipped = (deadlines[-1] - deadlines[0]) // 5_000_000 - (len(deadlines) - 1)
    assert thread.missed == pytest.approx(skipped, abs=1)
    assert thread.missed >= 8


def test_an_exception_ends_the_thread_and_is_kept():
    thread = ControlThread(0.005, lambda deadline_ns: 1 / 0, warn=pytest.fail)
    thread.start()
    thread._thread.join(20.0)
    assert "ZeroDivisionError" in thread.failure


def test_a_refused_priority_and_refused_cores_are_told_and_the_thread_runs_on(monkeypatch):
    def refuse(*_):
        raise PermissionError("not permitted")

    monkeypatch.setattr(control_thread.os, "sched_setscheduler", refuse)
    monkeypatch.setattr(control_thread.os, "sched_setaffinity", refuse)
    warnings = []
    thread, deadlines = run(lambda count: None, fifo_priority=50, cores=[0], warn=warnings.append)
    assert len(deadlines) >= 20
    assert thread.failure == ""
    assert "cores [0] refused" in warnings[0]
    assert "rtprio" in warnings[1]


def test_periodicity_tells_the_frequency():
    thread, _ = run(lambda count: None, ticks=50)
    periodicity = thread.periodicity()
    assert periodicity.mean_hz > 20.0
    assert periodicity.ticks >= 50


def test_a_thread_that_hangs_in_a_tick_is_noticed_by_its_silence():
    release = threading.Event()
    thread = ControlThread(0.005, lambda deadline_ns: release.wait(20.0), warn=pytest.fail)
    thread.start()
    time.sleep(0.1)
    assert thread.silent_s() > 0.05
    assert not thread.stop(0.01)
    release.set()
    assert thread.stop(5.0)


def test_a_thread_that_comes_back_is_forgiven_its_silence():
    """As in a process that was suspended, when the thread that looks is back first."""
    hang, release = threading.Event(), threading.Event()
    thread = ControlThread(0.005, lambda deadline_ns: hang.is_set() and release.wait(20.0), warn=pytest.fail)
    thread.start()
    assert thread.silent_looks(10.0) == 0
    hang.set()
    time.sleep(0.1)
    assert [thread.silent_looks(0.05) for _ in range(3)] == [1, 2, 3]
    hang.clear()
    release.set()
    give_up_s = time.monotonic() + 20.0
    while thread.silent_looks(0.05):
        assert time.monotonic() < give_up_s
    assert thread.stop(5.0)
