"""Where the joints were, or were told to be, at any instant: the recorded positions between which is interpolated.

Stored compactly, as a long bag has millions of them. One thread owns a track.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.robot import RobotConfig

from .errors import BagError
from .messages import Recorded
from .streams import COMMAND_TYPES, CommandStream, command_positions, since_start_ns

Array = NDArray[np.float64]
Times = NDArray[np.int64]

_MAX_STATE_GAP_NS = 500_000_000
# A command stands until the next one comes, but an arm whose commands have stopped may be moved by anybody.
_MAX_COMMAND_GAP_NS = 1_000_000_000


class Track:
    """Positions [joints] over time, straight lines between them; NaN for joints that nothing is known of.

    Args:
        joints: how many.
        max_gap_ns: over longer silences nothing is known, or, if it `holds`, after this time.
        holds: what was said last stands, as commands do; without it positions are measured ones.
    """

    def __init__(self, joints: int, max_gap_ns: int, holds: bool):
        self._joints = joints
        self._max_gap_ns = max_gap_ns
        self._holds = holds
        self._times_ns = array("q")
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._times_ns)

    def add(self, time_ns: int, positions: Array) -> None:
        """One set of positions."""
        self._times_ns.append(time_ns)
        self._values.extend(positions.tolist())

    def plan(self, now_ns: int, points: Sequence[tuple[int, Array]]) -> None:
        """What is to happen from now on, (instant, positions) each, in place of whatever was planned before.

        Where the new plan is elsewhere at once, positions jump. If its first point lies ahead, the way there begins
        where the plan before was.
        """
        points = _from(now_ns, points)
        cut: tuple[int, Array] | None = None
        while self._times_ns and self._times_ns[-1] > now_ns:
            cut = self._pop()
        if cut and self._times_ns:
            before_ns, before = self._last()
            share = (now_ns - before_ns) / (cut[0] - before_ns)
            self.add(now_ns, before + share * (cut[1] - before))
        elif self._times_ns:
            self.add(now_ns, self._last()[1])  # the plan before had ended, and its last point held
        for time_ns, positions in points:
            self.add(time_ns, positions)

    def sample(self, times_ns: Times) -> Array:
        """Positions at these instants, [instants, joints]."""
        order = np.argsort(np.array(self._times_ns, np.int64), kind="stable")
        known_ns = np.array(self._times_ns, np.int64)[order]
        values = np.array(self._values, np.float64).reshape(-1, self._joints)[order]
        columns = [self._sample(known_ns, values[:, joint], times_ns) for joint in range(self._joints)]
        return np.stack(columns, axis=1) if columns else np.zeros((len(times_ns), 0))

    def _sample(self, known_ns: Times, values: Array, times_ns: Times) -> Array:
        known = np.isfinite(values)
        known_ns, values = known_ns[known], values[known]
        if not len(known_ns):
            return np.full(len(times_ns), np.nan)
        right = np.searchsorted(known_ns, times_ns, side="right")
        before, after = np.maximum(right - 1, 0), np.minimum(right, len(known_ns) - 1)
        gap_ns, since_ns = known_ns[after] - known_ns[before], times_ns - known_ns[before]
        share = np.where(gap_ns > 0, since_ns / np.maximum(gap_ns, 1), 0.0)
        between = values[before] + share * (values[after] - values[before])
        on_line = (right > 0) & ((since_ns == 0) | ((right < len(known_ns)) & (gap_ns <= self._max_gap_ns)))
        held = (right > 0) & (since_ns <= self._max_gap_ns) & self._holds
        return np.where(on_line, between, np.where(held, values[before], np.nan))

    def _last(self) -> tuple[int, Array]:
        return self._times_ns[-1], np.array(self._values[-self._joints :])

    def _pop(self) -> tuple[int, Array]:
        last = self._last()
        self._times_ns.pop()
        del self._values[-self._joints :]
        return last


def state_track(joints: int) -> Track:
    """For measured positions."""
    return Track(joints, _MAX_STATE_GAP_NS, holds=False)


class CommandTrack:
    """What the arm was told, out of the messages of its command topics.

    The point of a message that is due first is also told at once, to whom it concerns (see `add`). A trajectory is
    followed until the next one comes, as joint_trajectory_controller does; other commands are due when they are sent.
    """

    def __init__(self, commands: Sequence[CommandStream], robot: RobotConfig):
        self._commands = {command.topic: command for command in commands}
        self._robot = robot
        self._tracks = {
            command.topic: Track(len(robot.joints), 2**62 if _is_plan(command) else _MAX_COMMAND_GAP_NS, holds=True)
            for command in commands
        }

    def add(self, recorded: Recorded) -> tuple[int, Array]:
        """Takes a command and tells when its first point is due [ns] and its positions [joints], NaN: not commanded.

        Raises:
            BagError: the message cannot be read, or its lengths contradict each other.
        """
        command = self._commands[recorded.topic]
        due_ns, positions = command_positions(recorded, self._robot, [command])
        if _is_plan(command):
            self._plan(recorded, due_ns, positions)
        else:
            self._tracks[recorded.topic].add(due_ns, positions)
        return due_ns, positions

    def sample(self, times_ns: Times) -> Array:
        """What was commanded at these instants, [instants, joints]."""
        sampled = np.full((len(times_ns), len(self._robot.joints)), np.nan)
        for track in self._tracks.values():
            group = track.sample(times_ns)
            sampled = np.where(np.isfinite(sampled), sampled, group)
        return sampled

    def _plan(self, recorded: Recorded, due_ns: int, first: Array) -> None:
        message, command = recorded.message, self._commands[recorded.topic]
        if not message.points:
            return
        start_ns = due_ns - since_start_ns(message.points[0])
        points = [(due_ns, first)]
        places = [list(message.joint_names).index(name) if name in message.joint_names else -1
                  for name in self._robot.joint_names]  # fmt: skip
        for point in message.points[1:]:
            if len(point.positions) != len(message.joint_names):
                raise BagError(f"a point has {len(point.positions)} positions for {len(message.joint_names)} joints")
            positions = np.array([point.positions[place] if place >= 0 else np.nan for place in places])
            points.append((start_ns + since_start_ns(point), (positions - command.offset) / command.scale))
        self._tracks[recorded.topic].plan(recorded.log_ns, points)  # it takes effect when it comes, whatever its stamp


def _is_plan(command: CommandStream) -> bool:
    return command.type == COMMAND_TYPES["joint_trajectory"]


def _from(now_ns: int, points: Sequence[tuple[int, Array]]) -> list[tuple[int, Array]]:
    """The points later than `now_ns`, and before them where the straight lines between the points are then."""
    ahead = [point for point in points if point[0] > now_ns]
    passed = points[: len(points) - len(ahead)]
    if not passed:
        return ahead
    (before_ns, before), (after_ns, after) = passed[-1], (ahead or passed)[0 if ahead else -1]
    share = (now_ns - before_ns) / (after_ns - before_ns) if after_ns > before_ns else 0.0
    return [(now_ns, before + share * (after - before)), *ahead]
