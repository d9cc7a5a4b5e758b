"""A camera: which one, what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from .declaration import parameter
from .node import NodeParameterSet


@dataclass(frozen=True)
class CameraDriverParameters(NodeParameterSet):
    """Settings of the driver of a camera."""

    device: str = parameter("", "A device such as /dev/video0, a stable path below /dev/v4l/by-id, a part of that name "
        "such as the serial number, or a video file.", required=True)
    width: int = parameter(640, "Width of the pictures; 0 leaves it to the camera.", "px", 0, 7680)
    height: int = parameter(480, "Height of the pictures; 0 leaves it to the camera.", "px", 0, 4320)
    frame_rate_hz: float = parameter(30.0, "Pictures per second; 0 leaves it to the camera or the file.", "Hz", 0.0,
        240.0)
    exposure: int = parameter(-1, "Exposure in the camera's unit, mostly 100 us; -1: automatic.", minimum=-1,
        maximum=1_000_000)
    focus: int = parameter(-1, "Focus in the camera's unit; -1: automatic.", minimum=-1, maximum=100_000)
    jpeg_quality: int = parameter(90, "Of pictures that the camera does not give as JPEG.", minimum=1, maximum=100)
    frame_id: str = parameter("", "Frame of the pictures; default: the name of the node with '_optical_frame'.")
