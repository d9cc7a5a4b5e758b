"""What the policy node tells on /diagnostics."""

from __future__ import annotations

import math

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from .inference import InferenceLoop, State

_LEVELS = {
    State.RUNNING: DiagnosticStatus.OK,
    State.WAITING: DiagnosticStatus.WARN,
    State.FAILING: DiagnosticStatus.ERROR,
    State.GIVEN_UP: DiagnosticStatus.ERROR,
}


def diagnostics(node: str, loop: InferenceLoop, refused_images: dict[str, int], envelope_s: float) -> DiagnosticArray:
    """One status: what the policy does, percentiles of every stage over the last hundred chunks, refused images."""
    state, text = loop.state
    median_s, p95_s = loop.latency_percentiles(50), loop.latency_percentiles(95)
    values = {"envelope_ms": f"{1e3 * envelope_s:.0f}"}
    for stage, seconds in median_s.items():
        values[f"{stage}_p50_ms"] = f"{1e3 * seconds:.1f}"
        values[f"{stage}_p95_ms"] = f"{1e3 * p95_s[stage]:.1f}"
    values.update({f"refused_images_{camera}": str(count) for camera, count in refused_images.items()})
    level, message = _LEVELS[state], text
    total_s = p95_s.get("total", math.nan)
    if state is State.RUNNING and total_s > envelope_s:
        level = DiagnosticStatus.WARN
        message = (
            f"latency p95 {1e3 * total_s:.0f} ms is above half a chunk ({1e3 * envelope_s:.0f} ms): the arm will wait "
            "for the policy. Use a faster device, fewer cameras or fewer denoising steps, or the rule 'synchronous'"
        )
    status = DiagnosticStatus(level=level, name=f"{node.lstrip('/')}: inference", message=message, hardware_id="")
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(status=[status])
