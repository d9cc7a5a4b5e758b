"""Our own messages in bags from before a field was added: read by the bag's definition, the field filled in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from smolvla_ros.installation import PACKAGE

# By type, the fields added since, and what a message from before says about them: zero is unknown.
_ADDED: dict[str, dict[str, Callable[[Typestore], Any]]] = {
    f"{PACKAGE}/msg/ActionChunk": {
        "image_stamp": lambda store: store.types["builtin_interfaces/msg/Time"](sec=0, nanosec=0),
    },
    f"{PACKAGE}/msg/ExecutionStatus": {
        "last_session": lambda _: 0,
        "last_sequence": lambda _: 0,
        "last_rejection": lambda _: "",
    },
}


def earlier_store(type_name: str, recorded: Typesdict, installed: Typestore) -> Typestore | None:
    """A store that reads the recorded type, if that is the installed one before fields were added; else None."""
    added = _ADDED.get(type_name, {})
    if type_name not in recorded:
        return None
    now = [field for field in installed.fielddefs[type_name][1] if field[0] not in added]
    before = [field for field in recorded[type_name][1] if field[0] not in added]
    if before != now:
        return None
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register({type_name: recorded[type_name]})
    return store


def completed(message: Any, type_name: str, installed: Typestore) -> Any:
    """The message as one of the installed type."""
    added = _ADDED[type_name]
    names = [name for name, _ in installed.fielddefs[type_name][1]]
    values = {
        name: getattr(message, name) if hasattr(message, name) else added[name](installed) for name in names
    }
    return installed.types[type_name](**values)
