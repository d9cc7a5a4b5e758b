"""A bag on a uniform clock: what the live policy would have had before it at every k/fps of an episode.

Log times stand for times of reception, and messages go through the live node's own buffer, so an instant has the newest
image and joint state that had arrived by then, unless they are too old, frozen or wrongly stamped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.instructions import InstructionInForce
from smolvla_ros.bags.messages import Recorded
from smolvla_ros.bags.moved import MovedBag
from smolvla_ros.bags.reader import Bag
from smolvla_ros.bags.streams import Streams
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.images import decode_image
from smolvla_ros.robot.observation import Freshness, Observation, ObservationBuffer


@dataclass(frozen=True)
class FrameInstant:
    """A point of the clock that starts when an instruction is given.

    time_ns: log time: `start_ns` + k/fps, k = 0, 1, 2, ...
    start_ns: when the instruction was given; tells one stretch of time from the next.
    task: the instruction in force.
    observation: what there was; None: see `problem`.
    """

    time_ns: int
    start_ns: int
    task: str
    observation: Observation | None
    problem: str


@dataclass
class Refused:
    """Messages of a topic that could not be used: why the first one could not, and how many."""

    first: str
    messages: int = 0


class Instants:
    """Iterates over the instants of a bag in the order of time; can be iterated more than once.

    Args:
        bag, streams: what to read.
        robot: cameras and joints.
        freshness: what the policy may still act on.
        fps: instants per second.
        task: of the whole bag; None: the instruction topic tells, and where it is empty there is no instant.

    `refused` tells of the last walk's messages that could not be used, by topic; `contradicted` when joint states
    contradicted each other, (begin, end) in ns each.
    """

    def __init__(
        self,
        bag: Bag | MovedBag,
        streams: Streams,
        robot: RobotConfig,
        freshness: Freshness,
        *,
        fps: int,
        task: str | None = None,
    ):
        self.robot = robot
        self.joint_states = streams.joint_states
        self._bag, self._streams, self._freshness = bag, streams, freshness
        self._fps = fps
        self._task = task
        self._cameras = {topic: camera for camera, topic in streams.cameras.items()}
        self.refused: dict[str, Refused] = {}
        self.contradicted: list[tuple[int, int]] = []

    def walk(
        self, listened: Sequence[str] = (), listen: Callable[[Recorded], None] | None = None
    ) -> Iterator[FrameInstant]:
        """The instants.

        Args:
            listened: topics to read besides.
            listen: takes their messages, and may refuse them with a BagError.
        """
        self.refused = {}
        buffer = ObservationBuffer(list(self._streams.cameras), self.robot.joint_names, self._freshness)
        clock = _Clock(self._fps, self._bag.start_ns, self._task or "")
        in_force = InstructionInForce(self._streams)
        instructions = in_force.topics if self._task is None else ()
        observed = {*self._cameras, *self._streams.joint_states, *instructions}
        last_ns = 0
        for recorded in self._bag.read(observed | set(listened)):
            if recorded.topic in observed:  # other topics do not matter here: with them or not, instants are the same
                last_ns = recorded.log_ns
                yield from clock.before(last_ns, buffer)
            try:
                if recorded.topic in instructions:
                    refusal = in_force.put(recorded)
                    clock.instruct(in_force.text, recorded.log_ns)
                    if refusal:
                        raise BagError(refusal)
                if recorded.topic in listened and listen:
                    listen(recorded)
                self._put(buffer, recorded)
            except ValueError as error:
                self.refused.setdefault(recorded.topic, Refused(str(error))).messages += 1
        yield from clock.before(last_ns + 1, buffer)
        self.contradicted = list(buffer.contradictions.spans)
        in_force.finish()
        for text, messages in in_force.ignored.items():
            self.refused[f"{self._streams.instruction}: {text!r}"] = Refused("the policy did not take it", messages)

    def _put(self, buffer: ObservationBuffer, recorded: Recorded) -> None:
        if recorded.topic in self._streams.joint_states:
            buffer.put_joint_state(recorded.message, recorded.log_ns)
        elif recorded.topic in self._cameras:
            buffer.put_image(self._cameras[recorded.topic], recorded.message, recorded.log_ns)
            if hasattr(recorded.message, "format"):
                decode_image(recorded.message)  # whether compressed data are whole is only known then


class _Clock:
    def __init__(self, fps: int, start_ns: int, task: str):
        self._fps = fps
        self._start_ns = start_ns
        self._task = task
        self._count = 0

    def instruct(self, text: str, now_ns: int) -> None:
        if text != self._task:
            self._task, self._start_ns, self._count = text, now_ns, 0

    def before(self, end_ns: int, buffer: ObservationBuffer) -> Iterator[FrameInstant]:
        """The instants that lie before `end_ns` and have not been yet."""
        while self._task and (time_ns := self._start_ns + round(self._count * 10**9 / self._fps)) < end_ns:
            observation, problem = buffer.take(time_ns)
            yield FrameInstant(time_ns, self._start_ns, self._task, observation, problem)
            self._count += 1
