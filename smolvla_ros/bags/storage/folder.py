"""Which files a bag consists of, and what each of them is, told by its first bytes: names and metadata can be wrong."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from smolvla_ros.bags.errors import BagError

from . import mcap_records, sqlite
from .blocks import Report, StorageFile
from .compression import ZSTD_MAGIC, DamageError, decompress_file
from .mcap import McapFile
from .metadata import METADATA, Metadata, read_metadata
from .sqlite import Sqlite3File

_ZSTD = ".zstd"
_NAMES = re.compile(r"\.(mcap|db3)(\.zstd)?$")
_ROS1_BEGINNING = b"#ROSBAG V"
_METADATA_BEGINNING = b"rosbag2_"
_LFS_BEGINNING = b"version https://"


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
    metadata = read_metadata(path, report) if by_name or (path / METADATA).exists() else Metadata()
    named = [path / name for name in metadata.files]
    for file in named:
        if not file.is_file():
            report(f"{file.name}, which {METADATA} names, is missing")
    files = [file for file in named if file.is_file()] or by_name
    if not files:
        raise BagError(_no_bag(path))
    return files, metadata


def holds_files(folder: Path) -> bool:
    """Whether a folder looks like a bag, whole or not."""
    return (folder / METADATA).exists() or bool(_by_name(folder))


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


def _by_name(folder: Path) -> list[Path]:
    """What is named as files of bags are; not a compressed one that `ros2 bag play` has unpacked beside itself."""
    found = {file.name: file for file in folder.iterdir() if _NAMES.search(file.name)}
    return [file for name, file in found.items() if not (name.endswith(_ZSTD) and name.removesuffix(_ZSTD) in found)]


def _place(file: Path) -> list[tuple[int, str]]:
    """A key that puts bag_10 behind bag_9."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", file.name)]


def _no_bag(folder: Path) -> str:
    names = sorted(file.name for file in folder.iterdir())
    below = [name for name in names if (folder / name).is_dir() and (folder / name / METADATA).exists()]
    if below:
        return f"{folder} is no bag, but holds some: {', '.join(below[:5])}"
    found = f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "nothing"
    return f"{folder} is no bag: no {METADATA}, .mcap or .db3 file in it, but {found}"


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
