"""What the policy node tells on /diagnostics."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from smolvla_ros.policy.loop import InferenceLoop
from smolvla_ros.policy.loop_types import LoopState

from .health import add_health

_LEVELS = {
    LoopState.IDLE: DiagnosticStatus.OK,
    LoopState.RUNNING: DiagnosticStatus.OK,
    LoopState.TOO_SLOW: DiagnosticStatus.WARN,
    LoopState.WAITING: DiagnosticStatus.WARN,
    LoopState.FAILING: DiagnosticStatus.ERROR,
    LoopState.GIVEN_UP: DiagnosticStatus.ERROR,
}


def diagnostics(
    node: str,
    loop: InferenceLoop,
    refused: Mapping[str, Mapping[str, int]],
    chunk_s: float,
    arithmetic: str,
    health: Mapping[str, str],
) -> DiagnosticArray:
    """One status: what the policy does, percentiles of every stage over the last hundred chunks, refused messages.

    `chunk_s` is the time that a chunk covers: from it follow the largest latency that needs no pauses, and the smallest
    request threshold for the measured one. `arithmetic` tells what the network computes in, and why, `health` what
    must not happen (`GuardedNode`).
    """
    state, text = loop.state
    median_s, p95_s = loop.latency_percentiles(50), loop.latency_percentiles(95)
    values = {"envelope_ms": f"{1e3 * chunk_s / 2:.0f}"}
    if "latency" in p95_s:
        values["needed_request_threshold"] = f"{min(1.0, p95_s['latency'] / chunk_s):.2f}"
    values["arithmetic"] = arithmetic
    if advice := cores_advice(os.getloadavg()[0], len(os.sched_getaffinity(0))):
        values["advice"] = advice
    for stage, seconds in median_s.items():
        values[f"{stage}_p50_ms"] = f"{1e3 * seconds:.1f}"
        values[f"{stage}_p95_ms"] = f"{1e3 * p95_s[stage]:.1f}"
    for stream, counts in refused.items():
        values[f"refused_{stream}"] = str(sum(counts.values()))
        values.update({f"refused_{stream}_{reason}": str(count) for reason, count in counts.items()})
    status = DiagnosticStatus(level=_LEVELS[state], name=f"{node.lstrip('/')}: inference", message=text)
    status.hardware_id = platform.node()
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    add_health(status, health)
    return DiagnosticArray(status=[status])


def cores_advice(load: float, cores: int) -> str:
    """What to do while more threads want to run than there are cores; '' if they do not. `load`: of the last minute."""
    if load <= cores + 0.5:
        return ""
    return (
        f"{load:.1f} threads want to run on {cores} cores: inference takes several times as long beside them; give "
        "it cores of its own (taskset) or fewer torch_threads"
    )
