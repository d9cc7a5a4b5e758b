"""Functions for workers, which import them by name."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path


class Counting:
    """Tells how many inputs this copy has had."""

    def __init__(self) -> None:
        self.had = 0

    def __call__(self, name: str) -> tuple[str, int]:
        self.had += 1
        return name, self.had


def killed_once(file: str) -> str:
    """Its process is killed the first time that it is asked with this file, unless it is called 'healthy'."""
    if Path(file).name == "healthy":
        return "healthy"
    if not Path(file).exists():
        Path(file).write_text("was here", encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)
    return "done again"


def killed_always(name: str) -> str:
    """Its process is killed whenever it is asked for 'fatal'."""
    if name == "fatal":
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def killed_when_idle(item: str) -> str:
    """The worker of "quick" dies a while after its answer; "slow" takes longer than that."""
    if item == "quick":
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
    else:
        time.sleep(2.0)
    return item
