"""Recorded messages to where the live node's callbacks put them, and to everybody else who wants to know of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.observation import ObservationBuffer
from smolvla_ros.stamps import stamp_ns

from ..errors import BagError
from ..instructions import InstructionInForce
from ..messages import Recorded, Topic
from ..streams import Streams
from ..tracks import CommandTrack, state_track
from .facts import COMMANDS, INSTRUCTION, JOINT_STATES, Facts, camera_stream
from .health import StreamRecord
from .holds import Holds
from .result import StreamHealth

CHUNKS, STATUS = "chunks", "status"


class Ingest:
    """Takes the messages of a bag in the order of their log times, which stand for the times of reception.

    Args:
        topics, streams: what is in the bag, and what of it is what.
        robot: cameras and joints.
        buffer: the live node's.
        check_instruction: raises a ValueError for a text that the policy cannot read.
        instruct: takes the instruction in force, and since when.
        start_ns, end_ns: the time that is replayed.
        step_ns: time between two rows of a chunk.
    """

    def __init__(
        self,
        topics: Mapping[str, Topic],
        streams: Streams,
        robot: RobotConfig,
        buffer: ObservationBuffer,
        check_instruction: Callable[[str], None],
        instruct: Callable[[str, int], None],
        start_ns: int,
        end_ns: int,
        step_ns: int,
    ):
        self._streams = streams
        self._buffer = buffer
        self.instruction = InstructionInForce(streams, check_instruction)
        self._instruct = instruct
        self._cameras = {topic: camera for camera, topic in streams.cameras.items()}
        self.state = state_track(len(robot.joints))
        self.holds = Holds(step_ns)
        self.commands = CommandTrack(streams.commands, robot) if streams.commands else None
        names = {topic: camera_stream(camera) for topic, camera in self._cameras.items()}
        names |= dict.fromkeys(streams.joint_states, JOINT_STATES)
        names |= dict.fromkeys((command.topic for command in streams.commands), COMMANDS)
        others = {INSTRUCTION: streams.instruction, CHUNKS: streams.chunks, STATUS: streams.status}
        names |= {topic: name for name, topic in others.items() if topic}
        self._records = {topic: StreamRecord(name, topic, topics[topic].type) for topic, name in names.items()}
        self.facts = Facts(names, robot, start_ns, end_ns)
        self._takers: dict[str, Callable[[Recorded], None]] = {
            JOINT_STATES: self._take_joint_state, COMMANDS: self._take_command, INSTRUCTION: self._take_instruction,
            CHUNKS: self._take_other, STATUS: self._take_status,
        }  # fmt: skip

    @property
    def topics(self) -> tuple[str, ...]:
        """All that are to be read."""
        return tuple(dict.fromkeys((*self._records, *self.instruction.topics)))

    def put(self, recorded: Recorded) -> None:
        """Takes the next message."""
        if recorded.topic not in self._records:
            self._follow(recorded)
            return
        self._takers.get(self._records[recorded.topic].name, self._take_image)(recorded)

    def health(self) -> tuple[StreamHealth, ...]:
        """Of every stream, in the order of display."""
        return tuple(record.health() for record in self._records.values())

    def _take_image(self, recorded: Recorded) -> None:
        camera = self._cameras[recorded.topic]
        message, refusal = _message(recorded)
        if message is None:
            self._unreadable(recorded, refusal)
            return
        try:
            self._buffer.put_image(camera, message, recorded.log_ns)
        except ValueError as error:
            refusal = str(error)
        self._count(recorded, stamp_ns(message.header.stamp), refusal)
        self.facts.image(recorded.topic, camera, message, recorded.log_ns, refusal)

    def _take_joint_state(self, recorded: Recorded) -> None:
        message, refusal = _message(recorded)
        if message is None:
            self._unreadable(recorded, refusal)
            return
        try:
            self._buffer.put_joint_state(message, recorded.log_ns)
        except ValueError as error:
            refusal = str(error)
        taken_ns = stamp_ns(message.header.stamp)
        self._count(recorded, taken_ns, refusal)
        positions = self.facts.joint_state(recorded.topic, message, recorded.log_ns, refusal)
        if positions is not None:
            self.state.add(taken_ns or recorded.log_ns, positions)

    def _take_command(self, recorded: Recorded) -> None:
        assert self.commands is not None, "without commands no topic leads here"
        try:
            due_ns, positions = self.commands.add(recorded)
        except BagError as error:
            self._unreadable(recorded, str(error))
            return
        header = getattr(recorded.message, "header", None)
        stamped_ns = stamp_ns(header.stamp) if header else None
        self._count(recorded, stamped_ns)
        self.facts.command(recorded.topic, positions, due_ns if stamped_ns else 0, recorded.log_ns)

    def _take_instruction(self, recorded: Recorded) -> None:
        refusal = self._follow(recorded)
        self._count(recorded, None, refusal)
        self.facts.seen(recorded.topic, recorded.log_ns, refusal)

    def _follow(self, recorded: Recorded) -> str:
        """Passes on the instruction in force after a message; returns why the message is not followed."""
        refusal = self.instruction.put(recorded)
        if not refusal:
            self.facts.instruction(self.instruction.text, recorded.log_ns)
        self._instruct(self.instruction.text, recorded.log_ns)
        return refusal

    def _take_status(self, recorded: Recorded) -> None:
        self._take_other(recorded)
        message, _ = _message(recorded)
        if message is not None:
            self.holds.add(message)

    def _take_other(self, recorded: Recorded) -> None:
        message, refusal = _message(recorded)
        self._count(recorded, None if message is None else stamp_ns(message.header.stamp), refusal)
        self.facts.seen(recorded.topic, recorded.log_ns, refusal)

    def _unreadable(self, recorded: Recorded, refusal: str) -> None:
        self._count(recorded, None, refusal)
        self.facts.seen(recorded.topic, recorded.log_ns, refusal)

    def _count(self, recorded: Recorded, stamp_ns: int | None, refusal: str = "") -> None:
        self._records[recorded.topic].add(recorded.log_ns, stamp_ns, refusal)


def _message(recorded: Recorded) -> tuple[Any, str]:
    """The message and '', or None and why it cannot be read."""
    try:
        return recorded.message, ""
    except BagError as error:
        return None, str(error)
