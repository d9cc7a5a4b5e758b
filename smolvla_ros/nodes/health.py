"""What must not happen in a node, in its diagnostics: internal errors, messages and requests that rclpy cannot read."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue


def add_health(status: DiagnosticStatus, health: Mapping[str, str]) -> None:
    """Adds what `GuardedNode.health` counts; a status that was fine asks for a look if anything was counted."""
    status.values = [*status.values, *(KeyValue(key=key, value=value) for key, value in health.items())]
    counted = [f"{count} {name.replace('_', ' ')}" for name, count in health.items() if count != "0"]
    if counted:
        status.level = max(status.level, DiagnosticStatus.WARN)
        status.message = f"{status.message}; {', '.join(counted)}: see the log".removeprefix("; ")
