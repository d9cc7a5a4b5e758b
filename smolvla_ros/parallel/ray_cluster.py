"""A function on many inputs, as tasks of a Ray cluster: that of RAY_ADDRESS or `ray start`, else one on this machine.

Every node needs this package and sees the files under the same paths. Ray gives the input of a killed worker, or of a
node that is gone, to another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray

from .outcome import ATTEMPTS, Lost

Input = TypeVar("Input")
Result = TypeVar("Result")

_POLL_S = 0.2


def over_ray(
    function: Callable[[Input], Result], inputs: Sequence[Input], cpus: int, check: Callable[[], Any] = lambda: None
) -> Iterator[tuple[int, Result | Lost]]:
    """As `over_processes`; `cpus` are what each task is given, so the cluster decides how many run at a time."""
    joined = ray.is_initialized()
    if not joined:
        ray.init(log_to_driver=False, logging_level="ERROR")
    task = ray.remote(num_cpus=cpus, max_retries=ATTEMPTS - 1)(function)
    places = {task.remote(item): place for place, item in enumerate(inputs)}
    try:
        while places:
            done, _ = ray.wait(list(places), timeout=_POLL_S)
            check()
            for reference in done:
                yield places.pop(reference), _result(reference)
    finally:
        for reference in places:
            ray.cancel(reference, force=True)
        if not joined:
            ray.shutdown()


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError:
        raise  # a fault of the function's own
    except ray.exceptions.RayError as error:
        return Lost(f"Ray lost its worker: {str(error).strip().splitlines()[0]}")
