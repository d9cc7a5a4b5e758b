"""The robot: cameras and joints. Shared by the policy node, the controller node and the tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .declaration import ParameterSet, parameter, records


@dataclass(frozen=True)
class CameraParameters(ParameterSet):
    """One camera."""

    feature: str = parameter("", "Image feature of the checkpoint that this camera feeds; a camera without "
        "one feeds 'observation.images.' and its name.")
    topic: str = parameter("", "Image topic; '<camera>/image_raw' if left empty "
        "('<camera>/image_raw/compressed' if compressed).", is_topic=True)
    transport: Literal["raw", "compressed"] = parameter("raw", "Type of the image messages.")


@dataclass(frozen=True)
class JointParameters(ParameterSet):
    """One joint."""

    feature: str = parameter("", "Name of this joint in the checkpoint, checked where the checkpoint has "
        "names; empty: not checked.")
    scale: float = parameter(1.0, "Checkpoint value = scale * ROS value + offset; the ROS value is in rad or "
        "m. Not zero.")
    offset: float = parameter(0.0, "See scale; in the checkpoint's unit.")


@dataclass(frozen=True)
class RobotParameters(ParameterSet):
    """Cameras and joints by name; `joints` gives their order."""

    cameras: tuple[str, ...] = parameter((), "Names of the cameras that the policy looks through, in any order.")
    camera: Mapping[str, CameraParameters] = records(CameraParameters, over="cameras")
    joints: tuple[str, ...] = parameter((), "Names of the robot's joints, in the order of the checkpoint's state and "
        "action.", required=True)
    joint: Mapping[str, JointParameters] = records(JointParameters, over="joints")
    joint_states_topics: tuple[str, ...] = parameter(("joint_states",), "Topics that tell the joints' positions; "
        "several where the arm's driver and the gripper's have one each. Joints that are not in 'joints' are ignored.",
        is_topic=True)
    accept_zero_stamps: bool = parameter(False, "Take a zero stamp of an image or of a joint state for the time of "
        "reception, instead of refusing the message.")
