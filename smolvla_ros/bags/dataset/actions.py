"""The action of every frame: what the arm was told, which row of a chunk it executed, or where it was a frame later.

Sources take the messages of a bag in the order of log times and are asked at the end, for all frames at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.messages import Recorded
from smolvla_ros.bags.streams import COMMAND_TYPES, CommandStream, Streams, command_positions, since_start_ns
from smolvla_ros.bags.tracks import CommandTrack
from smolvla_ros.execution.status import ControllerState
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.joint_states import JointOrder, JointPositions

Array = NDArray[np.float64]
Times = NDArray[np.int64]

ACTIONS = ("command", "chunk", "state")


class ActionSource(Protocol):
    """Actions out of the messages of `topics`.

    `frames_ahead`: frames between an action and where it comes from. `missing` says what it means if there is none.
    """

    topics: tuple[str, ...]
    frames_ahead: int
    missing: str

    def add(self, recorded: Recorded) -> None:
        """Takes a message; a ValueError says why it cannot be used."""

    def at(self, times_ns: Times) -> Array:
        """Actions [times, joints] in rad or m; NaN where there is none."""


def action_source(kind: str, streams: Streams, robot: RobotConfig, *, fps: int, max_gap_ns: int) -> ActionSource:
    """The source of this kind, one of ACTIONS; what is older than `max_gap_ns` is not in force any more.

    Raises:
        BagError: the bag lacks its topics.
    """
    if kind == "state":
        return NextStates(streams.joint_states, robot, fps, max_gap_ns)
    if kind == "chunk":
        if not streams.chunks or not streams.status:
            raise BagError("there are no action chunks with the status of a controller, expected for --action chunk")
        return ExecutedRows(streams.chunks, streams.status, robot, max_gap_ns)
    if not streams.commands:
        raise BagError(
            "there is no command topic as the robot config's command_type and command_topic say, and so no action; "
            "correct the config, give --remap, or choose --action chunk (rows that were executed) or --action state "
            "(where the arm was one frame later)"
        )
    plan = COMMAND_TYPES["joint_trajectory"]
    kinds = ((Trajectories if command.type == plan else SetPoints, command) for command in streams.commands)
    groups = [kind(command, robot, max_gap_ns) for kind, command in kinds]
    if not streams.on_no_topic or not streams.chunks or not streams.status:
        return Commands(groups)
    rows = ExecutedRows(streams.chunks, streams.status, robot, max_gap_ns)
    return Commands(groups, rows, [robot.joint_names.index(joint) for joint in streams.on_no_topic])


class Commands:
    """The commands of all groups of joints, each on a topic of its own.

    Goals of an action are on no topic. For joints that take them, the row of the chunk that was executed counts: it is
    what the goal was made of.

    Args:
        groups: those with a topic.
        rows, by_action: the executed rows, and the places of the joints for which they count.
    """

    frames_ahead = 0
    missing = "no command in force"

    def __init__(
        self,
        groups: Sequence[SetPoints | Trajectories],
        rows: ExecutedRows | None = None,
        by_action: Sequence[int] = (),
    ):
        self._groups: dict[str, SetPoints | Trajectories | ExecutedRows] = {group.topics[0]: group for group in groups}
        self._rows, self._by_action = rows, list(by_action)
        if rows is not None:
            self._groups |= dict.fromkeys(rows.topics, rows)
        self.topics = tuple(self._groups)

    def add(self, recorded: Recorded) -> None:
        self._groups[recorded.topic].add(recorded)

    def at(self, times_ns: Times) -> Array:
        groups = iter([group.at(times_ns) for group in self._groups.values() if group is not self._rows])
        actions = next(groups)
        for group in groups:
            actions = np.where(np.isfinite(actions), actions, group)
        if self._rows is not None:
            actions[:, self._by_action] = self._rows.at(times_ns)[:, self._by_action]
        return actions


class SetPoints:
    """Commands that hold until the next one comes, joint by joint."""

    def __init__(self, command: CommandStream, robot: RobotConfig, max_gap_ns: int):
        self.topics = (command.topic,)
        self._command, self._robot = command, robot
        self._held = _Held(len(robot.joints), max_gap_ns)

    def add(self, recorded: Recorded) -> None:
        self._held.add(recorded.log_ns, command_positions(recorded, self._robot, [self._command])[1])

    def at(self, times_ns: Times) -> Array:
        return self._held.at(times_ns)


class Trajectories:
    """Trajectories, followed as joint_trajectory_controller does; at the end of one the arm holds."""

    def __init__(self, command: CommandStream, robot: RobotConfig, max_gap_ns: int):
        self.topics = (command.topic,)
        self._track = CommandTrack([command], robot)
        self._came_ns, self._end_ns = array("q"), array("q")
        self._max_gap_ns = max_gap_ns

    def add(self, recorded: Recorded) -> None:
        due_ns, _ = self._track.add(recorded)
        if len(recorded.message.points):
            first, last = recorded.message.points[0], recorded.message.points[-1]
            self._came_ns.append(recorded.log_ns)
            self._end_ns.append(due_ns + since_start_ns(last) - since_start_ns(first))

    def at(self, times_ns: Times) -> Array:
        positions = self._track.sample(times_ns)
        places = np.searchsorted(np.array(self._came_ns, np.int64), times_ns, side="right") - 1
        end_ns = np.array([*self._end_ns, 0], np.int64)[places]  # no trajectory yet: place -1, the 0
        positions[times_ns > end_ns + self._max_gap_ns] = np.nan
        return positions


class ExecutedRows:
    """The row of a chunk that the controller says it executed last."""

    frames_ahead = 0
    missing = "no row of a chunk was being executed"

    def __init__(self, chunks: str, status: str, robot: RobotConfig, max_gap_ns: int):
        self.topics: tuple[str, ...] = (chunks, status)
        self._chunks, self._joints = chunks, robot.joint_names
        self._order = JointOrder(robot.joint_names)
        self._rows: dict[tuple[int, int], Array] = {}
        self._executed: list[tuple[int, int, int] | None] = []
        self._times_ns = array("q")
        self._max_gap_ns = max_gap_ns

    def add(self, recorded: Recorded) -> None:
        message = recorded.message
        if recorded.topic == self._chunks:
            columns = self._order.take_all(message.joint_names, range(len(message.joint_names))).astype(np.int64)
            table = np.asarray(message.positions, np.float64).reshape(message.rows, len(message.joint_names))
            self._rows[message.session, message.sequence] = table[:, columns]
        else:
            following = message.state == ControllerState.FOLLOWING and message.session != 0
            self._executed.append((message.session, message.sequence, message.row) if following else None)
            self._times_ns.append(recorded.log_ns)

    def at(self, times_ns: Times) -> Array:
        actions = np.full((len(times_ns), len(self._joints)), np.nan)
        known_ns = np.array(self._times_ns, np.int64)
        for frame, place in enumerate(np.searchsorted(known_ns, times_ns, side="right") - 1):
            executed = self._executed[place] if place >= 0 else None
            if executed is None or times_ns[frame] - known_ns[place] > self._max_gap_ns:
                continue
            session, sequence, row = executed
            rows = self._rows.get((session, sequence))
            if rows is not None and row < len(rows):
                actions[frame] = rows[row]
        return actions


class NextStates:
    """The newest joint state one frame later."""

    frames_ahead = 1
    missing = "no joint state one frame later"

    def __init__(self, joint_states: tuple[str, ...], robot: RobotConfig, fps: int, max_gap_ns: int):
        self.topics = joint_states
        self._step_ns = round(1e9 / fps)
        self._joints = len(robot.joints)
        self._order = JointOrder(robot.joint_names)
        self._held = _Held(self._joints, max_gap_ns)

    def add(self, recorded: Recorded) -> None:
        state = JointPositions.of(recorded.message)
        joints, values = self._order.take(state.names, state.positions)
        positions = np.full(self._joints, np.nan)
        positions[list(joints)] = values
        self._held.add(recorded.log_ns, positions)

    def at(self, times_ns: Times) -> Array:
        return self._held.at(times_ns + self._step_ns)


class _Held:
    """Positions that hold from when they came, for `max_gap_ns` at most; NaN: says nothing of this joint."""

    def __init__(self, joints: int, max_gap_ns: int):
        self._joints, self._max_gap_ns = joints, max_gap_ns
        self._times_ns = array("q")
        self._values = array("d")

    def add(self, time_ns: int, positions: Array) -> None:
        self._times_ns.append(time_ns)
        self._values.extend(positions.tolist())

    def at(self, times_ns: Times) -> Array:
        known_ns = np.array(self._times_ns, np.int64)
        values = np.array(self._values, np.float64).reshape(-1, self._joints)
        return np.stack([self._joint_at(times_ns, known_ns, column) for column in values.T], axis=1)

    def _joint_at(self, times_ns: Times, known_ns: Times, values: Array) -> Array:
        said = np.isfinite(values)
        known_ns, values = known_ns[said], values[said]
        places = np.searchsorted(known_ns, times_ns, side="right") - 1
        in_force = places >= 0
        in_force[in_force] = times_ns[in_force] - known_ns[places[in_force]] <= self._max_gap_ns
        found = np.full(len(times_ns), np.nan)
        found[in_force] = values[places[in_force]]
        return found
