"""Ctrl-C and SIGTERM at any instant: exit code 130 or 143, one line, no traceback; a script goes no further."""

import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from arms import SMOLVLA_ROS, user_environment, wait_for
from simulated_bag import make_bag

from smolvla_ros.cli.signals import CommandSignals, CommandStopped
from smolvla_ros.installation import share_folder

DEMO = share_folder() / "checkpoints" / "demo"
COMMANDS = {
    "check": ["check", DEMO, "--robot", "so101_sim"],
    "say": ["say", "touch", "the", "red", "cube", "--timeout", "30"],
    "replay": ["replay", "BAG", "--out", "out", "--param", "torch_threads:=1"],
    "export": ["export", "BAG", "--out", "dataset"],
    "record": ["record", "--out", "recorded"],
    "play": ["play", "BAG"],
    "evaluate": ["evaluate", "--episodes", "3"],
}
# How long each of them goes on, about, on a machine that is busy.
LONGEST_S = {"check": 4.0, "replay": 5.0, "evaluate": 8.0}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return make_bag(tmp_path_factory.mktemp("bags") / "bag", seconds=6.0)


def listens(pid):
    """Whether the process has a handler for SIGTERM: before, it dies of it as any program does."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def stopped(arguments, folder, number, after_s):
    """Runs a command and sends it a signal; its exit code and output."""
    process = subprocess.Popen(
        [str(part) for part in (SMOLVLA_ROS, *arguments)], cwd=folder, env=user_environment(), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: process.poll() is not None or listens(process.pid), 20)
    time.sleep(after_s)
    process.send_signal(number)
    output = process.communicate(timeout=30)[0]
    return process.returncode, output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_at_any_instant_ends_a_command_with_its_code_one_line_and_no_traceback(
    command, number, bag, tmp_path
):
    arguments = [bag if part == "BAG" else part for part in COMMANDS[command]]
    for trial in range(2):
        after_s = random.uniform(0.0, LONGEST_S.get(command, 2.0)) if trial else 0.0
        folder = tmp_path / str(trial)
        folder.mkdir()
        code, output = stopped(arguments, folder, number, after_s)
        told = f"after {after_s:.2f} s, code {code}:\n{output}"
        assert "Traceback" not in output and "terminate called" not in output, told
        if code != 128 + number:
            assert code in (0, 1) and trial and "stopped by" not in output, told  # it was done before
            continue
        lines = [line for line in output.splitlines() if f"smolvla-ros {command}: stopped by" in line]
        assert len(lines) == 1 and f"stopped by {number.name}; " in lines[0], told
        if command == "export":
            whole = ["dataset"] if "dataset is complete" in lines[0] else []  # between the last file and the end
            assert [file.name for file in folder.iterdir()] == whole, told
        if command == "replay":
            assert ("what was replayed until then is in out" in output) == (folder / "out" / "report.html").exists()


def test_a_replay_that_is_stopped_keeps_what_was_replayed(bag, tmp_path):
    process = subprocess.Popen(
        [SMOLVLA_ROS, "replay", bag, "--out", "out", "--param", "torch_threads:=1", "--latency", "0.01"], cwd=tmp_path,
        env=user_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    wait_for(lambda: b"libtorch_cpu" in Path(f"/proc/{process.pid}/maps").read_bytes(), 60)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 143 and "Traceback" not in output, output


def test_within_a_deferral_a_signal_is_raised_at_the_places_that_ask_only():
    signals = CommandSignals("export")
    try:
        with pytest.raises(CommandStopped), signals.deferred() as check:
            check()
            signal.raise_signal(signal.SIGTERM)
            assert signals.number == signal.SIGTERM
            check()
    finally:
        signals.close()


def test_work_without_such_places_is_left_behind_and_its_errors_come_through():
    signals = CommandSignals("check")
    try:
        assert signals.wait_for(lambda: 7) == 7
        with pytest.raises(KeyError):
            signals.wait_for(lambda: {}["missing"])
        started = time.monotonic()

        def work():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(20)

        with pytest.raises(CommandStopped):
            signals.wait_for(work)
        assert time.monotonic() - started < 15
    finally:
        signals.close()
