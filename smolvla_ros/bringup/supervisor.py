"""Runs processes together: when a vital one ends, or a signal or the caller ends it, all end.

Built on a trio nursery. Each process is the leader of its own session, so Ctrl-C in the terminal reaches only us and
every process is asked to end exactly once, with SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import trio

from .processes import CommandProcess, NodeProcess

Process = NodeProcess | CommandProcess

# All of it has to end within 3 s; a node that is still busy after this is killed.
_GRACE_S = 2.2


def supervise(
    processes: Sequence[Process],
    work: Callable[[threading.Event], int] | None = None,
    told: Callable[[], int] = lambda: 0,
    parts: Callable[[], bool] = lambda: False,
) -> int:
    """Runs `processes` until SIGINT or SIGTERM, until a vital one ends, or until `work` returns.

    Args:
        processes: what to start.
        work: runs in a thread beside the processes; the event it gets is set when it should give up.
        told: the number of a signal that came before this was called.
        parts: whether `work` has something to do at a signal that needs the processes: they go on until it returns, and
            a second signal ends them at once.

    Returns:
        The exit code: 128 and its number after a signal, that of `work` if it finished, 1 if a vital process ended by
        itself.
    """
    return trio.run(_supervise, processes, work, told, parts)


async def _supervise(
    processes: Sequence[Process],
    work: Callable[[threading.Event], int] | None,
    told: Callable[[], int],
    parts: Callable[[], bool],
) -> int:
    exit_codes: list[int] = []  # the first one counts, the others follow from it
    stop = threading.Event()
    running = trio.CancelScope()

    def end(number: int) -> None:
        exit_codes.append(128 + number)
        stop.set()
        if len(exit_codes) > 1 or not parts():
            running.cancel()

    async def listen(signals: AsyncIterator[int]) -> None:
        async for number in signals:
            end(number)

    async def until_end(process: Process) -> None:
        result = await trio.run_process(
            process.command,
            env=os.environ | process.environment,
            check=False,
            start_new_session=True,
            deliver_cancel=_terminate,
        )
        if not exit_codes:
            then = "stopping the others" if process.vital else "the others go on without it"
            print(f"{process.name} ended with exit code {result.returncode}; {then}", file=sys.stderr, flush=True)
        if not process.vital:
            return
        exit_codes.append(1)
        stop.set()
        running.cancel()

    async def until_done(work: Callable[[threading.Event], int]) -> None:
        exit_codes.append(await trio.to_thread.run_sync(work, stop))
        running.cancel()

    # Signals are listened to until the last process has ended: a second Ctrl-C must not end us before.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as listening:
            listening.start_soon(listen, signals)
            if before := told():
                end(before)
            with running:
                async with trio.open_nursery() as nursery:
                    for process in processes:
                        nursery.start_soon(until_end, process)
                    if work is not None:
                        nursery.start_soon(until_done, work)
            listening.cancel_scope.cancel()
    return exit_codes[0]


async def _terminate(process: trio.Process) -> None:
    process.terminate()
    await trio.sleep(_GRACE_S)
    os.killpg(process.pid, signal.SIGKILL)
