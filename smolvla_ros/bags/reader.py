"""Opens a bag: topics, types, and messages in the order of their log times.

One way for all bags, whole or damaged: its files are split into blocks (`storage`), which are read as they are due.
rosbags' own reader is not used, because it refuses what was not closed, does not order messages across files or out of
place, and gives up at the first damage; its message types are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

from .errors import BagError
from .messages import Definition, MessageTypes, Recorded, Topic, time_text
from .storage.blocks import Block, Channel, Report, StorageFile, Stored
from .storage.compression import ZSTD_MAGIC, DamageError, decompress_message
from .storage.folder import find_files, open_file
from .storage.metadata import Metadata
from .storage.ordering import in_time_order
from .storage.strays import without_strays

# Of the sentences about a bag, so many are kept, and so many told.
_MAX_DEFECTS = 10_000
_MAX_TOLD = 50


class Bag:
    """An open bag; a context manager, made by `open_bag`. Not thread-safe; iterators may be used side by side.

    Attributes:
        path: the folder or file that was opened.
        topics: by name; only those with messages of ROS 2.
        start_ns, end_ns: log times of the first and of the last message.
    """

    path: Path
    topics: dict[str, Topic]
    start_ns: int
    end_ns: int

    def __init__(self, path: Path):
        self.path = path
        self._defects: dict[str, None] = {}  # an ordered set
        self._resources = ExitStack()
        try:
            files, metadata = find_files(path, self._report)
            self._files = self._open_files(files)
            self._set_topics()
            blocks = [(file, block) for file in self._files for block in file.blocks]
            self._blocks = without_strays(blocks, self._report)
            if not self._blocks:
                raise BagError(f"{path} has no messages{self._told()}")
            if not self.topics:
                raise BagError(f"{path} has no messages of ROS 2{self._told()}")
        except OSError as error:
            self.close()
            raise BagError(f"{path} cannot be read: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise
        self._compare_counts(metadata)
        self.start_ns = min(block.start_ns for _, block in self._blocks)
        self.end_ns = max(block.end_ns for _, block in self._blocks)

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files and removes what was decompressed."""
        self._resources.close()

    def read(
        self, topics: Collection[str], start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[Recorded]:
        """The messages of these topics with start_ns <= log time <= end_ns, in the order of their log times.

        Messages of one log time come in the order in which they were written. Damaged parts are left out and told in
        `defects`. Memory stays below a bound, see `storage.ordering`.

        Raises:
            BagError: a topic that the bag does not have.
        """
        unknown = sorted(set(topics) - set(self.topics))
        if unknown:
            raise BagError(f"{self.path} has no topic {', '.join(unknown)}; it has {', '.join(self.topics)}")
        first_ns = self.start_ns if start_ns is None else start_ns
        last_ns = self.end_ns if end_ns is None else end_ns
        return self._messages({topic: self.topics[topic].type for topic in topics}, first_ns, last_ns)

    @property
    def defects(self) -> list[str]:
        """Sentences about damage met so far; complete when everything was read. Empty: none."""
        told = list(self._defects)
        more = len(told) - _MAX_TOLD
        return [*told[:_MAX_TOLD], f"and {more} more like these"] if more > 0 else told

    def definition(self, type_name: str) -> str:
        """The definition of a type as the bag holds it; '' if it holds none."""
        definition = self.types.definitions.get(type_name)
        return definition.text if definition else ""

    # Opening.

    def _report(self, text: str) -> None:
        if len(self._defects) < _MAX_DEFECTS:
            self._defects[text] = None

    def _report_for(self, file: Path) -> Report:
        return lambda text: self._report(f"{file.name}: {text}")

    def _told(self) -> str:
        return "".join(f"; {text}" for text in self.defects)

    def _open_files(self, files: list[Path]) -> list[StorageFile]:
        opened = []
        for file in files:
            try:
                opened.append(open_file(file, self._report_for(file), self._resources))
            except DamageError as error:
                self._report(f"{file.name} cannot be read: {error}")
            except OSError as error:
                self._report(f"{file.name} cannot be read: {error.strerror or error}")
        if not opened:
            raise BagError(f"{self.path} cannot be read{self._told()}")
        return opened

    def _set_topics(self) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        definitions: dict[str, Definition] = {}
        for file in self._files:
            for number, channel in file.channels.items():
                if channel.encoding != "cdr":
                    self._report(f"{channel.topic} is left out: its messages are encoded as {channel.encoding!r}, "
                                 "expected 'cdr'")  # fmt: skip
                    continue
                counts[channel.topic, channel.type] += file.counts.get(number, 0)
                if channel.definition is not None:
                    definitions.setdefault(channel.type, channel.definition)
        self.topics = {}
        for (name, type_name), messages in sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1])):
            if name not in self.topics:
                self.topics[name] = Topic(name, type_name, messages)
            else:
                self._report(f"{name}: what is of type {type_name} ({messages}) is left out, "
                             f"most is {self.topics[name].type}")  # fmt: skip
        self.types = MessageTypes(definitions)

    def _compare_counts(self, metadata: Metadata) -> None:
        for name, expected in metadata.messages.items():
            found = self.topics[name].messages if name in self.topics else 0
            if found != expected:
                self._report(f"metadata.yaml counts {expected} messages of {name}, the files have {found}")

    # Reading.

    def _messages(self, types: dict[str, str], start_ns: int, end_ns: int) -> Iterator[Recorded]:
        channels = {id(file): _channels(file, types) for file in self._files}

        def load(file: StorageFile, block: Block) -> list[Stored]:
            stored = file.load(block, channels[id(file)])
            if not block.is_shared:
                self._report_misplaced(file, block, stored)
            first_ns, last_ns = max(start_ns, block.start_ns), min(end_ns, block.end_ns)
            return [message for message in stored if first_ns <= message.log_ns <= last_ns]

        blocks = [
            (file, block)
            for file, block in self._blocks
            if block.start_ns <= end_ns
            and block.end_ns >= start_ns
            and (block.channels is None or not block.channels.isdisjoint(channels[id(file)]))
        ]
        for file, message in in_time_order(blocks, load):
            topic = file.channels[message.channel].topic
            data = message.data
            if data.startswith(ZSTD_MAGIC):  # no CDR begins like this
                try:
                    data = decompress_message(data)
                except DamageError as error:
                    when = time_text(message.log_ns)
                    self._report(f"{file.path.name}: the message of {topic} at {when} is left out: {error}")
                    continue
            yield Recorded(topic, types[topic], message.log_ns, data, self.types)

    def _report_misplaced(self, file: StorageFile, block: Block, stored: list[Stored]) -> None:
        for message in stored:
            if not block.start_ns <= message.log_ns <= block.end_ns:
                self._report(
                    f"{file.path.name}: a message of {file.channels[message.channel].topic} with the log time "
                    f"{time_text(message.log_ns)} is left out: it lies among those from "
                    f"{time_text(block.start_ns)} to {time_text(block.end_ns)}"
                )


def open_bag(path: Path | str) -> Bag:
    """Opens a rosbag2 folder, or a single .mcap or .db3 file, for reading; nothing in it is ever changed.

    Raises:
        BagError: there is nothing to be read.
    """
    return Bag(Path(path))


def _channels(file: StorageFile, types: dict[str, str]) -> frozenset[int]:
    """The channels of a file that carry these topics with these types."""

    def is_wanted(channel: Channel) -> bool:
        return channel.encoding == "cdr" and types.get(channel.topic) == channel.type

    return frozenset(number for number, channel in file.channels.items() if is_wanted(channel))
