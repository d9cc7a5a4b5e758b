"""What one control step and one merge cost the controller: chunks of 50 rows x 7 joints at 100 Hz.

    python benchmarks/execution_cost.py --json cost.json

Pure computation in one thread, without ROS; medians and 95th percentiles in microseconds. "locked" is for how long a
merge keeps the control thread waiting at most: the longest single hold of the controller's lock in each merge.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
from machine import machine

from smolvla_ros.execution.chunk import Chunk
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.merge import MERGE_RULES
from smolvla_ros.execution.settings import ControllerSettings

JOINTS, ROWS, PERIOD_NS, STEP_NS, TICKS_PER_CHUNK = 7, 50, 10_000_000, 33_333_333, 20


class TimedLock:
    """A lock that knows the longest time for which it was held since `take_us`."""

    def __init__(self) -> None:
        self._lock, self._longest_s = threading.Lock(), 0.0

    def __enter__(self) -> None:
        self._lock.acquire()
        self._taken_s = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self._longest_s = max(self._longest_s, time.perf_counter() - self._taken_s)
        self._lock.release()

    def take_us(self) -> float:
        longest_s, self._longest_s = self._longest_s, 0.0
        return 1e6 * longest_s


def motion(at_ns: int) -> np.ndarray:
    return 0.5 * np.sin(at_ns * 1e-9 + np.arange(JOINTS))


def measure(rule: str, ticks: int) -> dict[str, object]:
    """Follows chunks along a sine for so many ticks, timing every call."""
    one = np.ones(JOINTS)
    names = tuple(f"joint_{index}" for index in range(JOINTS))
    limits = JointLimits(names, -3 * one, 3 * one, 3 * one, 20 * one, one, one, one)
    controller = Controller(ControllerSettings(limits, PERIOD_NS * 1e-9, merge_rule=rule))
    controller._lock = lock = TimedLock()
    now_ns, steps_us, merges_us, locked_us = 10**12, [], [], []
    controller.activate(now_ns, now_ns)
    for tick in range(ticks):
        now_ns += PERIOD_NS
        controller.receive_joint_positions(motion(now_ns), now_ns, now_ns)
        if tick % TICKS_PER_CHUNK == 5:
            rows = np.array([motion(now_ns + row * STEP_NS) for row in range(ROWS)])
            chunk = Chunk(1, tick, now_ns, STEP_NS, rows)
            lock.take_us()
            start_s = time.perf_counter()
            controller.receive_chunk(chunk, now_ns, now_ns)
            merges_us.append(1e6 * (time.perf_counter() - start_s))
            locked_us.append(lock.take_us())
        start_s = time.perf_counter()
        controller.step(now_ns, now_ns)
        steps_us.append(1e6 * (time.perf_counter() - start_s))
    percentiles = {
        f"{name}_p{p}_us": float(np.percentile(values, p))
        for name, values in (("merge", merges_us), ("locked", locked_us), ("step", steps_us))
        for p in (50, 95)
    }
    return {"merge_rule": rule, **percentiles}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=20_000, help="control steps per rule (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    arguments = parser.parse_args()
    print(machine())
    print("| merge rule | merge p50 | merge p95 | locked p50 | locked p95 | step p50 | step p95 |\n|---|" + "---:|" * 6)
    rows = []
    for rule in MERGE_RULES:
        rows.append(measure(rule, arguments.ticks))
        figures = " | ".join(f"{value:.0f} µs" for value in list(rows[-1].values())[1:])
        print(f"| {rule} | {figures} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
