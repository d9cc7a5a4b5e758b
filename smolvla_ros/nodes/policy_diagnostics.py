"""What the policy node tells on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from smolvla_ros.policy.loop import InferenceLoop
from smolvla_ros.policy.loop_types import LoopState

_LEVELS = {
    LoopState.RUNNING: DiagnosticStatus.OK,
    LoopState.TOO_SLOW: DiagnosticStatus.WARN,
    LoopState.WAITING: DiagnosticStatus.WARN,
    LoopState.FAILING: DiagnosticStatus.ERROR,
    LoopState.GIVEN_UP: DiagnosticStatus.ERROR,
}


def diagnostics(
    node: str, loop: InferenceLoop, refused: Mapping[str, Mapping[str, int]], chunk_s: float
) -> DiagnosticArray:
    """One status: what the policy does, percentiles of every stage over the last hundred chunks, refused messages.

    `chunk_s` is the time that a chunk covers: from it follow the largest latency that needs no pauses, and the smallest
    request threshold for the measured one.
    """
    state, text = loop.state
    median_s, p95_s = loop.latency_percentiles(50), loop.latency_percentiles(95)
    values = {"envelope_ms": f"{1e3 * chunk_s / 2:.0f}"}
    if "latency" in p95_s:
        values["needed_request_threshold"] = f"{min(1.0, p95_s['latency'] / chunk_s):.2f}"
    for stage, seconds in median_s.items():
        values[f"{stage}_p50_ms"] = f"{1e3 * seconds:.1f}"
        values[f"{stage}_p95_ms"] = f"{1e3 * p95_s[stage]:.1f}"
    for stream, counts in refused.items():
        values[f"refused_{stream}"] = str(sum(counts.values()))
        values.update({f"refused_{stream}_{reason}": str(count) for reason, count in counts.items()})
    status = DiagnosticStatus(level=_LEVELS[state], name=f"{node.lstrip('/')}: inference", message=text, hardware_id="")
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(status=[status])
