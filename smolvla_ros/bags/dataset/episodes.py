"""Where the episodes of a bag begin and end, and everything in their frames but the images.

An episode is a stretch of frames under one instruction that lack nothing. Where something is missing or too old, the
stretch ends, and a new episode begins after it: frames are never filled in.
"""

from __future__ import annotations

import itertools
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.robot.observation import Observation

from .actions import ActionSource, Times
from .instants import FrameInstant, Instants

JOINT_STATES = "joint states"
CONTRADICTED = (
    "joint states contradict each other: two nodes publish the same joints, and which of them is right cannot be told; "
    "let one of them publish (`ros2 topic info -v {topic}` names them) and record again"
)


@dataclass(frozen=True)
class RecordedEpisode:
    """Frames that follow one another.

    task: the instruction.
    times_ns: of the frames, in log time.
    states, actions: [frames, joints] in rad or m.
    repeats: how many frames have the image, or the joint state, of the frame before; by camera and 'joint states'.
    """

    task: str
    times_ns: Times
    states: NDArray[np.float64]
    actions: NDArray[np.float64]
    repeats: dict[str, int]


@dataclass(frozen=True)
class LeftOut:
    """A stretch of time under an instruction that is in no episode, in log time, and why.

    kind: 'waiting' comes before the first episode of the instruction, while the robot is getting ready; 'unwanted' was
    not asked for; 'lost' is all else.
    """

    task: str
    start_ns: int
    end_ns: int
    reason: str
    kind: Literal["waiting", "unwanted", "lost"]

    @property
    def expected(self) -> bool:
        return self.kind != "lost"


@dataclass(frozen=True)
class Unwanted:
    """Spans of log time (begin, end) in ns that shall be in no episode, and why."""

    spans: Sequence[tuple[int, int]]
    reason: str


def find_episodes(
    instants: Instants,
    source: ActionSource,
    *,
    min_frames: int,
    unwanted: Unwanted | None = None,
    progress: Callable[[int], None] = lambda time_ns: None,
) -> tuple[list[RecordedEpisode], list[LeftOut]]:
    """Goes through a bag once.

    Args:
        min_frames: shorter stretches are left out.
        unwanted: what nobody asked for.
        progress: is told the log time that was reached.
    """
    stretches: dict[int, _Stretch] = {}
    for instant in instants.walk(source.topics, source.add):
        if instant.start_ns not in stretches:
            stretches[instant.start_ns] = _Stretch(instant.task)
        stretches[instant.start_ns].add(instant)
        progress(instant.time_ns)
    episodes: list[RecordedEpisode] = []
    left_out: list[LeftOut] = []
    for stretch in stretches.values():
        stretch.leave_out(instants.contradicted, CONTRADICTED.format(topic=" and ".join(instants.joint_states)))
        if unwanted:
            stretch.leave_out(unwanted.spans, unwanted.reason)
        found, not_used = stretch.cut(source, instants.robot.joint_names, min_frames, unwanted)
        episodes += found
        left_out += not_used
    return episodes, left_out


class _Stretch:
    """The instants under one instruction."""

    def __init__(self, task: str):
        self._task = task
        self._times_ns = array("q")
        self._states: list[NDArray[np.float64] | None] = []
        self._problems: list[str] = []
        self._repeats: list[frozenset[str]] = []
        self._last: Observation | None = None

    def add(self, instant: FrameInstant) -> None:
        observation = instant.observation
        self._times_ns.append(instant.time_ns)
        self._states.append(observation.positions if observation else None)
        self._problems.append(sys.intern(instant.problem))  # the same for minutes, perhaps
        self._repeats.append(_repeated(self._last, observation))
        self._last = observation

    def leave_out(self, spans: Sequence[tuple[int, int]], problem: str) -> None:
        """Instants within these (begin, end) in ns are in no episode; what is known of them only now."""
        for place, time_ns in enumerate(self._times_ns):
            if any(begin_ns <= time_ns <= end_ns for begin_ns, end_ns in spans):
                self._problems[place] = problem

    def cut(
        self, source: ActionSource, joints: Sequence[str], min_frames: int, unwanted: Unwanted | None = None
    ) -> tuple[list[RecordedEpisode], list[LeftOut]]:
        """The episodes in it, and what lies between them."""
        count = max(0, len(self._times_ns) - source.frames_ahead)
        times_ns = np.array(self._times_ns, np.int64)[:count]
        actions = source.at(times_ns)
        problems = [problem or _action_problem(source, joints, action)
                    for problem, action in zip(self._problems, actions, strict=False)]  # fmt: skip
        runs = [(usable, list(places)) for usable, places in itertools.groupby(range(count), lambda k: not problems[k])]
        used = [usable and len(frames) >= min_frames for usable, frames in runs]
        episodes = [
            self._episode(times_ns, actions, slice(frames[0], frames[-1] + 1))
            for (_, frames), is_episode in zip(runs, used, strict=True)
            if is_episode
        ]
        left_out = [
            LeftOut(
                self._task,
                int(times_ns[frames[0]]),
                int(times_ns[frames[-1]]),
                problems[frames[0]] or f"only {len(frames)} frames in which nothing is missing",
                "unwanted" if unwanted and problems[frames[0]] == unwanted.reason
                else "waiting" if not any(used[: number + 1]) and any(used)
                else "lost",
            )
            for number, (_, frames) in enumerate(runs)
            if not used[number]
        ]  # fmt: skip
        return episodes, left_out

    def _episode(self, times_ns: Times, actions: NDArray[np.float64], frames: slice) -> RecordedEpisode:
        states = np.array(self._states[frames], np.float64)
        repeats = Counter(name for names in self._repeats[frames][1:] for name in names)
        return RecordedEpisode(self._task, times_ns[frames], states, actions[frames], dict(repeats))


def _repeated(before: Observation | None, now: Observation | None) -> frozenset[str]:
    """Which messages of an observation were in the one before already."""
    if before is None or now is None:
        return frozenset()
    cameras = {name for name, message in now.images.items() if message is before.images[name]}
    return frozenset(cameras | ({JOINT_STATES} if now.positions is before.positions else set()))


def _action_problem(source: ActionSource, joints: Sequence[str], action: NDArray[np.float64]) -> str:
    """Why there is no action; '' if there is one."""
    lacking = [joint for joint, value in zip(joints, action, strict=True) if not np.isfinite(value)]
    if not lacking:
        return ""
    return source.missing if len(lacking) == len(joints) else f"{source.missing} for {', '.join(lacking)}"
