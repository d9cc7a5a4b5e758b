"""The newest camera images and joint state, and whether they are good enough to act on.

`ObservationBuffer` is fed by callbacks and asked by the inference thread; one lock guards everything, and messages are
only cached here, never converted. They may come from rclpy or from a bag: both give objects of the same attributes.
`now_ns`, always passed in, is on the same clock as their stamps: the ROS clock.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import JointOrder
from .images import check_image


@dataclass(frozen=True)
class Freshness:
    """How old data may be [ns], and how far ahead of the clock a stamp may lie.

    `frozen_frames`: this many images in a row with the same bytes count as a frozen camera; 0 switches that off.
    `accept_zero_stamps`: a zero stamp is taken to be the time of reception instead of being refused.
    """

    max_image_age_ns: int
    max_joint_state_age_ns: int
    future_tolerance_ns: int
    frozen_frames: int
    accept_zero_stamps: bool


@dataclass(frozen=True)
class Observation:
    """What the policy acts on.

    stamp_ns: the decision instant, that of the joint state: what the policy says begins there.
    image_stamp_ns: the stamp of the oldest image used, or of the joint state without a camera; for ages and reports.
    received_ns: when the last of the images arrived.
    images: the camera messages by camera name, not yet decoded.
    positions: joint positions in rad or m, in the robot's order.
    """

    stamp_ns: int
    image_stamp_ns: int
    received_ns: int
    images: dict[str, Any]
    positions: NDArray[np.float64]


class ObservationError(ValueError):
    """A message that is not cached; the text says why."""


@dataclass
class _Image:
    message: Any
    stamp_ns: int
    received_ns: int


@dataclass
class _Camera:
    newest: _Image | None = None
    checksum: int = 0
    equal_frames: int = 0
    refused: int = 0


class ObservationBuffer:
    """The newest image of every camera and the newest joint state; any thread may call any method."""

    def __init__(self, cameras: Sequence[str], joints: Sequence[str], freshness: Freshness):
        self._joints = JointOrder(joints)
        self._freshness = freshness
        self._lock = threading.Lock()
        self._cameras = {name: _Camera() for name in cameras}
        self._positions: NDArray[np.float64] | None = None
        self._positions_stamp_ns = 0

    def put_image(self, camera: str, message: Any, now_ns: int) -> None:
        """Caches a sensor_msgs/Image or sensor_msgs/CompressedImage that arrived at `now_ns`.

        Raises:
            ImageError, ObservationError: it cannot be used; what was cached before stays.
        """
        state = self._cameras[camera]
        try:
            check_image(message)
            stamp_ns = self._checked_stamp(message, now_ns)
        except ValueError:
            with self._lock:
                state.refused += 1
            raise
        # Costs more than everything else here, so it is made only where somebody asks for it.
        checksum = zlib.crc32(message.data) if self._freshness.frozen_frames else 0
        with self._lock:
            state.equal_frames = state.equal_frames + 1 if state.newest and checksum == state.checksum else 0
            state.checksum = checksum
            if state.newest is None or stamp_ns >= state.newest.stamp_ns:
                state.newest = _Image(message, stamp_ns, now_ns)

    def put_joint_state(self, message: Any, now_ns: int) -> None:
        """Caches the robot's joints, by name, out of a sensor_msgs/JointState that arrived at `now_ns`.

        Raises:
            RobotConfigError, ObservationError: it cannot be used; what was cached before stays.
        """
        stamp_ns = self._checked_stamp(message, now_ns)
        with self._lock:
            values = self._joints.take(message.name, message.position)
            if self._positions is None or stamp_ns >= self._positions_stamp_ns:
                self._positions, self._positions_stamp_ns = values, stamp_ns

    def clear(self) -> None:
        """Forgets everything: after a jump of the clock, stamps from before mean nothing."""
        with self._lock:
            self._cameras = {name: _Camera(refused=camera.refused) for name, camera in self._cameras.items()}
            self._positions = None

    def take(self, now_ns: int) -> tuple[Observation | None, str]:
        """The newest observation, or None and one sentence naming what is missing, stale or frozen."""
        with self._lock:
            problems = [p for name, camera in self._cameras.items() if (p := self._image_problem(name, camera, now_ns))]
            state_problem = self._joint_state_problem(now_ns)
            if state_problem:
                problems.append(state_problem)
            if problems or self._positions is None:
                return None, "; ".join(problems)
            images = {name: camera.newest for name, camera in self._cameras.items() if camera.newest}
            stamps = [image.stamp_ns for image in images.values()] or [self._positions_stamp_ns]
            received = [image.received_ns for image in images.values()] or [self._positions_stamp_ns]
            messages = {name: image.message for name, image in images.items()}
            return Observation(self._positions_stamp_ns, min(stamps), max(received), messages, self._positions), ""

    def refused_images(self) -> dict[str, int]:
        """How many messages of each camera were refused so far."""
        with self._lock:
            return {name: camera.refused for name, camera in self._cameras.items()}

    def _checked_stamp(self, message: Any, now_ns: int) -> int:
        stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        if stamp_ns == 0:
            if not self._freshness.accept_zero_stamps:
                raise ObservationError("stamp is zero, expected the time of measurement")
            return now_ns
        if stamp_ns - now_ns > self._freshness.future_tolerance_ns:
            ahead_s = (stamp_ns - now_ns) / 1e9
            raise ObservationError(f"stamp is {ahead_s:.3f} s in the future: the clocks of two machines differ")
        return stamp_ns

    def _image_problem(self, name: str, camera: _Camera, now_ns: int) -> str | None:
        if camera.newest is None:
            return f"no image from camera '{name}' yet" + (f" ({camera.refused} refused)" if camera.refused else "")
        age_ns = now_ns - camera.newest.stamp_ns
        if age_ns > self._freshness.max_image_age_ns:
            limit_s = self._freshness.max_image_age_ns / 1e9
            return f"the last image from camera '{name}' is older than {limit_s:g} s"
        if 0 < self._freshness.frozen_frames <= camera.equal_frames:
            return f"camera '{name}' is frozen: the last {self._freshness.frozen_frames} images are the same"
        return None

    def _joint_state_problem(self, now_ns: int) -> str | None:
        if self._positions is None:
            return "no usable joint state yet"
        if now_ns - self._positions_stamp_ns > self._freshness.max_joint_state_age_ns:
            return f"the last joint state is older than {self._freshness.max_joint_state_age_ns / 1e9:g} s"
        return None
