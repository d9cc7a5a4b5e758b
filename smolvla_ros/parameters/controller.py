"""The controller node: how chunks become commands, limits, watchdogs, the control thread, what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from smolvla_ros.execution.interpolation import INTERPOLATIONS
from smolvla_ros.execution.limits import PATH_TOLERANCE
from smolvla_ros.execution.merge import MERGE_RULES
from smolvla_ros.execution.settings import ALIGNMENTS

from .declaration import ParameterSet, parameter, records
from .node import NodeParameterSet
from .robot import JointParameters, RobotParameters

COMMAND_TOPICS = {
    "joint_trajectory": "joint_trajectory_controller/joint_trajectory",
    "position_array": "forward_position_controller/commands",
    "joint_state": "joint_command",
}
ACTIONS = {
    "gripper_command": "gripper_controller/gripper_cmd",
    "parallel_gripper_command": "gripper_controller/gripper_cmd",
    "follow_joint_trajectory": "joint_trajectory_controller/follow_joint_trajectory",
}
CommandType = Literal[
    "joint_trajectory", "position_array", "joint_state", "gripper_command", "parallel_gripper_command",
    "follow_joint_trajectory",
]  # fmt: skip
_TYPE_TEXT = (
    "What the arm's controller takes: 'joint_trajectory' for joint_trajectory_controller, 'position_array' "
    "(Float64MultiArray, order only) for forward and group position controllers, 'joint_state' (names and positions) "
    "for drivers and simulators, 'gripper_command' and 'parallel_gripper_command' for the gripper controllers that "
    "take actions only (package control_msgs). 'follow_joint_trajectory' is refused: an action has one goal at a time."
)


@dataclass(frozen=True)
class CommandGroup:
    """Joints that one controller of the robot takes commands for, on a topic or (gripper actions) an action.

    `joints` in its order; command = scale * position + offset; `max_effort` of a gripper action [N or Nm].
    """

    type: CommandType
    topic: str
    joints: tuple[str, ...]
    scale: float = 1.0
    offset: float = 0.0
    max_effort: float = 0.0

    @property
    def is_action(self) -> bool:
        return self.type in ACTIONS


@dataclass(frozen=True)
class CommandGroupParameters(ParameterSet):
    """One of several command groups."""

    type: CommandType = parameter("joint_trajectory", _TYPE_TEXT)
    topic: str = parameter("", "Topic, or name of the action; empty: the usual one of the type, see command_topic.",
        is_topic=True)
    joints: tuple[str, ...] = parameter((), "Joints of the group in the order that its controller expects; empty, in "
        "one group at most: all that no other group names.")
    scale: float = parameter(1.0, "Command = scale * position + offset; the position is in rad or m. Not zero.")
    offset: float = parameter(0.0, "See scale.")
    max_effort: float = parameter(0.0, "Of a gripper action.", "N or Nm", 0.0, 1e4)


@dataclass(frozen=True)
class JointLimitParameters(JointParameters):
    """One joint, with its limits."""

    min_position: float = parameter(0.0, "Lower limit; equal to max_position: from the URDF.", "rad or m")
    max_position: float = parameter(0.0, "Upper limit.", "rad or m")
    position_margin: float = parameter(0.0, "Distance kept from both position limits.", "rad or m", 0.0, 10.0)
    max_velocity: float = parameter(0.0, "Largest speed; 0: from the URDF.", "rad/s or m/s", 0.0, 1000.0)
    max_acceleration: float = parameter(20.0, "Largest acceleration, also that of a halt.",
        "rad/s^2 or m/s^2", 1e-3, 1e5)
    max_step: float = parameter(0.5, "A chunk is refused if it moves further between two rows.",
        "rad or m", 1e-6, 1000.0)
    max_jump: float = parameter(0.5, "A chunk is refused if it would begin further from the last command (at "
        "the first motion: from the measured position).", "rad or m", 1e-6, 1000.0)
    tracking_tolerance: float = parameter(0.5, "The arm is taken not to follow if it stays further than this "
        "from its command. Large for a gripper that closes on things.", "rad or m", 1e-6, 1000.0)
    path_tolerance: float = parameter(PATH_TOLERANCE, "How far the path may leave the rows of a chunk to round off "
        "what asks for more than max_acceleration, as noise does, before it is slowed down instead; 0: rows are "
        "followed exactly, as slowly as it takes.", "rad or m", 0.0, 10.0)


@dataclass(frozen=True)
class ControllerParameters(RobotParameters, NodeParameterSet):
    """Settings of the controller node."""

    joint: Mapping[str, JointLimitParameters] = records(JointLimitParameters, over="joints")
    # From chunks to motion.
    merge_rule: str = parameter("latest_only", "What becomes of instants that both the running chunk and a new one "
        "cover: 'latest_only' takes the new one; 'weighted_average', 'average' and 'conservative' give it a weight of "
        "0.7, 0.5 and 0.3; 'temporal_ensemble' averages all chunks as ACT does.", choices=MERGE_RULES, live=True)
    ensemble_decay: float = parameter(0.01, "Rule 'temporal_ensemble': the weight falls by exp(-decay) from each "
        "chunk to the next newer one.", minimum=0.0, maximum=10.0, live=True)
    ease_in_rows: int = parameter(5, "Policy steps over which the motion goes over from the last command to a new "
        "chunk at least; the limits may take longer. 0: at once, slowed down by the limits only.",
        minimum=0, maximum=100, live=True)
    ease_in_exclude_joints: tuple[str, ...] = parameter((), "Joints that follow the rows of a new chunk at once, "
        "slowed down by the limits only: grippers that must snap. They do not slow the other joints down either.")
    interpolation: str = parameter("cubic", "Between the rows of a chunk: straight lines, or the C2 cubic spline.",
        choices=INTERPOLATIONS, live=True)
    alignment: str = parameter("executed", "Where a chunk starts after a pause: 'executed' does not count the time in "
        "which the arm was held since the observation, 'stamp' does, so rows may pass that nobody executed.",
        choices=ALIGNMENTS, live=True)
    max_action_age_s: float = parameter(5.0, "No action is executed whose observation is older. Longer than the "
        "latency plus what a chunk covers.", "s", 0.05, 300.0, live=True)
    future_tolerance_s: float = parameter(0.1, "How far ahead of this machine's clock the stamp of a chunk or of a "
        "joint state may lie.", "s", 0.0, 10.0, live=True)
    # The command.
    command_groups: tuple[str, ...] = parameter((), "Names of groups of joints, where several controllers of the robot "
        "take commands: two arms, or an arm and its gripper. Joints in no group are not commanded. Empty: one group, "
        "which command_type, command_topic and command_joints describe.")
    command: Mapping[str, CommandGroupParameters] = records(CommandGroupParameters, over="command_groups")
    command_type: CommandType = parameter("joint_trajectory", _TYPE_TEXT)
    command_topic: str = parameter("", "Topic of the command; empty: "
              + ", ".join(f"'{topic}' for {kind}" for kind, topic in (COMMAND_TOPICS | ACTIONS).items()) + ".",
        is_topic=True)
    command_joints: tuple[str, ...] = parameter((), "Joints of the command in the order that the arm's controller "
        "expects; empty: all joints, in the order of 'joints'.")
    trajectory_points: int = parameter(5, "Type 'joint_trajectory': points of a message before the one that brakes to "
        "a standstill. If this node dies, the arm follows them and stops.", minimum=1, maximum=50)
    trajectory_spacing_s: float = parameter(0.04, "Type 'joint_trajectory': time between two points.", "s", 0.005, 1.0)
    trajectory_slack_s: float = parameter(0.02, "Type 'joint_trajectory': how late a message may reach the arm's "
        "controller and be taken up by it, or how far that one's clock may differ, without any effect on the motion: "
        "two of its periods and the jitter of the network. The arm is behind its commands by so much and one control "
        "period.", "s", 0.0, 0.5)
    dry_run: bool = parameter(False, "Compute and report everything, send no command.")
    # Limits.
    limits_from: Literal["parameters", "robot_description"] = parameter("parameters",
        "'robot_description': position and velocity limits come from the URDF on that topic, where the parameters of "
        "a joint do not set tighter ones.")
    robot_description_timeout_s: float = parameter(5.0, "How long to wait for the URDF at configure.", "s", 0.1, 60.0)
    tracking_timeout_s: float = parameter(1.0, "How long tracking_tolerance may be exceeded.",
        "s", 0.0, 60.0, live=True)
    clamping_excess: float = parameter(0.1, "A policy that wants a position further than this outside the limits ...",
        "rad or m", 0.0, 1000.0, live=True)
    clamping_timeout_s: float = parameter(1.0, "... for longer than this is stopped.", "s", 0.0, 60.0, live=True)
    # A person.
    park_joints: tuple[str, ...] = parameter((), "Joints of the park pose, where `~/park` goes; the others stay where "
        "they are. Empty: no park pose.")
    park_positions: tuple[float, ...] = parameter((), "One for each of park_joints, inside its limits.", "rad or m")
    park_on_shutdown: bool = parameter(False, "Park before `smolvla-ros arm` or `teleop` ends by Ctrl-C or SIGTERM; a "
        "second signal ends it at once. Not with `ros2 launch`, which ends all processes together.")
    gentle_share: float = parameter(0.3, "The part of the limits of speed and acceleration for going to the park pose "
        "and to the first command of a person who takes over.", minimum=0.01, maximum=1.0)
    # Watchdogs.
    state_timeout_s: float = parameter(0.25, "The arm is held when the last joint state is older.",
        "s", 0.01, 10.0, live=True)
    clock_jump_s: float = parameter(1.0, "The ROS clock counts as set forward if it gains more than this on the "
        "steady clock; set back always counts.", "s", 0.1, 60.0, live=True)
    # The control thread.
    control_rate_hz: float = parameter(100.0, "Commands per second.", "Hz", 1.0, 1000.0)
    fifo_priority: int = parameter(0, "Real-time priority (SCHED_FIFO) of the control thread; 0: ordinary scheduling. "
        "Needs root, CAP_SYS_NICE or an rtprio limit; without, a warning tells and the thread runs on.",
        minimum=0, maximum=99)
    cpu_affinity: tuple[int, ...] = parameter((-1,), "Cores that the control thread may run on; -1: any.",
        minimum=-1, maximum=4095)
    # What it tells.
    status_rate_hz: float = parameter(30.0, "Messages per second on execution_status; one per action is enough.",
        "Hz", 1.0, 200.0)

    @property
    def groups(self) -> tuple[CommandGroup, ...]:
        """What is commanded, and where: one group for each controller of the robot. Not checked."""
        if not self.command_groups:
            return (_group(self.command_type, self.command_topic, self.command_joints or self.joints),)
        named = {joint for group in self.command.values() for joint in group.joints}
        others = tuple(joint for joint in self.joints if joint not in named)
        groups = (self.command[name] for name in self.command_groups)
        return tuple(
            _group(one.type, one.topic, one.joints or others, one.scale, one.offset, one.max_effort) for one in groups
        )


def _group(kind: CommandType, topic: str, joints: tuple[str, ...], *values: float) -> CommandGroup:
    return CommandGroup(kind, topic or (COMMAND_TOPICS | ACTIONS)[kind], joints, *values)
