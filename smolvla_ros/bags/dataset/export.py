"""Bags -> a LeRobotDataset. First all bags are looked through; what is found is then read again and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.instructions import InstructionInForce
from smolvla_ros.bags.messages import time_text
from smolvla_ros.bags.moved import MovedBag, moved
from smolvla_ros.bags.reader import Bag, open_bag
from smolvla_ros.bags.streams import Streams
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.images import ImageError, decode_image
from smolvla_ros.robot.observation import Freshness

from .actions import action_source
from .episodes import LeftOut, RecordedEpisode, find_episodes
from .instants import FrameInstant, Instants, Refused
from .interventions import Interventions, unwanted
from .runs import RecordedRun, recorded_runs, run_of
from .video import choose_codec
from .writer import DatasetWriter, Images


@dataclass(frozen=True)
class ExportSettings:
    """How bags become episodes.

    fps: frames per second.
    codec: one of `video.CODECS`; '': see `choose_codec`.
    action: one of `actions.ACTIONS`.
    whole_bags: an episode per bag instead of one per instruction.
    task: the instruction of `whole_bags`; '': the only one in the bag.
    max_gap_s: an image, joint state or command that is older is none.
    min_length_s: of an episode.
    clock_offset: see `moved`.
    interventions: whether what a person commanded is kept with the rest, cut out, or all that is exported.
    """

    fps: int = 30
    codec: str = ""
    action: str = "command"
    whole_bags: bool = False
    task: str = ""
    max_gap_s: float = 0.2
    min_length_s: float = 1.0
    clock_offset: str = ""
    interventions: Interventions = "keep"


@dataclass(frozen=True)
class Robot:
    """The robot in the bags.

    config: cameras and joints.
    name: for people.
    streams: finds its topics in a bag.
    freshness: what data its policy acts on.
    """

    config: RobotConfig
    name: str
    streams: Callable[[Bag], Streams]
    freshness: Freshness


@dataclass(frozen=True)
class Survey:
    """What a bag holds: episodes, what is in none of them, refused messages by topic, sentences about damage, runs."""

    path: Path
    start_ns: int
    episodes: list[RecordedEpisode]
    left_out: list[LeftOut]
    refused: dict[str, Refused]
    defects: list[str]
    runs: list[RecordedRun]

    @property
    def is_partial(self) -> bool:
        """Whether something that was recorded for an episode is in none."""
        return bool(self.defects) or any(not part.expected for part in self.left_out)


@dataclass(frozen=True)
class Exported:
    """What was done: the bags, the robot's joints, the codec of the videos, features that lost an odd row or column."""

    surveys: list[Survey]
    joints: tuple[str, ...]
    codec: str
    cropped: frozenset[str]


# Told what is being done, to which bag, and how much of it is done, 0 to 1.
Progress = Callable[[str, Path, float], None]


def export(
    bags: Sequence[Path], out: Path, robot: Robot, settings: ExportSettings, progress: Progress = lambda *_: None
) -> Exported:
    """Writes the episodes of all bags into the new folder `out`; writes nothing if there are none.

    Raises:
        BagError: a bag cannot be used, or `out` is there already. OSError: `out` cannot be written.
    """
    config = robot.config
    codec = choose_codec(settings.codec)
    writer = DatasetWriter(
        out,
        cameras=[camera.feature for camera in config.cameras],
        joints=[joint.feature or joint.name for joint in config.joints],
        fps=settings.fps,
        robot_type=robot.name,
        codec=codec,
    )
    surveys = [_survey(path, robot, settings, progress) for path in bags]
    if any(survey.episodes for survey in surveys):
        with writer:
            for survey in surveys:
                _write(survey, writer, robot, settings, progress)
            writer.finish(_origin(surveys, settings))
    return Exported(surveys, config.joint_names, codec.name, frozenset(writer.cropped))


def _survey(path: Path, robot: Robot, settings: ExportSettings, progress: Progress) -> Survey:
    with open_bag(path) as opened:
        streams = robot.streams(opened)
        bag = moved(opened, settings.clock_offset, streams.joint_states)
        duration_ns = max(1, bag.end_ns - bag.start_ns)
        instants = _instants(bag, streams, robot, settings)
        try:
            source = action_source(
                settings.action, streams, robot.config, fps=settings.fps, max_gap_ns=round(settings.max_gap_s * 1e9)
            )
        except BagError as error:
            raise BagError(f"{path}: {error}") from error
        episodes, left_out = find_episodes(
            instants, source, min_frames=max(1, round(settings.min_length_s * settings.fps)),
            unwanted=unwanted(settings.interventions, bag, streams.status),
            progress=lambda time_ns: progress("looking through", path, (time_ns - bag.start_ns) / duration_ns),
        )  # fmt: skip
        runs = recorded_runs(bag, streams.runs)
        return Survey(path, bag.start_ns, episodes, left_out, instants.refused, bag.defects, runs)


def _write(survey: Survey, writer: DatasetWriter, robot: Robot, settings: ExportSettings, progress: Progress) -> None:
    """Adds the episodes of a bag to the dataset."""
    total, done = sum(len(episode.times_ns) for episode in survey.episodes), 0
    features = {camera.name: camera.feature for camera in robot.config.cameras}
    with open_bag(survey.path) as opened:
        streams = robot.streams(opened)
        bag = moved(opened, settings.clock_offset, streams.joint_states)
        walk = _instants(bag, streams, robot, settings).walk()
        for episode in survey.episodes:

            def tell(frame: int, before: int = done) -> None:
                progress("writing", survey.path, (before + frame) / total)

            writer.add_episode(
                episode.task,
                robot.config.to_policy_units(episode.states).astype(np.float32),
                robot.config.to_policy_units(episode.actions).astype(np.float32),
                _images(walk, episode, features, tell),
            )
            done += len(episode.times_ns)


def _images(
    walk: Iterator[FrameInstant], episode: RecordedEpisode, features: dict[str, str], tell: Callable[[int], None]
) -> Iterator[Images]:
    """The images of an episode, frame by frame, by feature."""
    for frame, time_ns in enumerate(episode.times_ns, 1):
        instant = next((instant for instant in walk if instant.time_ns >= time_ns), None)
        if instant is None or instant.observation is None or instant.time_ns != time_ns:
            return
        try:
            yield {features[name]: decode_image(image) for name, image in instant.observation.images.items()}
        except ImageError as error:
            raise BagError(f"the image used at {time_text(int(time_ns))} cannot be decoded: {error}") from error
        tell(frame)


def _instants(bag: Bag | MovedBag, streams: Streams, robot: Robot, settings: ExportSettings) -> Instants:
    gap_ns = round(settings.max_gap_s * 1e9)
    freshness = replace(robot.freshness, max_image_age_ns=gap_ns, max_joint_state_age_ns=gap_ns)
    task = _task(bag, streams, settings) if settings.whole_bags else None
    if task is None and not streams.instructions:
        raise BagError(
            f"{bag.path} has no instruction topic, expected to cut it into episodes by: "
            "give --episodes bag --task TEXT for one episode per bag, or --remap or --namespace"
        )
    return Instants(bag, streams, robot.config, freshness, fps=settings.fps, task=task)


def _task(bag: Bag | MovedBag, streams: Streams, settings: ExportSettings) -> str:
    """The task of a whole bag."""
    if settings.task:
        return settings.task
    in_force = InstructionInForce(streams)
    texts: dict[str, None] = {}
    for recorded in bag.read(in_force.topics):
        in_force.put(recorded)
        if in_force.text:
            texts[in_force.text] = None
    if len(texts) != 1:
        found = ", ".join(repr(text) for text in texts) or "no instruction"
        raise BagError(f"{bag.path} has {found}, expected one for --episodes bag: give --task TEXT")
    return next(iter(texts))


def _origin(surveys: Sequence[Survey], settings: ExportSettings) -> dict[str, Any]:
    """Where everything comes from, for meta/smolvla_ros.json; episodes count through all bags."""
    first = 0
    bags = []
    for survey in surveys:
        episodes = [
            {
                "episode_index": first + place,
                "task": episode.task,
                "start_ns": int(episode.times_ns[0]),
                "end_ns": int(episode.times_ns[-1]),
                "repeats": episode.repeats,
                "run": run_of(episode, survey.runs),
            }
            for place, episode in enumerate(survey.episodes)
        ]
        first += len(episodes)
        refused = {topic: asdict(messages) for topic, messages in survey.refused.items()}
        left_out = [asdict(part) for part in survey.left_out]
        bags.append({"name": survey.path.name, "episodes": episodes, "left_out": left_out, "refused": refused,
                     "defects": survey.defects})  # fmt: skip
    return {"settings": asdict(settings), "bags": bags}
