"""Signals to a process of its own that listens as the nodes do."""

import signal
import subprocess
import sys

import pytest

LISTENS = """
import os, signal, sys, time
from smolvla_ros.nodes.stop_signals import StopSignals

signals = StopSignals()
number = int(sys.argv[1])

def leave():
    print("left")
    sys.stdout.flush()
    os._exit(0)
"""
BEFORE = """
os.kill(os.getpid(), number)
with signals.calling(leave):
    print("went on")
"""
MEANWHILE = """
class Finalized:
    def __del__(self):
        os.kill(os.getpid(), number)
        time.sleep(0.05)  # whatever is raised here is swallowed

with signals.calling(leave):
    Finalized()
    print("went on")
"""
AFTER = """
with signals.calling(leave):
    pass
os.kill(os.getpid(), number)
print("requested", signals.requested)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "script, told", [(BEFORE, "left"), (MEANWHILE, "left"), (AFTER, "requested True")], ids=["before", "in", "after"]
)
def test_a_signal_calls_what_was_asked_for_only_then_and_wherever_the_main_thread_is(script, told, number):
    command = [sys.executable, "-c", LISTENS + script, str(int(number))]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.stderr, run.returncode) == (f"{told}\n", "", 0)
