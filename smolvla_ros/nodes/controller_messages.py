"""What the controller node tells: its status and its diagnostics as messages."""

from __future__ import annotations

import platform
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.status import ClampCounter, ControllerState, Reason, Status
from smolvla_ros.msg import ExecutionStatus
from smolvla_ros.robot.refusals import Refusal

from .control_thread import Periodicity
from .health import add_health

# From where on ros2_control's controller manager warns of the periodicity of its update loop [Hz]. Here it is never an
# error: a machine that others use too does that, and a thread that stands still holds the arm by itself.
_MEAN_WARN_HZ, _DEVIATION_WARN_HZ = 5.0, 5.0


def fill_status(message: ExecutionStatus, status: Status, missed_ticks: int, dry_run: bool) -> None:
    """Writes a snapshot into a message that is used again and again: making one costs as much as publishing it."""
    counters = status.counters
    stamp = message.header.stamp
    stamp.sec, stamp.nanosec = divmod(status.now_ns, 1_000_000_000)
    message.state = int(status.state)
    message.reason = int(status.reason)
    message.detail = status.detail
    message.dry_run = dry_run
    message.intervention = status.intervention
    message.parked = status.parked
    message.session = status.session
    message.sequence = status.sequence
    message.row = status.row
    message.last_session, message.last_sequence, rejection = counters.last_chunk
    message.last_rejection = rejection or ""
    message.remaining_rows = status.remaining_rows
    message.remaining_s = status.remaining_s
    message.action_age_s = status.action_age_s
    message.seam_jump = status.seam_jump
    message.idle_fraction = status.idle_fraction
    message.chunks_received = counters.chunks_received
    message.chunks_merged = counters.chunks_merged
    message.chunks_rejected = counters.chunks_rejected
    message.rows_received = status.rows_received
    message.rows_executed = status.rows_executed
    message.rows_discarded = status.rows_discarded
    message.rows_queued = status.rows_queued
    message.position_clamps = counters.position.ticks
    message.velocity_clamps = counters.velocity.ticks
    message.acceleration_clamps = counters.acceleration.ticks
    message.ticks = counters.ticks
    message.missed_ticks = missed_ticks


def diagnostics(
    node: str,
    status: Status,
    limits: JointLimits,
    periodicity: Periodicity,
    rate_hz: float,
    publishers: int,
    joint_states_refused: Mapping[Refusal, int] | None = None,
    health: Mapping[str, str] | None = None,
) -> DiagnosticArray:
    """Two statuses: what is executed and why not, and how regular the control thread is.

    `joint_states_refused`: how many joint states were refused, by reason; `health`: see `GuardedNode`.
    """
    name = f"{node.lstrip('/')}: execution"
    execution = _execution(name, status, limits, publishers, joint_states_refused or {})
    add_health(execution, health or {})
    return DiagnosticArray(
        status=[
            execution,
            _periodicity(f"{node.lstrip('/')}: control thread", periodicity, rate_hz),
        ]
    )


def _execution(
    name: str, status: Status, limits: JointLimits, publishers: int, joint_states_refused: Mapping[Refusal, int]
) -> DiagnosticStatus:
    counters = status.counters
    # Without an instruction no chunk comes, and nothing is wrong; what else keeps the policy from answering, it says.
    idle = status.reason == Reason.WAITING_FOR_CHUNK and publishers == 1
    well = status.state == ControllerState.FOLLOWING or idle
    level = DiagnosticStatus.OK if well else DiagnosticStatus.WARN
    message = f"{status.state.name.lower()}: {status.detail}" if status.detail else status.state.name.lower()
    values = {
        "reason": status.reason.name.lower(),
        "chunk_publishers": str(publishers),
        "remaining_s": f"{status.remaining_s:.3f}",
        "action_age_s": f"{status.action_age_s:.3f}",
        "seam_jump": f"{status.seam_jump:.4f}",
        "idle_fraction": f"{status.idle_fraction:.4f}",
        "chunks_merged": str(counters.chunks_merged),
        "joint_states_rejected": str(counters.joint_states_rejected),
    }
    values.update({f"joint_states_rejected_{reason}": str(n) for reason, n in joint_states_refused.items()})
    values.update({f"chunks_rejected_{reason}": str(count) for reason, count in counters.rejected.items()})
    for kind, counter in (
        ("position", counters.position),
        ("velocity", counters.velocity),
        ("acceleration", counters.acceleration),
    ):
        values.update(_clamps(kind, counter, limits))
    return _status(level, name, message, values)


def _clamps(kind: str, counter: ClampCounter, limits: JointLimits) -> dict[str, str]:
    return {
        f"{kind}_clamps_{joint}": str(count)
        for joint, count in zip(limits.joints, counter.by_joint, strict=True)
        if count
    }


def _periodicity(name: str, periodicity: Periodicity, rate_hz: float) -> DiagnosticStatus:
    error_hz, deviation_hz = abs(periodicity.mean_hz - rate_hz), periodicity.deviation_hz
    level, message = DiagnosticStatus.OK, "regular"
    if error_hz > _MEAN_WARN_HZ or deviation_hz > _DEVIATION_WARN_HZ:
        level, message = DiagnosticStatus.WARN, "irregular: is the machine busy? fifo_priority and cpu_affinity help"
    values = {
        "rate_hz": f"{rate_hz:.1f}",
        "mean_hz": f"{periodicity.mean_hz:.2f}",
        "deviation_hz": f"{deviation_hz:.2f}",
        "ticks": str(periodicity.ticks),
        "missed_ticks": str(periodicity.missed),
    }
    return _status(level, name, message, values)


def _status(level: bytes, name: str, message: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=platform.node(), values=pairs)
