"""What was found on a running robot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from smolvla_ros.parameters.controller import CommandType


@dataclass(frozen=True)
class ImageTopic:
    """A topic with pictures: 'raw' or 'compressed', how many come per second, and how large they are."""

    topic: str
    transport: str
    rate_hz: float = 0.0
    size: str = ""


@dataclass(frozen=True)
class CommandTopic:
    """A topic or action on which commands are taken: by whom, and for which joints; () if that is not told."""

    type: CommandType
    topic: str
    joints: tuple[str, ...] = ()
    listener: str = ""


@dataclass(frozen=True)
class FoundRobot:
    """Everything that runs: joints by the topic that tells of them, pictures, commands, and the description.

    `rates_hz` are those of the joint states.
    """

    joint_states: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rates_hz: Mapping[str, float] = field(default_factory=dict)
    images: tuple[ImageTopic, ...] = ()
    commands: tuple[CommandTopic, ...] = ()
    urdf: str = ""

    @property
    def joints(self) -> tuple[str, ...]:
        """Names of all joints, in the order of the messages, each once."""
        return tuple(dict.fromkeys(name for names in self.joint_states.values() for name in names))
