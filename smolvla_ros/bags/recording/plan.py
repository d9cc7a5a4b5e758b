"""Which topics a recording consists of: what the robot config names and what this package says about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.robot import RobotConfig

from ..streams import (
    CHUNK_TYPE,
    DESCRIBED_NODES,
    EPISODE_TYPE,
    IMAGE_TYPES,
    JOINT_STATE_TYPE,
    STATUS_TYPE,
    STRING_TYPE,
    command_topics,
)


@dataclass(frozen=True)
class Wanted:
    """A topic to record; `name` may be relative.

    Attributes:
        type: '' if it is not known before somebody publishes it.
        expected: people are told while nothing comes.
        steady: messages come at a fixed rate, so a gap means something.
        latched: the last message is for those who come later, too.
    """

    name: str
    type: str = ""
    expected: bool = False
    steady: bool = False
    latched: bool = False


def wanted_topics(
    robot: RobotConfig, parameters: ControllerParameters, extra: Iterable[str] = ()
) -> tuple[Wanted, ...]:
    """The topics of a robot.

    Args:
        robot: its cameras.
        parameters: of the controller, for the command.
        extra: names of further topics, of any type.
    """
    wanted = [
        *(Wanted(c.topic, IMAGE_TYPES[c.transport], expected=True, steady=True) for c in robot.cameras),
        *(Wanted(name, JOINT_STATE_TYPE, expected=True, steady=True) for name in parameters.joint_states_topics),
        *(Wanted(name, kind, expected=True) for name, kind in command_topics(parameters).items()),
        Wanted("instruction", STRING_TYPE, latched=True),
        Wanted("action_chunk", CHUNK_TYPE),
        Wanted("execution_status", STATUS_TYPE),
        *(Wanted(f"{node}/description", STRING_TYPE, latched=True) for node in DESCRIBED_NODES),
        Wanted("episode", EPISODE_TYPE, latched=True),
        Wanted("robot_description", STRING_TYPE, latched=True),
        Wanted("task_success", "std_msgs/msg/Bool", latched=True),
        Wanted("task_verdict", "smolvla_ros/msg/TaskVerdict", latched=True),
        Wanted("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"),
    ]
    names = {topic.name for topic in wanted}
    return (*wanted, *(Wanted(name) for name in dict.fromkeys(extra) if name not in names))
