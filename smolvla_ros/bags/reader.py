"""Opens a bag: topics, types, and messages in the order of their log times."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

from rosbags.rosbag2 import Reader, ReaderError

from .errors import BagError
from .messages import Definition, MessageTypes, Recorded, Topic


class Bag:
    """An open bag; a context manager, made by `open_bag`.

    Attributes:
        path: the folder or file that was opened.
        topics: by name.
        start_ns, end_ns: log times of the first and of the last message.
    """

    path: Path
    topics: dict[str, Topic]
    start_ns: int
    end_ns: int

    def __init__(self, path: Path):
        self.path = path
        self._open = ExitStack()
        self._defects: list[str] = []
        try:
            self._reader = self._open.enter_context(Reader(path))
        except ReaderError as error:
            raise BagError(f"{path}: {error}") from error
        connections = self._reader.connections
        self.topics = {
            name: Topic(name, info.msgtype or "", info.msgcount) for name, info in sorted(self._reader.topics.items())
        }
        self.start_ns, self.end_ns = self._reader.start_time, self._reader.end_time - 1
        self.types = MessageTypes({c.msgtype: Definition("ros2msg", c.msgdef.data) for c in connections})

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files."""
        self._open.close()

    def read(
        self, topics: Collection[str], start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[Recorded]:
        """The messages of these topics with start_ns <= log time <= end_ns, in the order of their log times.

        Messages of one log time come in the order in which they were written.

        Raises:
            BagError: a topic that the bag does not have.
        """
        unknown = sorted(set(topics) - set(self.topics))
        if unknown:
            raise BagError(f"{self.path} has no topic {', '.join(unknown)}; it has {', '.join(self.topics)}")
        return self._messages(set(topics), start_ns, end_ns)

    def _messages(self, topics: set[str], start_ns: int | None, end_ns: int | None) -> Iterator[Recorded]:
        connections = [c for c in self._reader.connections if c.topic in topics]
        if not connections:
            return
        stop = None if end_ns is None else end_ns + 1
        for connection, log_ns, data in self._reader.messages(connections, start_ns, stop):
            yield Recorded(connection.topic, connection.msgtype, log_ns, bytes(data), self.types)

    @property
    def defects(self) -> list[str]:
        """Sentences about the damage met so far; complete after everything was read. Empty: none."""
        return list(self._defects)

    def definition(self, type_name: str) -> str:
        """The definition of a type as the bag holds it; '' if it holds none."""
        definition = self.types.definitions.get(type_name)
        return definition.text if definition else ""


def open_bag(path: Path | str) -> Bag:
    """Opens a rosbag2 folder, or a single .mcap or .db3 file, for reading; nothing in it is ever changed.

    Raises:
        BagError: there is nothing to be read.
    """
    return Bag(Path(path))
