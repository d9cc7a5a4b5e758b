"""Where things are in the folder of a LeRobotDataset v3.0, and what info.json says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_FILE_BYTES = 100 * 1024**2
VIDEO_FILE_BYTES = 200 * 1024**2

INFO_FILE = "meta/info.json"
STATISTICS_FILE = "meta/stats.json"
TASKS_FILE = "meta/tasks.parquet"
ORIGIN_FILE = "meta/smolvla_ros.json"

_CHUNK_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_DATA_PATH = f"data/{_CHUNK_FILE}.parquet"
_EPISODES_PATH = f"meta/episodes/{_CHUNK_FILE}.parquet"
_VIDEO_PATH = f"videos/{{video_key}}/{_CHUNK_FILE}.mp4"

STATE, ACTION = "observation.state", "action"

# The columns that every dataset has, and their types.
INDEX_COLUMNS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


@dataclass(frozen=True)
class FilePlace:
    """The number of a file: that of its folder ("chunk") and its own within it."""

    chunk: int = 0
    file: int = 0

    def next(self) -> FilePlace:
        """That of the file after it."""
        chunk, file = divmod(self.chunk * FILES_PER_CHUNK + self.file + 1, FILES_PER_CHUNK)
        return FilePlace(chunk, file)


def data_file(place: FilePlace) -> str:
    return _DATA_PATH.format(chunk_index=place.chunk, file_index=place.file)


def episodes_file(place: FilePlace) -> str:
    return _EPISODES_PATH.format(chunk_index=place.chunk, file_index=place.file)


def video_file(feature: str, place: FilePlace) -> str:
    return _VIDEO_PATH.format(video_key=feature, chunk_index=place.chunk, file_index=place.file)


def features(joints: Sequence[str], cameras: Mapping[str, tuple[tuple[int, int], dict[str, object]]]) -> dict[str, Any]:
    """The features of a robot as info.json has them.

    Args:
        joints: names of the columns of state and action.
        cameras: by feature: height and width, and what is told of the video.
    """
    vector = {"dtype": "float32", "shape": [len(joints)], "names": list(joints)}
    images = {
        feature: {"dtype": "video", "shape": [*size, 3], "names": ["height", "width", "channels"], "info": info}
        for feature, (size, info) in cameras.items()
    }
    index = {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in INDEX_COLUMNS.items()}
    return {STATE: vector, ACTION: vector, **images, **index}


def info(
    features: Mapping[str, Any], *, fps: int, robot_type: str, episodes: int, frames: int, tasks: int
) -> dict[str, Any]:
    """The contents of info.json."""
    has_video = any(feature["dtype"] == "video" for feature in features.values())
    return {
        "codebase_version": VERSION,
        "robot_type": robot_type,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_FILE_BYTES // 1024**2,
        "video_files_size_in_mb": VIDEO_FILE_BYTES // 1024**2,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": _DATA_PATH,
        "video_path": _VIDEO_PATH if has_video else None,
        "features": dict(features),
    }
