"""The executable `smolvla-ros`: signals are listened to before anything that takes time is imported."""

from __future__ import annotations

import os
import sys

from .signals import CommandSignals


def main() -> int:
    """Runs the command line; the exit code."""
    signals = CommandSignals(*sys.argv[1:2])
    from .main import main as run

    code = run(signals=signals)
    signals.close(ignore=True)
    if code > 128:  # a thread that was left behind must not be waited for
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
