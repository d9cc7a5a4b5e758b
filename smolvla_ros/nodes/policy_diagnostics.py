"""What the policy node tells on /diagnostics."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from smolvla_ros.policy.asker import Asker
from smolvla_ros.policy.loop_types import LoopState

from .health import add_health
from .policy_arm import PolicyArm

_PERCENTILES = (50, 95, 99)

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
    arms: Sequence[PolicyArm],
    batch_sizes: Mapping[int, int],
    chunk_s: float,
    arithmetic: str,
    health: Mapping[str, str],
) -> DiagnosticArray:
    """One status for each arm: what the policy does for it, percentiles of every stage over the last hundred chunks,
    deadlines that were missed, refused messages.

    `chunk_s` is the time that a chunk covers: from it follow the largest latency that needs no pauses, and the smallest
    request threshold for the measured one. `batch_sizes` is how often so many arms were answered together,
    `arithmetic` what the network computes in, and why, `health` what must not happen (`GuardedNode`).
    """
    shared = {"envelope_ms": f"{1e3 * chunk_s / 2:.0f}", "arithmetic": arithmetic}
    if advice := cores_advice(os.getloadavg()[0], len(os.sched_getaffinity(0))):
        shared["advice"] = advice
    if len(arms) > 1:
        shared["answered_together"] = ", ".join(f"{size}: {count}" for size, count in batch_sizes.items())
    found = []
    for arm in arms:
        if arm.asker is not None:
            namespace, _, own = node.rpartition("/")
            name = "/".join(part for part in (namespace.strip("/"), arm.name.strip("/"), own) if part)
            found.append(_status(f"{name}: inference", arm.asker, arm.buffer.refused(), chunk_s, shared))
            if arm.refused:
                found[-1].values.append(KeyValue(key="refused", value=arm.refused))
            add_health(found[-1], health)
    return DiagnosticArray(status=found)


def _status(
    name: str, asker: Asker, refused: Mapping[str, Mapping[str, int]], chunk_s: float, shared: Mapping[str, str]
) -> DiagnosticStatus:
    state, text = asker.state
    values = dict(shared)
    of = {p: asker.latency_percentiles(p) for p in _PERCENTILES}
    if "latency" in of[95]:
        values["needed_request_threshold"] = f"{min(1.0, of[95]['latency'] / chunk_s):.2f}"
    values["chunks"] = str(asker.chunks)
    values["deadlines_missed"] = str(asker.missed)
    for stage in of[50]:
        values |= {f"{stage}_p{p}_ms": f"{1e3 * stages_s[stage]:.1f}" for p, stages_s in of.items()}
    for stream, counts in refused.items():
        values[f"refused_{stream}"] = str(sum(counts.values()))
        values.update({f"refused_{stream}_{reason}": str(count) for reason, count in counts.items()})
    status = DiagnosticStatus(level=_LEVELS[state], name=name, message=text)
    status.hardware_id = platform.node()
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    return status


def cores_advice(load: float, cores: int) -> str:
    """What to do while more threads want to run than there are cores; '' if they do not. `load`: of the last minute."""
    if load <= cores + 0.5:
        return ""
    return (
        f"{load:.1f} threads want to run on {cores} cores: inference takes several times as long beside them; give "
        "it cores of its own (taskset) or fewer torch_threads"
    )
