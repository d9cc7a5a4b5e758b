"""How regular the control thread of the controller node is, alone and next to inference on all cores.

    python benchmarks/control_jitter.py --seconds 20 --json jitter.json

The node itself runs here, with its executor, while a second process feeds it joint states (100 Hz) and chunks (4 Hz),
and under load a third one multiplies matrices with torch on every core. For each rate: the error of the period,
e_k = t_k - t_(k-1) - T, where t_k is the instant at which the k-th tick began; percentiles are those of |e|.

Beside each row, in the same seconds, a process of its own runs a bare loop of the same rate and scheduling that does
nothing. On a shared machine only the two together tell what the node adds: "ratio" is p99 of the node over p99 of the
bare loop.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rclpy
from domain_coordinator import domain_id
from rclpy.executors import Executor
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.parameter import Parameter
from rclpy.task import Future

from smolvla_ros.execution import metrics
from smolvla_ros.execution.status import ControllerState
from smolvla_ros.nodes.controller_node import ControllerNode

RATES_HZ = (30.0, 50.0, 100.0, 200.0)
JOINTS = [f"joint_{index}" for index in range(7)]
FIFO_PRIORITY = 50
_WARM_UP_S = 2.0


class RecordingNode(ControllerNode):
    """The controller node, noting when each tick begins."""

    def __init__(self, rate_hz: float, fifo: bool):
        self.ticks_ns: list[int] = []
        values = {
            "autostart": False,
            "joints": JOINTS,
            "control_rate_hz": rate_hz,
            "fifo_priority": FIFO_PRIORITY if fifo else 0,
            "command_type": "joint_state",
        }
        for joint in JOINTS:
            values |= {f"joint.{joint}.min_position": -3.0, f"joint.{joint}.max_position": 3.0}
            values |= {f"joint.{joint}.max_velocity": 3.0}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        super().__init__(parameter_overrides=overrides)

    def _tick(self, deadline_ns: int) -> None:
        self.ticks_ns.append(time.monotonic_ns())
        super()._tick(deadline_ns)


def measure(rate_hz: float, fifo: bool, seconds: float) -> dict[str, float]:
    """Runs the node for so long, following chunks, and returns one row of the table."""
    node, executor = RecordingNode(rate_hz, fifo), EventsExecutor()
    executor.add_node(node)
    node.trigger_configure()
    node.trigger_activate()
    give_up_s = time.monotonic() + 30.0
    while node._controller.status().state != ControllerState.FOLLOWING:
        if time.monotonic() > give_up_s:
            raise TimeoutError(f"the controller does not follow: {node._controller.status().detail}")
        spin(executor, 0.1)
    bare = start_bare(rate_hz, fifo, seconds)
    spin(executor, _WARM_UP_S)
    first, cpu_s, start_s = len(node.ticks_ns), time.process_time(), time.monotonic()
    missed = node._thread.missed
    spin(executor, seconds)
    cpu = (time.process_time() - cpu_s) / (time.monotonic() - start_s)
    missed = node._thread.missed - missed
    times_s = np.array(node.ticks_ns[first:], dtype=np.float64) * 1e-9
    node.bring_down()
    executor.shutdown()
    node.destroy_node()
    alone = json.loads(bare.communicate()[0])
    figures = row(times_s, 1.0 / rate_hz, missed, cpu)
    beside = {"bare_p99_ms": alone["p99_ms"], "bare_max_ms": alone["max_ms"], "bare_missed": alone["missed"]}
    return figures | beside | {"p99_ratio": figures["p99_ms"] / max(alone["p99_ms"], 1e-3)}


def start_bare(rate_hz: float, fifo: bool, seconds: float) -> subprocess.Popen[str]:
    """Starts the bare loop; it warms up as long as the node does, then measures for `seconds` and prints its row."""
    command = [sys.executable, __file__, "--role", "bare", "--rates", str(rate_hz), "--seconds", str(seconds)]
    return subprocess.Popen([*command, *(["--fifo"] if fifo else [])], stdout=subprocess.PIPE, text=True)


def run_bare(rate_hz: float, fifo: bool, seconds: float) -> None:
    """A loop with absolute deadlines that notes when it wakes, and nothing else."""
    if fifo:
        with contextlib.suppress(PermissionError):  # the node runs without it, too, then
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    period_ns = round(1e9 / rate_hz)
    end_ns = time.monotonic_ns() + round((_WARM_UP_S + seconds) * 1e9)
    deadline_ns, missed, times_ns = time.monotonic_ns() + period_ns, 0, []
    while deadline_ns < end_ns:
        time.sleep(max(0, deadline_ns - time.monotonic_ns()) * 1e-9)
        now_ns = time.monotonic_ns()
        skipped = (now_ns - deadline_ns) // period_ns
        missed += skipped
        deadline_ns += (skipped + 1) * period_ns
        times_ns.append(now_ns)
    times_s = np.array(times_ns[round(_WARM_UP_S * rate_hz) :], dtype=np.float64) * 1e-9
    print(json.dumps(row(times_s, 1.0 / rate_hz, missed, 0.0)))


def spin(executor: Executor, seconds: float) -> None:
    """For so long, as the node's own process does."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        executor.spin_until_future_complete(Future(), timeout_sec=0.1)


def row(times_s: np.ndarray, period_s: float, missed: int, cpu: float) -> dict[str, float]:
    errors_ms = 1e3 * metrics.period_errors(times_s, period_s)
    size_ms = np.abs(errors_ms)
    return {
        "std_ms": float(errors_ms.std()),
        "p50_ms": float(np.percentile(size_ms, 50)),
        "p95_ms": float(np.percentile(size_ms, 95)),
        "p99_ms": float(np.percentile(size_ms, 99)),
        "max_ms": float(size_ms.max()),
        "missed": missed,
        # Ticks that were skipped are no drift of the others.
        "drift_ms": 1e3 * (metrics.drift_s(times_s, period_s) - missed * period_s),
        "cpu_percent": 100.0 * cpu,
    }


# The processes around it.


def feed() -> None:
    """Joint states at 100 Hz and, four times a second, a chunk of 50 rows along a slow sine."""
    from rclpy.duration import Duration
    from sensor_msgs.msg import JointState

    from smolvla_ros.msg import ActionChunk

    rclpy.init()
    node = rclpy.create_node("feed")
    states = node.create_publisher(JointState, "joint_states", 1)
    chunks = node.create_publisher(ActionChunk, "action_chunk", 1)
    session, sequence, step_s = 1, 0, 1.0 / 30.0

    def positions(at_s: float) -> list[float]:
        return [0.4 * math.sin(at_s + index) for index in range(len(JOINTS))]

    def publish_state() -> None:
        message = JointState(name=JOINTS, position=positions(time.time()))
        message.header.stamp = node.get_clock().now().to_msg()
        states.publish(message)

    def publish_chunk() -> None:
        nonlocal sequence
        sequence += 1
        now_s = time.time()
        message = ActionChunk(session=session, sequence=sequence, joint_names=JOINTS, rows=50)
        message.positions = [value for row in range(50) for value in positions(now_s + row * step_s)]
        message.step = Duration(seconds=step_s).to_msg()
        message.header.stamp = node.get_clock().now().to_msg()
        chunks.publish(message)

    node.create_timer(0.01, publish_state)
    node.create_timer(0.25, publish_chunk)
    rclpy.spin(node)


def burn() -> None:
    """Matrix products on every core, as inference does."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    matrix = torch.rand(1024, 1024)
    while True:
        matrix = matrix @ matrix
        matrix /= matrix.norm()


@contextlib.contextmanager
def process(what: str) -> Iterator[None]:
    # Not the thread limit of this process: the point of the load is that it takes all cores.
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    child = subprocess.Popen([sys.executable, __file__, "--role", what], env=environment)
    try:
        yield
    finally:
        child.kill()
        child.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="per row (default: %(default)s)")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES_HZ, metavar="HZ", help="default: all four")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--role", choices=("feed", "burn", "bare"), help=argparse.SUPPRESS)
    parser.add_argument("--fifo", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == "bare":
        run_bare(arguments.rates[0], arguments.fifo, arguments.seconds)
        return 0
    if arguments.role:
        (feed if arguments.role == "feed" else burn)()
        return 0
    with domain_id() as domain:
        os.environ |= {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        rows = run(arguments.rates, arguments.seconds)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def run(rates_hz: list[float], seconds: float) -> list[dict[str, object]]:
    rclpy.init()
    rows = []
    print(f"{os.cpu_count()} cores; {seconds:g} s per row; |period error| in ms")
    print("| Hz | load | SCHED_FIFO | std | p50 | p95 | p99 | max | missed | drift | CPU "
          "| bare p99 | bare missed | ratio |\n" + "|---:" * 14 + "|")  # fmt: skip
    with process("feed"):
        for load in (False, True):
            with process("burn") if load else contextlib.nullcontext():
                for fifo in (False, True):
                    for hz in rates_hz:
                        figures = measure(hz, fifo, seconds)
                        rows.append({"hz": hz, "load": load, "fifo": fifo, **figures})
                        print(table_line(rows[-1]), flush=True)
    rclpy.try_shutdown()
    return rows


def table_line(row: dict) -> str:
    times = " | ".join(f"{row[name]:.3f}" for name in ("std_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms"))
    load, fifo = ("all cores" if row["load"] else "none"), ("yes" if row["fifo"] else "no")
    return (
        f"| {row['hz']:g} | {load} | {fifo} | {times} | {row['missed']} | {row['drift_ms']:.2f} "
        f"| {row['cpu_percent']:.1f} % | {row['bare_p99_ms']:.3f} | {row['bare_missed']} | {row['p99_ratio']:.2f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
