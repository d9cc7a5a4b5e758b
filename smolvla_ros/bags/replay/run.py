"""What the policy would have done: a bag through the live node's own code, in virtual time.

Time goes in steps of one row of a chunk. At each, all messages received by then go to the `ObservationBuffer`, and the
inference loop of the policy node decides and infers (`node`). Its chunk arrives after a latency by option, and the
controller executes it row after row (`motion`), which is what the request rule looks at. The arm is not simulated: it
moves as it was recorded, whatever the policy says. Nothing depends on the machine's speed unless the measured latency
is asked for. One pass over the bag, in which images are dropped as soon as the next one is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.robot.observation import ObservationBuffer
from smolvla_ros.stamps import stamp_ns

from ..errors import BagError
from ..messages import Recorded, time_text
from ..moved import MovedBag, moved
from ..reader import Bag
from ..streams import Streams
from ..tracks import CommandTrack, Track
from .comparison import chunk_errors, hold_errors, recorded_errors, usable_std
from .identity import other_checkpoint
from .ingest import Ingest
from .motion import spread
from .node import ReplayedNodes, Setup
from .result import BagFinding, RecordedChunk, Replay, ReplayedChunk, Trace
from .schedule import REQUESTS, RequestInstant, instants, latency_from, recorded_chunks

REFERENCES = ("command", "state")

# The recorder may have received an image later than the policy did.
_LATENESS_NS = 50_000_000
# Where a bag says nothing for longer, no ticks are counted: a recorder may have been paused for hours, or a bit of a
# log time be wrong. Nothing is observed then, so nothing could be asked or executed.
LONGEST_SILENCE_NS = 60_000_000_000


@dataclass(frozen=True)
class ReplaySettings:
    """What the user chose; '' leaves a choice to the bag or the robot config.

    Attributes:
        request: one of `schedule.REQUESTS`.
        latency: seconds, 'measured' or 'recorded'.
        instruction: in place of those in the bag.
        reference: one of `REFERENCES`.
        start_s, duration_s: the part of the bag; duration 0: to its end.
        clock_offset: see `moved`.
    """

    request: str = ""
    latency: str = ""
    instruction: str = ""
    reference: str = ""
    start_s: float = 0.0
    duration_s: float = 0.0
    clock_offset: str = ""


def replay(
    bag: Bag, streams: Streams, setup: Setup, options: ReplaySettings, progress: Callable[[float], Any]
) -> Replay:
    """Replays a bag; `progress` takes the seconds of it that are done.

    Ctrl-C ends the replay where it is: the result holds what there is until then, and says so in `defects`.

    Raises:
        BagError: an option does not fit the bag.
    """
    run = _Run(moved(bag, options.clock_offset, streams.joint_states), streams, setup, options)
    try:
        run.run(progress)
    except KeyboardInterrupt:
        run.stopped = True
    return run.result()


class _Run:
    def __init__(self, bag: Bag | MovedBag, streams: Streams, setup: Setup, options: ReplaySettings):
        self.stopped = False
        self._bag, self._streams, self._setup, self._options = bag, streams, setup, options
        self._start_ns, self._end_ns = section(bag, options)
        self._now_ns = self._fed_ns = self._start_ns
        self._request = options.request or setup.parameters.request_rule
        chunks = self._recorded_chunks()
        self._asked = chunks if self._request == "recorded" else []
        self._latency = latency_from(options.latency, chunks)
        self._buffer = ObservationBuffer(
            list(streams.cameras), setup.robot.joint_names, policy_setup.freshness(setup.parameters)
        )
        self._nodes = ReplayedNodes(setup, self._buffer, self._latency, self._request == "recorded", self._start_ns)
        self._ingest = Ingest(
            bag.topics, streams, setup.robot, self._buffer, setup.policy.check_instruction, self._instruct,
            self._start_ns, self._end_ns, setup.step_ns,
        )  # fmt: skip
        self._instruction = ""
        self._changes_ns: list[int] = []
        self._track = self._reference_track()
        self._messages = bag.read(self._ingest.topics, self._start_ns, self._end_ns)
        self._next = next(self._messages, None)

    def run(self, progress: Callable[[float], Any]) -> None:
        """Everything, in the order of time."""
        self._instruction = self._options.instruction or self._instruction_before()
        self._nodes.instruct(self._instruction)
        for instant in instants(self._start_ns, self._end_ns, self._setup.step_ns, self._asked):
            self._now_ns = instant.time_ns
            self._feed(instant)
            if instant.chunk is None and instant.time_ns - self._fed_ns > LONGEST_SILENCE_NS:
                continue
            self._nodes.move_to(instant.time_ns)
            if instant.chunk is not None or (not self._asked and not self._nodes.busy):
                if instant.chunk is not None and instant.chunk.instruction:
                    self._instruct(instant.chunk.instruction, instant.time_ns)
                self._nodes.ask(instant.chunk)
            if instant.chunk is None:
                self._nodes.execute()
                progress((instant.time_ns - self._start_ns) / 1e9)
        while self._next is not None:
            self._put_next(self._next)

    def result(self) -> Replay:
        """What was found until now."""
        setup, nodes = self._setup, self._nodes
        std = self._action_std()
        chunks = self._with_references(nodes.chunks)
        rows = nodes.rows
        times_ns, commanded, places = nodes.motion.trace()
        self._ingest.facts.close()
        return Replay(
            bag=str(self._bag.path),
            checkpoint=setup.checkpoint,
            robot_config=setup.robot_config,
            robot=setup.robot,
            joints=setup.robot.joint_names,
            start_ns=self._start_ns,
            end_ns=self._now_ns if self.stopped else self._end_ns,
            step_s=setup.step_ns / 1e9,
            rows=rows,
            request=self._request,
            latency=self._latency.text,
            reference=self._reference_text(),
            seed=setup.parameters.seed,
            chunks=chunks,
            skipped=tuple(nodes.skipped),
            streams=self._ingest.health(),
            errors=chunk_errors(chunks, rows, std),
            hold_errors=hold_errors(chunks, rows, std),
            recorded_errors=recorded_errors(chunks, rows, std),
            recorded_unmatched=sum(1 for c in chunks if c.recorded and c.recorded.image_stamp_ns != c.image_stamp_ns),
            seams=nodes.seams(),
            trace=Trace(times_ns, commanded, places, self._track.sample(times_ns), self._ingest.state.sample(times_ns)),
            stage_s={stage: spread(np.array(seconds)) for stage, seconds in nodes.stage_s.items()},
            action_std=std,
            statistics={f: setup.policy.statistics(f) for f in ("observation.state", "action")},
            defects=tuple(self._defects()),
            facts=self._ingest.facts,
            findings=(
                *self._moved(),
                *other_checkpoint(self._bag, self._streams, setup.policy.folder),
                *nodes.findings,
            ),
        )

    # Messages.

    def _feed(self, instant: RequestInstant) -> None:
        """Everything received by then; for a recorded chunk, as near as possible to what its policy had received."""
        limit_ns = instant.time_ns + (_LATENESS_NS if instant.chunk else 0)
        while self._next is not None and self._next.log_ns <= limit_ns:
            if instant.chunk and self._has_images_of(instant.chunk, self._next, instant.time_ns):
                return
            self._put_next(self._next)

    def _has_images_of(self, chunk: RecordedChunk, following: Recorded, now_ns: int) -> bool:
        """Whether the images of a recorded chunk are there, and the following message is none of what it had."""
        observation, _ = self._buffer.take(now_ns)
        if observation is None or observation.image_stamp_ns < chunk.image_stamp_ns:
            return False
        oldest = [self._streams.cameras[camera] for camera, image in observation.images.items()
                  if stamp_ns(image.header.stamp) == observation.image_stamp_ns]  # fmt: skip
        return following.log_ns > now_ns or following.topic in oldest

    def _put_next(self, message: Recorded) -> None:
        self._fed_ns = message.log_ns
        self._ingest.put(message)
        self._next = next(self._messages, None)

    def _instruct(self, text: str, now_ns: int) -> None:
        if not self._options.instruction and text != self._instruction:
            self._instruction = text
            self._changes_ns.append(now_ns)
            self._nodes.instruct(text)

    def _instruction_before(self) -> str:
        """The one in force when the replay begins: the topic is latched."""
        in_force = self._ingest.instruction
        if self._start_ns > self._bag.start_ns:
            for recorded in self._bag.read(in_force.topics, None, self._start_ns - 1):
                in_force.put(recorded)
        return in_force.text

    def _recorded_chunks(self) -> list[RecordedChunk]:
        topic = self._streams.chunks
        if topic and "recorded" in (self._request, self._options.latency or "recorded"):
            chunks = recorded_chunks(self._bag, topic, self._setup.robot.joint_names, self._start_ns, self._end_ns)
            if chunks:
                return chunks
        if self._request == "recorded":
            raise BagError(
                f"{self._bag.path}: requests are 'recorded', but there is no usable action_chunk in this time; "
                f"choose --request from {', '.join(REQUESTS[:-1])}"
            )
        return []

    # What it is measured against.

    def _reference_track(self) -> Track | CommandTrack:
        kind = self._options.reference or ("command" if self._ingest.commands else "state")
        if kind == "state":
            return self._ingest.state
        if self._ingest.commands is None:
            raise BagError(f"{self._bag.path}: --reference is 'command', but the bag has no commands; choose 'state'")
        return self._ingest.commands

    def _reference_text(self) -> str:
        if self._track is self._ingest.state:
            return f"positions measured on {', '.join(self._streams.joint_states)}"
        commands = self._streams.commands
        types = ", ".join(dict.fromkeys(command.type for command in commands))
        return f"commands on {', '.join(command.topic for command in commands)} ({types})"

    def _with_references(self, chunks: list[ReplayedChunk]) -> tuple[ReplayedChunk, ...]:
        rows, joints = self._nodes.rows, len(self._setup.robot.joints)
        stamps_ns = np.array([chunk.stamp_ns for chunk in chunks], np.int64)
        starts_ns = self._ingest.holds.starts_ns(stamps_ns, np.array([chunk.usable_ns for chunk in chunks], np.int64))
        times_ns = starts_ns[:, None] + self._setup.step_ns * np.arange(rows, dtype=np.int64)
        references = self._track.sample(times_ns.ravel()).reshape(len(chunks), rows, joints)
        references[times_ns > self._instructed_until_ns(chunks)[:, None]] = np.nan
        return tuple(
            replace(chunk, start_ns=int(start_ns), reference=reference)
            for chunk, start_ns, reference in zip(chunks, starts_ns, references, strict=True)
        )

    def _instructed_until_ns(self, chunks: list[ReplayedChunk]) -> NDArray[np.int64]:
        """When the instruction of each chunk was withdrawn or replaced; what the arm did then was something else."""
        changes_ns = np.array([*self._changes_ns, self._end_ns], np.int64)
        requested_ns = np.array([chunk.requested_ns for chunk in chunks], np.int64)
        return changes_ns[np.minimum(np.searchsorted(changes_ns, requested_ns, side="right"), len(changes_ns) - 1)]

    def _action_std(self) -> NDArray[np.float64]:
        std = self._setup.policy.statistics("action").get("std")
        scale = np.array([joint.scale for joint in self._setup.robot.joints])
        return usable_std(np.full(len(scale), np.nan) if std is None else std / np.abs(scale))

    def _moved(self) -> Iterator[BagFinding]:
        if isinstance(self._bag, MovedBag):
            text = f"All log times were moved by {self._bag.by_ns / 1e9:+.6f} s, as --clock-offset says."
            yield BagFinding("moved_clock", "note", text)

    def _defects(self) -> Iterator[str]:
        if self.stopped:
            into_s = (self._now_ns - self._bag.start_ns) / 1e9
            yield f"The replay was stopped at {time_text(self._now_ns)}, {into_s:.1f} s into the bag."
        yield from self._bag.defects


def section(bag: Bag | MovedBag, options: ReplaySettings) -> tuple[int, int]:
    """Log times of the part that is replayed.

    Raises:
        BagError: there is no such part.
    """
    start_ns = bag.start_ns + round(options.start_s * 1e9)
    end_ns = min(bag.end_ns, start_ns + round(options.duration_s * 1e9)) if options.duration_s else bag.end_ns
    if options.start_s < 0.0 or options.duration_s < 0.0 or start_ns > bag.end_ns:
        raise BagError(
            f"{bag.path}: --start {options.start_s:g} and --duration {options.duration_s:g} give no part of the "
            f"{(bag.end_ns - bag.start_ns) / 1e9:.1f} s that the bag has"
        )
    return start_ns, end_ns
