"""Recorded messages: CDR bytes, made into objects with the attributes of rclpy's messages when somebody asks.

Types come from the Jazzy definitions of rosbags, our own from the installed package, and any other from the definition
in the bag, if it has one.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rosbags.interfaces.typing import Typesdict
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from smolvla_ros.installation import PACKAGE, find_ros_in_virtual_environment, share_folder

from .earlier_types import completed, earlier_store
from .errors import BagError

# What rosbags raises on bytes that are no message of a type.
_NO_MESSAGE = (SerdeError, ValueError, struct.error, IndexError, OverflowError)


@dataclass(frozen=True)
class Topic:
    """A topic of a bag: its full name, its type ('sensor_msgs/msg/Image') and how many messages it has."""

    name: str
    type: str
    messages: int


@dataclass(frozen=True)
class Definition:
    """The definition of a message type as a bag holds it; `encoding` is 'ros2msg' or 'ros2idl'."""

    encoding: str
    text: str


@dataclass(frozen=True)
class Recorded:
    """A message of a bag: `data` is CDR as rclpy's serialize_message makes it, `log_ns` when it was received."""

    topic: str
    type: str
    log_ns: int
    data: bytes = field(repr=False)
    types: MessageTypes = field(repr=False, compare=False)

    @functools.cached_property
    def message(self) -> Any:
        """The message, with the attributes that rclpy's has; sequences of numbers are numpy arrays.

        Raises:
            BagError: the bytes are no message of this type, or nobody knows the type.
        """
        try:
            return self.types.deserialise(self.type, self.data)
        except BagError as error:
            raise BagError(f"{self.topic} at {time_text(self.log_ns)}: {error}") from error


class MessageTypes:
    """The message types of one bag.

    Args:
        definitions: those in the bag, by type.
    """

    def __init__(self, definitions: Mapping[str, Definition]):
        self.definitions = definitions
        self.store = _installed_types()
        self._checked: set[str] = set()
        self._earlier: dict[str, Typestore] = {}

    def deserialise(self, type_name: str, data: bytes) -> Any:
        """CDR -> message.

        Raises:
            BagError: the bytes are no message of this type, or nobody knows the type.
        """
        if type_name not in self._checked:
            self._check(type_name)
            self._checked.add(type_name)
        try:
            if type_name in self._earlier:
                return completed(self._earlier[type_name].deserialize_cdr(data, type_name), type_name, self.store)
            return self.store.deserialize_cdr(data, type_name)
        except _NO_MESSAGE as error:
            raise BagError(f"its {len(data)} bytes are no {type_name} ({error})") from error

    def serialise(self, message: Any) -> bytes:
        """Message of rosbags -> CDR."""
        return bytes(self.store.serialize_cdr(message, message.__msgtype__))

    def _check(self, type_name: str) -> None:
        """Makes sure that the type is known, and that ours is what the bag was recorded with. Raises: BagError."""
        definition = self.definitions.get(type_name)
        if type_name not in self.store.types:
            if definition is None:
                raise BagError(f"the type {type_name} is not known here and the bag does not define it")
            if self.store is _installed_types():  # which other bags use too
                self.store = _new_store()
            _register(self.store, _parsed(type_name, definition))
        elif definition is not None and type_name.startswith(f"{PACKAGE}/"):
            types = _parsed(type_name, definition)
            if type_name not in types or types[type_name][1] != self.store.fielddefs[type_name][1]:
                earlier = earlier_store(type_name, types, self.store)
                if earlier is None:
                    raise BagError(f"the bag was recorded with another version of {type_name} than the one installed")
                self._earlier[type_name] = earlier
        try:
            self.store.get_msgdef(type_name)
        except (KeyError, RecursionError) as error:  # of a type that is missing, or in which it contains itself
            raise BagError(f"the bag's definition of {type_name} is incomplete ({error})") from error


def full_topic(name: str) -> str:
    """The name of a topic from the root: 'joint_states', as some writers put it, is '/joint_states'."""
    return name if name.startswith("/") else f"/{name}"


def full_type(name: str) -> str:
    """The name of a type with its kind: 'sensor_msgs/Image', as ROS 1 and old bags say, is 'sensor_msgs/msg/Image'."""
    package, separator, rest = name.partition("/")
    return f"{package}/msg/{rest}" if separator and "/" not in rest else name


def time_text(time_ns: int) -> str:
    """A log time for people: UTC to the millisecond, and in seconds as `ros2 bag` shows it."""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    try:
        date = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # a year that there is no date for
        return f"{seconds}.{nanoseconds:09d} s"
    return f"{date}.{nanoseconds // 10**6:03d} UTC ({seconds}.{nanoseconds:09d} s)"


def _new_store() -> Typestore:
    find_ros_in_virtual_environment()
    store = get_typestore(Stores.ROS2_JAZZY)
    for file in sorted((share_folder() / "msg").glob("*.msg")):
        store.register(get_types_from_msg(file.read_text(encoding="utf-8"), f"{PACKAGE}/msg/{file.stem}"))
    return store


# Kept because making code for a type takes longer than reading a small bag.
_installed_types = functools.cache(_new_store)


def _parsed(type_name: str, definition: Definition) -> Typesdict:
    """The types in a definition of the bag. Raises: BagError."""
    try:
        if definition.encoding == "ros2idl":
            return get_types_from_idl(definition.text)
        return get_types_from_msg(definition.text, type_name)
    except (TypesysError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise BagError(f"the bag's definition of {type_name} cannot be understood ({reason})") from error


def _register(store: Typestore, types: Typesdict) -> None:
    """Teaches the store types out of a bag.

    rosbags makes Python code of them and runs it, so every name must be a plain identifier. Raises: BagError.
    """
    new = {name: value for name, value in types.items() if name not in store.types}
    for name, (constants, fields) in new.items():
        words = [*name.split("/"), *(constant[0] for constant in constants), *(entry[0] for entry in fields)]
        if not all(word.isidentifier() and word.isascii() for word in words):
            raise BagError(f"the bag's definition of {name!r} holds names that are none")
    try:
        store.register(new)
    except TypesysError as error:
        raise BagError(f"the bag's definitions of {', '.join(new)} cannot be used ({error})") from error
