"""The robot as the nodes see it, built once from checked parameters and never changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smolvla_ros.parameters import is_topic_name
from smolvla_ros.parameters.robot import CameraParameters, JointParameters, RobotParameters
from smolvla_ros.wording import listed


class RobotConfigError(ValueError):
    """The description of the robot contradicts itself; the text says what and what to change."""


@dataclass(frozen=True)
class Camera:
    """A camera: its name, the checkpoint's feature it feeds, its topic and 'raw' or 'compressed'."""

    name: str
    feature: str
    topic: str
    transport: str


@dataclass(frozen=True)
class Joint:
    """A joint: ROS name, name in the checkpoint ('' = unchecked), checkpoint value = scale * ROS value + offset."""

    name: str
    feature: str
    scale: float
    offset: float


@dataclass(frozen=True)
class RobotConfig:
    """Cameras and joints of one robot; joints in the checkpoint's order."""

    cameras: tuple[Camera, ...]
    joints: tuple[Joint, ...]

    @classmethod
    def from_parameters(cls, parameters: RobotParameters) -> RobotConfig:
        """Builds the description that a node's parameters give.

        Raises:
            RobotConfigError: a name stands twice, a feature is fed twice, or a scale is zero.
        """
        _check_names("cameras", parameters.cameras)
        _check_names("joints", parameters.joints)
        _check_names("joint_states_topics", parameters.joint_states_topics)
        if not parameters.joint_states_topics:
            raise RobotConfigError("parameter 'joint_states_topics' is empty, expected at least one topic")
        cameras = tuple(_camera(name, parameters.camera[name]) for name in parameters.cameras)
        joints = tuple(_joint(name, parameters.joint[name]) for name in parameters.joints)
        _check_names("camera.<camera>.feature", [camera.feature for camera in cameras])
        _check_names("camera.<camera>.topic", [camera.topic for camera in cameras])
        _check_names("joint.<joint>.feature", [joint.feature for joint in joints if joint.feature])
        for joint in joints:
            if joint.scale == 0.0:
                raise RobotConfigError(f"parameter 'joint.{joint.name}.scale' is 0, expected any other number")
        return cls(cameras, joints)

    @property
    def joint_names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)

    def to_policy_units(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Joint positions [..., joints] in rad or m -> the checkpoint's units."""
        return np.asarray(positions, dtype=np.float64) * self._scale() + self._offset()

    def to_ros_units(self, values: ArrayLike) -> NDArray[np.float64]:
        """Checkpoint values [..., joints] -> joint positions in rad or m."""
        return (np.asarray(values, dtype=np.float64) - self._offset()) / self._scale()

    def _scale(self) -> NDArray[np.float64]:
        return np.array([joint.scale for joint in self.joints])

    def _offset(self) -> NDArray[np.float64]:
        return np.array([joint.offset for joint in self.joints])


def _camera(name: str, parameters: CameraParameters) -> Camera:
    default_topic = f"{name}/image_raw" + ("/compressed" if parameters.transport == "compressed" else "")
    if not parameters.topic and not is_topic_name(default_topic):
        raise RobotConfigError(f"camera '{name}' cannot name its topic '{default_topic}': set 'camera.{name}.topic'")
    return Camera(
        name=name,
        feature=parameters.feature or f"observation.images.{name}",
        topic=parameters.topic or default_topic,
        transport=parameters.transport,
    )


def _joint(name: str, parameters: JointParameters) -> Joint:
    return Joint(name, parameters.feature, parameters.scale, parameters.offset)


def _check_names(what: str, names: Sequence[str]) -> None:
    if not all(name.strip() for name in names):
        raise RobotConfigError(f"{what}: a name is empty")
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise RobotConfigError(f"{what}: {listed(map(repr, twice))} stands more than once")
