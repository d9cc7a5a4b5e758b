"""Which files a bag consists of, and what each of them is, told by its first bytes: names and metadata can be wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import yaml

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.messages import full_topic

from . import mcap_records, sqlite
from .blocks import Report, StorageFile
from .compression import ZSTD_MAGIC, DamageError, decompress_file
from .mcap import McapFile
from .sqlite import Sqlite3File

_METADATA = "metadata.yaml"
_MAX_METADATA_BYTES = 2**24
_ZSTD = ".zstd"
_NAMES = re.compile(r"\.(mcap|db3)(\.zstd)?$")
_ROS1_BEGINNING = b"#ROSBAG V"
_METADATA_BEGINNING = b"rosbag2_"
_LFS_BEGINNING = b"version https://"


@dataclass(frozen=True)
class Metadata:
    """What metadata.yaml says: names of the files in order, and messages by topic; both empty if it says nothing."""

    files: tuple[str, ...] = ()
    messages: Mapping[str, int] = field(default_factory=dict)


def find_files(path: Path, report: Report) -> tuple[list[Path], Metadata]:
    """The files of a bag in the order in which they were written.

    Raises:
        BagError: there are none.
    """
    if not path.exists():
        raise BagError(f"{path} does not exist; expected the folder of a bag, or an .mcap or .db3 file")
    if path.is_file():
        return [path], Metadata()
    if not path.is_dir():
        raise BagError(f"{path} is neither a folder nor a file")
    by_name = sorted(_by_name(path), key=_place)
    metadata = _read_metadata(path / _METADATA, report) if by_name or (path / _METADATA).exists() else Metadata()
    named = [path / name for name in metadata.files]
    for file in named:
        if not file.is_file():
            report(f"{file.name}, which {_METADATA} names, is missing")
    files = [file for file in named if file.is_file()] or by_name
    if not files:
        raise BagError(_no_bag(path))
    return files, metadata


def open_file(path: Path, report: Report, resources: ExitStack) -> StorageFile:
    """Opens one file of a bag; `resources` closes it and removes what was decompressed.

    Raises:
        DamageError: nothing in it can be read.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise DamageError("not a file")
    with path.open("rb") as source:
        head = source.read(len(sqlite.MAGIC))
        if head.startswith(ZSTD_MAGIC):
            source.seek(0)
            folder = resources.enter_context(TemporaryDirectory(prefix="smolvla_ros_bag_"))
            path = Path(folder, path.name.removesuffix(_ZSTD))
            problem = decompress_file(source, path)
            if problem:
                report(f"can be decompressed in part only: {problem}")
            with path.open("rb") as decompressed:
                head = decompressed.read(len(sqlite.MAGIC))
    opened: StorageFile
    if head.startswith(mcap_records.MAGIC):
        opened = McapFile(path, report)
    elif head.startswith(sqlite.MAGIC):
        opened = Sqlite3File(path, report)
    else:
        raise DamageError(_what_else(head))
    resources.callback(opened.close)
    return opened


def _read_metadata(file: Path, report: Report) -> Metadata:
    try:
        if file.stat().st_size > _MAX_METADATA_BYTES:
            raise ValueError("it is too large")
        content = yaml.safe_load(file.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        files = tuple(PurePosixPath(str(name)).name for name in content["relative_file_paths"])
        messages: dict[str, int] = {}
        for entry in content["topics_with_message_count"]:
            name = full_topic(str(entry["topic_metadata"]["name"]))
            messages[name] = messages.get(name, 0) + int(entry["message_count"])
        return Metadata(files, messages)
    except FileNotFoundError:
        report(f"{_METADATA} is missing: the recording was not closed, or it was lost (`ros2 bag reindex` makes one)")
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        report(f"{_METADATA} cannot be used: {reason} (`ros2 bag reindex` makes a new one)")
    return Metadata()


def _by_name(folder: Path) -> list[Path]:
    """What is named as files of bags are; not a compressed one that `ros2 bag play` has unpacked beside itself."""
    found = {file.name: file for file in folder.iterdir() if _NAMES.search(file.name)}
    return [file for name, file in found.items() if not (name.endswith(_ZSTD) and name.removesuffix(_ZSTD) in found)]


def _place(file: Path) -> list[tuple[int, str]]:
    """A key that puts bag_10 behind bag_9."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", file.name)]


def _no_bag(folder: Path) -> str:
    names = sorted(file.name for file in folder.iterdir())
    below = [name for name in names if (folder / name).is_dir() and (folder / name / _METADATA).exists()]
    if below:
        return f"{folder} is no bag, but holds some: {', '.join(below[:5])}"
    found = f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "nothing"
    return f"{folder} is no bag: no {_METADATA}, .mcap or .db3 file in it, but {found}"


def _what_else(head: bytes) -> str:
    if not head:
        return "the file is empty"
    if head.startswith(_ROS1_BEGINNING):
        return "a bag of ROS 1; convert it with `rosbags-convert --src FILE.bag --dst FOLDER`"
    if head.startswith(_METADATA_BEGINNING):
        return "the metadata of a bag; give its folder"
    if head.startswith(_LFS_BEGINNING):
        return "a pointer of Git LFS in place of the file; get it with `git lfs pull`"
    return f"neither mcap nor sqlite3: it begins with {head[:8]!r}"
