"""The newest camera images and joint positions, and whether they are good enough to act on.

`ObservationBuffer` is fed by callbacks and asked by the inference thread; one lock guards everything. Callbacks only
check headers and cache. A picture is decoded when an inference is about to use it, in the thread that asks, so frames
that nobody looks at cost nothing; one that turns out to be damaged then is refused like any other bad message, and
there is no observation before the next one. Messages may come from rclpy or from a bag: both have the same attributes.
`now_ns`, always passed in, is on the same clock as their stamps: the ROS clock.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.stamps import stamp_ns

from .images import check_image, decode_image
from .joint_contradictions import JointContradictions, contradiction_text
from .joint_states import JointPositions, JointStates
from .refusals import Refusals, RefusedMessage, StampRule

JOINT_STATES = "joint_states"


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

    @property
    def image_stamps(self) -> StampRule:
        return StampRule(self.max_image_age_ns, self.future_tolerance_ns, self.accept_zero_stamps)

    @property
    def joint_state_stamps(self) -> StampRule:
        return StampRule(self.max_joint_state_age_ns, self.future_tolerance_ns, self.accept_zero_stamps)


@dataclass(frozen=True)
class Observation:
    """What the policy acts on.

    stamp_ns: the decision instant: when the joint was measured whose measurement is the oldest. What the policy says
        begins there.
    image_stamp_ns: the stamp of the oldest image used, or `stamp_ns` if there is no camera. For ages and reports.
    received_ns: when the last of the images arrived.
    images: the camera messages by camera name, not yet decoded.
    positions: joint positions in rad or m, in the robot's order.
    """

    stamp_ns: int
    image_stamp_ns: int
    received_ns: int
    images: dict[str, Any]
    positions: NDArray[np.float64]


@dataclass(frozen=True)
class Pictures:
    """The images of an observation by camera name, RGB uint8 [height, width, 3], and how long decoding took [s]."""

    images: dict[str, NDArray[np.uint8]]
    decode_s: float


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
    refusals: Refusals = field(default_factory=Refusals)


class ObservationBuffer:
    """The newest image of every camera and the newest position of every joint; any thread may call any method.

    Args:
        cameras, joints: their names.
        freshness: what is trusted.
        read_joint_state: see `JointStates`.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        joints: Sequence[str],
        freshness: Freshness,
        read_joint_state: Callable[[Any], JointPositions] = JointPositions.of,
    ):
        self._freshness = freshness
        self._image_stamps = freshness.image_stamps
        self._lock = threading.Lock()
        self._cameras = {name: _Camera() for name in cameras}
        self._joints = JointStates(joints, freshness.joint_state_stamps, read_joint_state)
        self._joint_names = tuple(joints)
        self._contradictions = JointContradictions(len(joints))

    def put_image(self, camera: str, message: Any, now_ns: int) -> None:
        """Caches a sensor_msgs/Image or sensor_msgs/CompressedImage that arrived at `now_ns`.

        Raises:
            RefusedMessage: it cannot be used, and was counted; what was cached before stays.
        """
        state = self._cameras[camera]
        try:
            check_image(message)
            taken_ns = self._image_stamps.checked(stamp_ns(message.header.stamp), now_ns)
        except RefusedMessage as error:
            with self._lock:
                state.refusals.add(error)
            raise
        # Costs more than everything else here, so it is made only where somebody asks for it.
        checksum = zlib.crc32(message.data) if self._freshness.frozen_frames else 0
        with self._lock:
            state.refusals.accepted()
            state.equal_frames = state.equal_frames + 1 if state.newest and checksum == state.checksum else 0
            state.checksum = checksum
            known_ns = state.newest.stamp_ns if state.newest else taken_ns
            # One ahead of the clock is from before the clock was set back.
            if known_ns <= taken_ns or known_ns > now_ns + self._freshness.future_tolerance_ns:
                state.newest = _Image(message, taken_ns, now_ns)

    def put_joint_state(self, message: Any, now_ns: int) -> None:
        """Caches what a sensor_msgs/JointState that arrived at `now_ns` tells of the robot's joints.

        Raises:
            RefusedMessage: it cannot be used, and was counted; what was cached before stays.
        """
        with self._lock:
            if self._joints.put(message, now_ns) and self._joints.complete:
                self._contradictions.add(self._joints.positions, now_ns)

    def clear(self) -> None:
        """Forgets everything: after a jump of the clock, stamps from before mean nothing."""
        with self._lock:
            self._cameras = {name: _Camera(refusals=camera.refusals) for name, camera in self._cameras.items()}
            self._joints.clear()
            self._contradictions = JointContradictions(len(self._joint_names))

    def take(self, now_ns: int) -> tuple[Observation | None, str]:
        """The newest observation, or None and one sentence naming what is missing, stale or frozen."""
        with self._lock:
            problems = [p for name, camera in self._cameras.items() if (p := self._image_problem(name, camera, now_ns))]
            state_problem = self._joints.problem(now_ns)
            if state_problem:
                problems.append(state_problem)
            elif self._contradictions.lasting(now_ns):
                problems.append(contradiction_text(self._joint_names[self._contradictions.joint]))
            if problems:
                return None, "; ".join(problems)
            images = {name: camera.newest for name, camera in self._cameras.items() if camera.newest}
            measured_ns = self._joints.stamp_ns
            stamps = [image.stamp_ns for image in images.values()] or [measured_ns]
            received = [image.received_ns for image in images.values()] or [measured_ns]
            messages = {name: image.message for name, image in images.items()}
            return Observation(measured_ns, min(stamps), max(received), messages, self._joints.positions), ""

    def decode(self, observation: Observation) -> tuple[Pictures | None, str]:
        """The pictures of an observation just taken, or None and one sentence: one is damaged, and was refused."""
        start_s = time.perf_counter()
        images, problems = {}, []
        for name, message in observation.images.items():
            try:
                images[name] = decode_image(message)
            except RefusedMessage as error:
                problems.append(self._refuse(name, message, error))
        if problems:
            return None, "; ".join(problems)
        return Pictures(images, time.perf_counter() - start_s), ""

    @property
    def contradictions(self) -> JointContradictions:
        """What is known of joint states that contradict each other; not to be changed."""
        return self._contradictions

    def refused(self) -> dict[str, dict[str, int]]:
        """How many messages of each camera, and of `JOINT_STATES`, were refused so far, by reason."""
        with self._lock:
            refusals = {name: camera.refusals for name, camera in self._cameras.items()}
            refusals[JOINT_STATES] = self._joints.refusals
            return {stream: {str(reason): n for reason, n in r.counts.items()} for stream, r in refusals.items()}

    def _refuse(self, name: str, message: Any, error: RefusedMessage) -> str:
        """A picture that was taken for good is not."""
        with self._lock:
            camera = self._cameras[name]
            camera.refusals.add(error)
            if camera.newest is not None and camera.newest.message is message:
                camera.newest = None
            return _no_picture(name, str(error))

    def _image_problem(self, name: str, camera: _Camera, now_ns: int) -> str | None:
        refused = camera.refusals.text
        if camera.newest is None:
            return _no_picture(name, refused) if refused else f"no image from camera '{name}' yet"
        age_ns = now_ns - camera.newest.stamp_ns
        if not -self._freshness.future_tolerance_ns <= age_ns <= self._freshness.max_image_age_ns:
            limit_s = self._freshness.max_image_age_ns / 1e9
            text = f"the last image from camera '{name}' is older than {limit_s:g} s"
            return text + (f" (refused: {refused})" if refused else "")
        if 0 < self._freshness.frozen_frames <= camera.equal_frames:
            return f"camera '{name}' is frozen: the last {self._freshness.frozen_frames} images are the same"
        return None


def _no_picture(camera: str, reason: str) -> str:
    return f"no image from camera '{camera}' can be used: {reason}"
