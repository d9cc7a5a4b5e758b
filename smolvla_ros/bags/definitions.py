"""Definitions of message types as a bag holds them: text with all nested types, and the type's hash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rosbags.interfaces import Nodetype
from rosbags.typesys import get_types_from_msg

from .errors import BagError
from .messages import MessageTypes

_HEADER = "std_msgs/msg/Header"


class Definitions:
    """The types of this installation: those that rosbags knows, and any other from the files of its package."""

    def __init__(self) -> None:
        self._store = MessageTypes({}).store

    def text_and_hash(self, type_name: str) -> tuple[str, str]:
        """The definition in ros2msg format and the RIHS01 hash.

        Raises:
            BagError: no package here defines the type.
        """
        self._learn(type_name)
        text, _ = self._store.generate_msgdef(type_name, ros_version=2)
        return text, self._store.hash_rihs01(type_name)

    def fields(self, type_name: str) -> list[Any]:
        """Names and descriptions of the fields, as rosbags has them."""
        self._learn(type_name)
        return list(self._store.fielddefs[type_name][1])

    def _learn(self, type_name: str) -> None:
        if type_name in self._store.types:
            return
        package, _, name = type_name.split("/")
        try:
            file = Path(get_package_share_directory(package), "msg", f"{name}.msg")
            text = file.read_text(encoding="utf-8")
        except (PackageNotFoundError, FileNotFoundError) as error:
            raise BagError(f"the type {type_name} cannot be recorded: {error}") from error
        types = get_types_from_msg(text, type_name)
        for _, field in types[type_name][1]:
            for nested in _nested(field):
                self._learn(nested)
        self._store.register(types)


def has_header(fields: list[Any]) -> bool:
    """Whether a type with these fields begins with a header, and so has a stamp."""
    return bool(fields) and _HEADER in _nested(fields[0][1])


def _nested(field: Any) -> Iterator[str]:
    kind, value = field
    if kind == Nodetype.NAME:
        yield value
    elif kind != Nodetype.BASE:
        yield from _nested(value[0])
