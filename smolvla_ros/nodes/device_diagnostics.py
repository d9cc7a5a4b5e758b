"""The diagnostics of a node that drives one device."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node


def device_diagnostics(
    node: Node, part: str, device: str, trouble: str, otherwise: str, values: Mapping[str, str]
) -> DiagnosticArray:
    """An error that says `trouble`, or all is well and `otherwise`; `part` is what the node drives at `device`."""
    status = DiagnosticStatus(
        level=DiagnosticStatus.ERROR if trouble else DiagnosticStatus.OK,
        name=f"{node.get_fully_qualified_name().lstrip('/')}: {part}",
        message=trouble or otherwise,
        hardware_id=device,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    message = DiagnosticArray(status=[status])
    message.header.stamp = node.get_clock().now().to_msg()
    return message
