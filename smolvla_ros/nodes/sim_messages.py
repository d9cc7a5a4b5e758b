"""What the sim node publishes, as messages."""

from __future__ import annotations

import array
import platform
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from smolvla_ros.msg import TaskVerdict
from smolvla_ros.sim.referee import Verdict
from smolvla_ros.sim.tasks import Asked


def image_message(picture: NDArray[np.uint8], stamp: Time, frame: str) -> Image:
    """An rgb8 image of uint8 [H, W, 3]."""
    message = Image(height=picture.shape[0], width=picture.shape[1], encoding="rgb8", step=3 * picture.shape[1])
    message.header.stamp, message.header.frame_id = stamp, frame
    message.data = array.array("B", picture.tobytes())  # an ndarray would be copied element by element
    return message


def diagnostics(name: str, accepted: int, refused: int, lost_s: float, health: Mapping[str, str]) -> DiagnosticArray:
    """One status: commands taken and refused, time skipped because the simulation fell behind, internal errors."""
    status = DiagnosticStatus(level=DiagnosticStatus.OK, name=f"{name}: simulation", message="running")
    status.hardware_id = platform.node()
    if lost_s > 0.0:
        status.level, status.message = DiagnosticStatus.WARN, f"too slow: {lost_s:.1f} s skipped so far"
    if health["internal_errors"] != "0":
        status.level, status.message = DiagnosticStatus.ERROR, "internal errors: see the log"
    values = {"commands_accepted": accepted, "commands_refused": refused, "skipped_s": round(lost_s, 3)}
    status.values = [KeyValue(key=key, value=str(value)) for key, value in (*values.items(), *health.items())]
    return DiagnosticArray(status=[status])


def verdict_message(asked: Asked, verdict: Verdict, decided: bool, touched: str, stamp: Time) -> TaskVerdict:
    """What the referee says of what is asked for."""
    message = TaskVerdict(decided=decided, touched=touched, **asdict(asked), **asdict(verdict))
    message.header.stamp = stamp
    return message
