"""What a bag shows beside the policy's answers, collected in one pass while it streams through the replay.

Memory is bounded however long the bag is: samples are thinned out, messages counted in bins, pictures kept small.
One thread. Times are log times [ns] unless they are called stamps; positions are [joints] in rad or m, as recorded.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.images import decode_image, greyed
from smolvla_ros.robot.joint_contradictions import JointContradictions
from smolvla_ros.robot.joint_states import JointStates
from smolvla_ros.robot.refusals import RefusedMessage

from .samples import Samples

Array = NDArray[np.float64]

BINS = 480  # of the bag's time in which messages are counted
JOINT_STATES, COMMANDS, INSTRUCTION = "joint states", "commands", "instruction"

_JOINT_SAMPLES, _JOINT_SPACING_NS = 16_384, 20_000_000
_LAG_SAMPLES, _LAG_SPACING_NS = 2048, 50_000_000
_PICTURES, _PICTURE_SPACING_NS = 64, 500_000_000
_PICTURE_WIDTH = 192
_KEPT_GAPS = 24
_MAX_INSTRUCTIONS = 1000
_BYTES = 8192  # of an image looked at where not all are needed


def camera_stream(camera: str) -> str:
    """The name of a camera's stream."""
    return f"camera {camera}"


@dataclass
class Activity:
    """A stream: how many messages came when, and how they were stamped.

    Attributes:
        name: `camera_stream(...)`, `JOINT_STATES`, ...; several topics may share it.
        messages, refused: in each of the `BINS`.
        lag_s: log time - stamp of some of them.
        zero_stamps: how many were stamped 0.
        gaps: the longest silences, (length, start) in ns.
    """

    name: str
    topic: str
    messages: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    refused: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    lag_s: Samples[float] = field(default_factory=lambda: Samples(_LAG_SAMPLES, _LAG_SPACING_NS))
    zero_stamps: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    gaps: list[tuple[int, int]] = field(default_factory=list)

    def add(self, bin_index: int, log_ns: int, refused: bool) -> None:
        self.messages[bin_index] += 1
        self.refused[bin_index] += refused
        if self.first_ns is None:
            self.first_ns = log_ns
        elif self.last_ns is not None:
            push = heapq.heappush if len(self.gaps) < _KEPT_GAPS else heapq.heappushpop
            push(self.gaps, (log_ns - self.last_ns, self.last_ns))
        self.last_ns = log_ns

    def add_stamp(self, stamp_ns: int, log_ns: int) -> None:
        if stamp_ns == 0:
            self.zero_stamps += 1
        elif self.lag_s.wants(log_ns):
            self.lag_s.add(log_ns, (log_ns - stamp_ns) / 1e9)


@dataclass(frozen=True)
class Picture:
    """A small copy of an image, [height, width, 3] RGB, and the mean and spread of its grey values, 0 to 255."""

    pixels: NDArray[np.uint8]
    mean: float
    std: float


@dataclass
class CameraFacts:
    """A camera's images.

    Attributes:
        pictures: small copies of some.
        change: mean |difference| to the image before, of the bytes of raw images (0 to 255); tells when the view moves.
        frozen: the longest stretches, (length, start) in ns, in which no byte changed; at least a second.
        undecodable: how many of those to be copied were damaged.
        greyed: the format of colour images that were made grey on their way; empty if they were not.
    """

    pictures: Samples[Picture] = field(default_factory=lambda: Samples(_PICTURES, _PICTURE_SPACING_NS))
    change: Samples[float] = field(default_factory=lambda: Samples(_JOINT_SAMPLES, _JOINT_SPACING_NS))
    frozen: list[tuple[int, int]] = field(default_factory=list)
    undecodable: int = 0
    greyed: str = ""
    _last: NDArray[np.uint8] | None = None
    _same_since_ns: int = 0
    _same_until_ns: int = 0

    def add(self, message: Any, log_ns: int) -> None:
        if self._last is None and greyed(message):
            self.greyed = message.format
        data = np.frombuffer(message.data, np.uint8)
        change = 255.0 if self._last is None else _change(data, self._last)
        if change > 0.0:
            self.close()
            self._same_since_ns = log_ns
        if self._last is not None and hasattr(message, "encoding") and self.change.wants(log_ns):
            self.change.add(log_ns, change)
        self._last, self._same_until_ns = data, log_ns
        if self.pictures.wants(log_ns):
            try:
                self.pictures.add(log_ns, _picture(decode_image(message)))
            except ValueError:  # an ImageError: compressed data that turn out to be damaged
                self.undecodable += 1

    def close(self) -> None:
        """Ends the present stretch; those shorter than a second are forgotten."""
        stretch = (self._same_until_ns - self._same_since_ns, self._same_since_ns)
        if stretch[0] >= 1_000_000_000:
            push = heapq.heappush if len(self.frozen) < _KEPT_GAPS else heapq.heappushpop
            push(self.frozen, stretch)
        self._same_since_ns = self._same_until_ns


class Facts:
    """The collector.

    Args:
        streams: name of every stream by its topic, in the order of display: `camera_stream(...)`, `JOINT_STATES`, ...
        robot: cameras and joints.
        start_ns, end_ns: the time replayed.
    """

    def __init__(self, streams: Mapping[str, str], robot: RobotConfig, start_ns: int, end_ns: int):
        self.start_ns, self.end_ns = start_ns, end_ns
        self.streams = {topic: Activity(name, topic) for topic, name in streams.items()}
        self.cameras = {camera.name: CameraFacts() for camera in robot.cameras}
        self.positions: Samples[Array] = Samples(_JOINT_SAMPLES, _JOINT_SPACING_NS)
        self.commands: Samples[Array] = Samples(_JOINT_SAMPLES, _JOINT_SPACING_NS)
        self.commanded: dict[str, NDArray[np.bool_]] = {}  # by topic, the joints that it has commanded
        self.instructions: list[tuple[int, str]] = []
        self._joints = JointStates.as_they_come(robot.joint_names)
        self.contradictions = JointContradictions(len(robot.joints))

    def image(self, topic: str, camera: str, message: Any, log_ns: int, refusal: str = "") -> None:
        """A sensor_msgs/Image or CompressedImage; `refusal`: why the live node would not have taken it."""
        self.seen(topic, log_ns, refusal)
        self._stamp(topic, message, log_ns)
        if len(message.data):
            self.cameras[camera].add(message, log_ns)

    def joint_state(self, topic: str, message: Any, log_ns: int, refusal: str = "") -> Array | None:
        """A sensor_msgs/JointState; where all joints are with it, if it tells something new and all are known."""
        self.seen(topic, log_ns, refusal)
        self._stamp(topic, message, log_ns)
        with contextlib.suppress(RefusedMessage):
            if self._joints.put(message, log_ns) and self._joints.complete:
                positions = self._joints.positions
                self.contradictions.add(positions, log_ns)
                if self.positions.wants(log_ns):
                    self.positions.add(log_ns, positions)
                return positions
        return None

    def command(self, topic: str, positions: Array, stamp_ns: int, log_ns: int) -> None:
        """What the arm was told, NaN for a joint of which the message says nothing; `stamp_ns` 0: it has none."""
        self.seen(topic, log_ns)
        if stamp_ns:
            self.streams[topic].add_stamp(stamp_ns, log_ns)
        self.commanded[topic] = self.commanded.get(topic, False) | np.isfinite(positions)
        if self.commands.wants(log_ns):
            self.commands.add(log_ns, np.array(positions, np.float64))

    def instruction(self, text: str, log_ns: int) -> None:
        if len(self.instructions) < _MAX_INSTRUCTIONS and (not self.instructions or self.instructions[-1][1] != text):
            self.instructions.append((log_ns, text))

    def seen(self, topic: str, log_ns: int, refusal: str = "") -> None:
        """Any message of a topic."""
        share = (log_ns - self.start_ns) / max(1, self.end_ns - self.start_ns)
        self.streams[topic].add(min(max(int(share * BINS), 0), BINS - 1), log_ns, bool(refusal))

    def named(self, name: str) -> list[Activity]:
        """The streams of this name."""
        return [activity for activity in self.streams.values() if activity.name == name]

    def close(self) -> None:
        """After the last message."""
        for camera in self.cameras.values():
            camera.close()

    def _stamp(self, topic: str, message: Any, log_ns: int) -> None:
        stamp = message.header.stamp
        self.streams[topic].add_stamp(stamp.sec * 1_000_000_000 + stamp.nanosec, log_ns)


def _change(data: NDArray[np.uint8], before: NDArray[np.uint8]) -> float:
    """Mean |difference| of some bytes; only if those are equal, all are compared: a live camera seldom needs that."""
    if data.shape != before.shape:
        return 255.0
    stride = max(1, len(data) // _BYTES)
    stride += stride % 3 == 0  # meets all three colours
    some = data[::stride].astype(np.int16) - before[::stride]
    if some.any():
        return float(np.abs(some).mean())
    return 0.0 if np.array_equal(data, before) else 1.0 / _BYTES


def _picture(image: NDArray[np.uint8]) -> Picture:
    height, width = image.shape[:2]
    scale = min(1.0, _PICTURE_WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1.0 else image
    grey = small.mean(axis=2)
    return Picture(small.astype(np.uint8), float(grey.mean()), float(grey.std()))
