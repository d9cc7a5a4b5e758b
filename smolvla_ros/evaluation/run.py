"""Starts the processes of a simulated arm and does episodes on it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence

from rich.console import Console

from smolvla_ros.bringup import ArmOptions, arm_processes
from smolvla_ros.bringup.supervisor import supervise

from .episodes import Episode, Task, run_episodes
from .operator import Interrupted, Operator, OperatorError
from .report import with_progress


def run(
    options: ArmOptions,
    tasks: Sequence[Task],
    on_episode: Callable[[Operator, Episode], None],
    console: Console,
    watch: str = "",
    linger_s: float = 0.0,
) -> int:
    """Does every task on an arm brought up by `options`, and takes the arm down again.

    Args:
        on_episode: called after each episode, while what the operator collected of it is still there.
        watch: image topic whose frames the operator collects.
        linger_s: how long an episode goes on after it is decided, for the pictures.

    Returns:
        The exit code: 0 if every task was done, whatever came of it; 1 if a node failed.
    """

    def work(stop: threading.Event) -> int:
        with Operator(options.namespace, stop) as operator:
            if watch:
                operator.watch(watch)
            try:
                for episode in with_progress(run_episodes(operator, tasks, linger_s), tasks, console):
                    on_episode(operator, episode)
            except OperatorError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
            except Interrupted:
                return 1
        return 0

    return supervise(arm_processes(options), work)
