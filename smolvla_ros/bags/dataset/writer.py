"""Writes a LeRobotDataset v3.0 that is there as a whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smolvla_ros.bags.errors import BagError

from . import layout, tables
from .statistics import ImageStatistics, Stats, combine, vector_statistics
from .video import Clip, ClipPlace, Codec, VideoFiles, even_size, video_info

Images = Mapping[str, NDArray[np.uint8]]


class DatasetWriter:
    """A context manager: what it writes lies in a hidden folder beside `out` and gets its name when all is complete.

    After any exception, Ctrl-C included, nothing is left. One thread.

    Args:
        out: folder to be made; must not be there, or be empty.
        cameras: image features.
        joints: names of the columns of state and action.

    `cropped` has the image features that lost a row or column, see `even_size`.

    Raises:
        BagError: `out` holds something, or a feature has a name that cannot be one.
    """

    def __init__(
        self, out: Path, *, cameras: Sequence[str], joints: Sequence[str], fps: int, robot_type: str, codec: Codec
    ):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise BagError(f"{out} is there already, expected the name of a new folder: --out is never written over")
        bad = [camera for camera in cameras if "/" in camera]
        if bad:
            raise BagError(f"'{bad[0]}' cannot be the name of a feature of a dataset: expected no '/' in it")
        self._out = out
        self._root = out.parent / f".{out.name}.{os.getpid()}.part"
        self._joints, self._fps, self._robot_type, self._codec = tuple(joints), fps, robot_type, codec
        self._frames = tables.FrameTable(self._root, len(joints))
        self._videos = {camera: VideoFiles(self._root, camera, fps) for camera in cameras}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._rows: list[dict[str, Any]] = []
        self._statistics: list[dict[str, Stats]] = []
        self._tasks: dict[str, int] = {}
        self.total_frames = 0
        self.cropped: set[str] = set()

    def __enter__(self) -> DatasetWriter:
        (self._root / "meta").mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._close_files()
            if kind is None:
                self._root.rename(self._out)
        finally:
            shutil.rmtree(self._root, ignore_errors=True)

    def add_episode(
        self, task: str, states: NDArray[np.float32], actions: NDArray[np.float32], images: Iterable[Images]
    ) -> None:
        """Adds an episode.

        Args:
            task: the instruction.
            states, actions: [frames, joints] in units of the checkpoint.
            images: of every frame, RGB [height, width, 3] by feature; drawn one after the other.

        Raises:
            BagError: images of another size than before, or fewer than frames.
        """
        episode, first = len(self._rows), self.total_frames
        columns = tables.frame_columns(
            states, actions, fps=self._fps, episode=episode, first=first,
            task=self._tasks.setdefault(task, len(self._tasks)),
        )  # fmt: skip
        places, image_statistics = self._write_videos(len(states), images)
        statistics = {name: vector_statistics(values) for name, values in columns.items()} | image_statistics
        data = self._frames.append(columns)
        self.total_frames += len(states)
        self._statistics.append(statistics)
        self._rows.append(
            {
                "episode_index": episode,
                "tasks": [task],
                "length": len(states),
                "data/chunk_index": data.chunk,
                "data/file_index": data.file,
                "dataset_from_index": first,
                "dataset_to_index": self.total_frames,
                **{name: value for feature, place in places.items() for name, value in _video_columns(feature, place)},
                **tables.flattened(statistics),
            }
        )

    def finish(self, origin: Mapping[str, Any]) -> None:
        """Writes what describes the whole; `origin` tells where its episodes come from."""
        root = self._root
        cameras = {name: (size, video_info(self._codec, self._fps, size)) for name, size in self._sizes.items()}
        info = layout.info(
            layout.features(self._joints, cameras), fps=self._fps, robot_type=self._robot_type,
            episodes=len(self._rows), frames=self.total_frames, tasks=len(self._tasks),
        )  # fmt: skip
        statistics = {
            feature: {name: value.tolist() for name, value in figures.items()}
            for feature, figures in combine(self._statistics).items()
        }
        tables.write_episodes(root, self._rows)
        tables.write_tasks(root, list(self._tasks))
        for file, content in (
            (layout.INFO_FILE, info),
            (layout.STATISTICS_FILE, statistics),
            (layout.ORIGIN_FILE, origin),
        ):
            (root / file).write_text(json.dumps(content, indent=4, ensure_ascii=False), encoding="utf-8")

    def _write_videos(self, frames: int, images: Iterable[Images]) -> tuple[dict[str, ClipPlace], dict[str, Stats]]:
        clips: dict[str, Clip] = {}
        statistics = {camera: ImageStatistics(frames) for camera in self._videos}
        count = 0
        for frame, pictures in enumerate(images):
            for camera in self._videos:
                picture = even_size(pictures[camera])
                if picture.shape != pictures[camera].shape:
                    self.cropped.add(camera)
                self._check_size(camera, picture)
                if camera not in clips:
                    file = self._root / f"clip-{len(clips)}.mp4"
                    clips[camera] = Clip(file, self._codec, self._fps, self._sizes[camera])
                clips[camera].add(picture)
                statistics[camera].add(frame, picture)
            count += 1
        if count != frames:
            raise BagError(
                f"episode {len(self._rows)} has {count} images for {frames} frames: the bag changed meanwhile"
            )
        for clip in clips.values():
            clip.finish()
        places = {camera: self._videos[camera].append(clip) for camera, clip in clips.items()}
        return places, {camera: figures.figures() for camera, figures in statistics.items()}

    def _check_size(self, camera: str, picture: NDArray[np.uint8]) -> None:
        height, width = picture.shape[:2]
        expected = self._sizes.setdefault(camera, (height, width))
        if (height, width) != expected:
            raise BagError(
                f"'{camera}' has images of {width}x{height} and of {expected[1]}x{expected[0]} pixels, expected one "
                "size in all episodes: export bags of different cameras to datasets of their own"
            )
        if 0 in expected:
            raise BagError(f"'{camera}' has images of one pixel's height or width, which no video can hold")

    def _close_files(self) -> None:
        self._frames.close()
        for video in self._videos.values():
            video.close()


def _video_columns(feature: str, place: ClipPlace) -> list[tuple[str, Any]]:
    return [
        (f"videos/{feature}/chunk_index", place.file.chunk),
        (f"videos/{feature}/file_index", place.file.file),
        (f"videos/{feature}/from_timestamp", place.from_s),
        (f"videos/{feature}/to_timestamp", place.to_s),
    ]
