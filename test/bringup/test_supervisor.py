"""Processes that run together and end together. Real processes, no ROS."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from smolvla_ros.bringup.supervisor import supervise

# A supervisor in a process of its own, so that it can be sent signals; its children run the code given as arguments.
SUPERVISOR = """
import sys
from types import SimpleNamespace
from smolvla_ros.bringup.supervisor import supervise
sys.exit(supervise([
    SimpleNamespace(name=f"script{i}", command=[sys.executable, "-S", "-c", code], environment={},
                    vital=not code.startswith("# a recorder"))
    for i, code in enumerate(sys.argv[1:])
]))
"""
WAITS = "import os, time; open(f'pid.{os.getpid()}', 'w').close(); time.sleep(60)"
ENDS_WELL_ON_SIGTERM = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); " + WAITS
IGNORES_SIGNALS = "import signal; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; " + WAITS


def script(code):
    """What `supervise` reads of a NodeProcess, with Python code for a node."""
    return SimpleNamespace(name="script", command=[sys.executable, "-S", "-c", code], environment={}, vital=True)


@pytest.fixture
def start(tmp_path):
    started = []

    def start(*scripts):
        process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, *scripts], cwd=tmp_path, start_new_session=True,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()
    for pid in pids(tmp_path):
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def pids(folder):
    return [int(file.suffix[1:]) for file in folder.glob("pid.*")]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_with_its_exit_code(start, tmp_path, number):
    process = start(ENDS_WELL_ON_SIGTERM, ENDS_WELL_ON_SIGTERM)
    wait_for(lambda: len(pids(tmp_path)) == 2)
    process.send_signal(number)
    assert process.wait(timeout=3) == 128 + number
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_a_process_that_ignores_signals_is_killed_within_3_s(start, tmp_path):
    process = start(IGNORES_SIGNALS, ENDS_WELL_ON_SIGTERM)
    wait_for(lambda: len(pids(tmp_path)) == 2)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=3) == 130
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_a_stopped_process_is_killed_within_3_s(start, tmp_path):
    process = start(WAITS)
    wait_for(lambda: pids(tmp_path))
    os.kill(pids(tmp_path)[0], signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=3) == 143


def test_when_one_process_fails_the_others_end_and_the_failure_is_named(start, tmp_path):
    process = start(WAITS, "import sys; sys.exit(7)")
    assert process.wait(timeout=20) == 1
    assert "script1 ended with exit code 7" in process.stderr.read()
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_a_recorder_that_ends_is_named_and_takes_nobody_down(start, tmp_path):
    process = start(ENDS_WELL_ON_SIGTERM, "# a recorder\nimport sys; sys.exit(1)")
    wait_for(lambda: pids(tmp_path))
    assert "script1 ended with exit code 1; the others go on without it" in process.stderr.readline()
    assert process.poll() is None and is_alive(pids(tmp_path)[0])
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=3) == 143


def test_the_result_of_the_work_is_the_exit_code_and_ends_the_processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def work(stop):
        wait_for(lambda: pids(tmp_path))
        return 5

    assert supervise([script(WAITS)], work) == 5
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_the_work_is_told_to_stop_when_a_process_fails():
    told = []

    def work(stop):
        told.append(stop.wait(20))
        return 0

    assert supervise([script("raise SystemExit(3)")], work) == 1
    assert told == [True]


def test_what_the_work_raises_is_not_lost():
    def work(stop):
        raise RuntimeError("a bug in the work")

    with pytest.raises(ExceptionGroup) as caught:
        supervise([script("import time; time.sleep(60)")], work)
    assert caught.group_contains(RuntimeError, match="a bug in the work")


def test_what_has_to_be_done_at_a_signal_is_done_while_the_processes_run_and_a_second_signal_cuts_it_short(tmp_path):
    """In a thread of the caller's; the signals are this process's own."""
    waits = script(f"open({str(tmp_path / 'up')!r}, 'w').close(); import time; time.sleep(60)")
    seen = []

    def work(stop, patience_s):
        while not (tmp_path / "up").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10)
        seen.append((tmp_path / "up").exists())
        if not patience_s:
            return 0
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience_s)
        return 0

    for patience_s in (0.0, 0.3):
        assert supervise([waits], lambda stop, patience_s=patience_s: work(stop, patience_s), parts=lambda: True) == 143
    assert seen == [True, True]
