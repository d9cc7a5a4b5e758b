"""Pictures of what the policy saw, small enough to stand in the page."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np

from smolvla_ros.bags.replay.facts import CameraFacts
from smolvla_ros.bags.replay.result import Replay

_INSTANTS = 6
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class Thumbnail:
    """A JPEG as a data URL, and when it was recorded [s]."""

    time_s: float
    url: str
    width: int
    height: int


def thumbnails(replay: Replay) -> dict[str, list[Thumbnail]]:
    """For every camera some pictures, at the instants of chunks if there are any."""
    if replay.chunks:
        times_ns = np.array([chunk.stamp_ns for chunk in replay.chunks], np.int64)
        wanted_ns = times_ns[np.unique(np.linspace(0, len(times_ns) - 1, _INSTANTS).round().astype(int))]
    else:
        wanted_ns = np.linspace(replay.start_ns, replay.end_ns, _INSTANTS).astype(np.int64)
    return {name: _nearest(replay, camera, wanted_ns) for name, camera in replay.facts.cameras.items()}


def _nearest(replay: Replay, camera: CameraFacts, wanted_ns: np.ndarray) -> list[Thumbnail]:
    times_ns = camera.pictures.times_ns
    if not len(times_ns):
        return []
    places = np.unique([int(np.argmin(np.abs(times_ns - wanted))) for wanted in wanted_ns])
    return [
        _thumbnail(camera.pictures.values[place].pixels, (int(times_ns[place]) - replay.start_ns) / 1e9)
        for place in places
    ]


def _thumbnail(pixels: np.ndarray, time_s: float) -> Thumbnail:
    _, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    url = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
    return Thumbnail(time_s, url, pixels.shape[1], pixels.shape[0])
