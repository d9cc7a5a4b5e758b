"""Signals to a process of its own that listens as the nodes do."""

import subprocess
import sys

SWALLOWED = """
import os, signal, time
from smolvla_ros.nodes.stop_signals import StopSignals

signals = StopSignals()
signals.interrupt = True

class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # raised here, where nobody can catch it

try:
    Finalized()
    time.sleep(20.0)
    print("slept")
except KeyboardInterrupt:
    print("interrupted", signals.requested)
"""


def test_an_interruption_that_falls_into_a_finalizer_is_raised_again():
    run = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=60)
    assert run.stdout == "interrupted True\n"
    assert run.stderr == ""
