"""Which bags are meant by several paths, and what each is called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import BagError
from ..storage.folder import holds_files


def find_bags(paths: Sequence[str]) -> dict[str, Path]:
    """The bags by name: files, folders of a bag, and whatever bags lie below any other folder; each once.

    A name is that of the file or folder, or, where two are called alike, the path below the folder that all are in. A
    path that does not exist stands for itself, so that it is told of like any bag that cannot be read.

    Raises:
        BagError: a folder without any bag.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        below = list(_bags(path, set()))
        if not below:
            raise BagError(f"{path} is no bag, and there is none below it")
        found |= {bag.resolve(): found.get(bag.resolve(), bag) for bag in below}
    names = [bag.name for bag in found]
    if len(set(names)) < len(names):
        common = os.path.commonpath([bag.parent for bag in found])
        names = [str(bag.relative_to(common)) for bag in found]
    return dict(sorted(zip(names, found.values(), strict=True)))


def _bags(path: Path, seen: set[Path]) -> Iterator[Path]:
    if not path.is_dir() or holds_files(path):
        yield path
        return
    seen.add(path.resolve())
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        if folder.resolve() not in seen:  # a link may lead back
            yield from _bags(folder, seen)
