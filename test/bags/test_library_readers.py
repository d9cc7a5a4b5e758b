"""What today's readers of `rosbags` and `mcap` make of the bags that ours reads: why there is one of our own.

The table in docs/explanation/decisions.md. A case that fails here because a library has learnt it is good news: what
ours does for it can go.
"""

import pytest
import yaml
from bag_files import read_all, write_mcap
from mcap.reader import make_reader
from mcap.writer import CompressionType
from rosbags.highlevel import AnyReader
from simulated_bag import types, write_bag


def by_rosbags(path):
    with AnyReader([path], default_typestore=types().store) as reader:
        return [(connection.topic, time, bytes(data)) for connection, time, data in reader.messages()]


def by_mcap(path):
    with path.open("rb") as file:
        return [(channel.topic, message.log_time, message.data)
                for _, channel, message in make_reader(file, validate_crcs=True).iter_messages()]  # fmt: skip


def folder(path, events, storage="mcap", compression=None):
    write_bag(path / "bag", events, storage, compression)
    return path / "bag"


def changed(file, change):
    data = bytearray(file.read_bytes())
    file.write_bytes(change(data) or data)
    return file


def half(data):
    return data[: len(data) // 2]


def flip(data):
    data[len(data) // 2] ^= 4


def blank_page(data):
    page = len(data) // 2 // 4096 * 4096
    data[page : page + 4096] = b"\xff" * 4096


def database(path, events):
    return next(folder(path, events, "sqlite3").glob("*.db3"))


def without_metadata(path, events):
    bag = folder(path, events)
    (bag / "metadata.yaml").unlink()
    return bag


def with_another_file(path, events, more):
    """A bag whose second file has messages that lie between those of the first."""
    bag = folder(path, events)
    if more:
        write_mcap(bag / "bag_1.mcap", more)
    else:
        (bag / "bag_1.mcap").write_bytes(b"")
    content = yaml.safe_load((bag / "metadata.yaml").read_text())
    information = content["rosbag2_bagfile_information"]
    information["relative_file_paths"].append("bag_1.mcap")
    information["files"].append(dict(information["files"][0], path="bag_1.mcap"))
    (bag / "metadata.yaml").write_text(yaml.safe_dump(content))
    return bag


WHOLE = {
    "mcap": lambda path, events: folder(path, events),
    "mcap with zstd chunks": lambda path, events: folder(path, events, "mcap", "storage"),
    "sqlite3": lambda path, events: folder(path, events, "sqlite3"),
    "a compressed file": lambda path, events: folder(path, events, "sqlite3", "file"),
    "compressed messages": lambda path, events: folder(path, events, "sqlite3", "message"),
    "one mcap file": lambda path, events: write_mcap(path / "one.mcap", events),
    "one database": database,
    "no chunks": lambda path, events: write_mcap(path / "one.mcap", events, use_chunking=False),
    "topic by topic": lambda path, events: write_mcap(path / "one.mcap", sorted(events, key=lambda e: e.topic)),
}
NOT_BY_ROSBAGS = {
    "no metadata.yaml": without_metadata,
    "half of a metadata.yaml": lambda path, events: changed(folder(path, events) / "metadata.yaml", half).parent,
    "no chunks and out of order": lambda path, events: write_mcap(
        path / "one.mcap", [*events[50:], *events[:50]], use_chunking=False
    ),
    "a recorder that was killed": lambda path, events: changed(write_mcap(path / "one.mcap", events), half),
    "a wrong bit": lambda path, events: changed(
        write_mcap(path / "one.mcap", events, compression=CompressionType.NONE), flip
    ),
    "half of a database": lambda path, events: changed(database(path, events), half),
    "a damaged page of a database": lambda path, events: changed(database(path, events), blank_page),
    "an empty second file": lambda path, events: with_another_file(path, events, []),
    "files that overlap in time": lambda path, events: with_another_file(path, events[::2], events[1::2]),
}
NOT_BY_MCAP = ("a recorder that was killed", "a wrong bit")


@pytest.mark.parametrize("case", WHOLE)
def test_of_a_whole_bag_our_reader_gives_what_rosbags_gives(tmp_path, events, case):
    path = WHOLE[case](tmp_path, events)
    found, defects = read_all(path)
    assert sorted(found) == sorted(by_rosbags(path)) and defects == []


@pytest.mark.parametrize("case", NOT_BY_ROSBAGS)
def test_rosbags_refuses_or_mixes_up_what_ours_reads_in_order(tmp_path, events, messages, case):
    path = NOT_BY_ROSBAGS[case](tmp_path, events)
    found, _ = read_all(path)
    times = [time for _, time, _ in found]
    assert len(found) > 0.3 * len(messages) and set(found) <= set(messages) and times == sorted(times)
    try:
        theirs = by_rosbags(path)
    except Exception:  # whatever it raises
        theirs = None
    assert theirs is None or [time for _, time, _ in theirs] != sorted(time for _, time, _ in messages)


@pytest.mark.parametrize("case", NOT_BY_MCAP)
def test_the_reader_of_mcap_gives_up_where_ours_goes_on(tmp_path, events, case):
    with pytest.raises(Exception):  # noqa: B017  (whatever it raises)
        by_mcap(NOT_BY_ROSBAGS[case](tmp_path, events))


def test_a_metadata_file_that_stands_for_a_billion_values_is_opened_by_ours_at_once(tmp_path, events, messages):
    """rosbags hands it to ruamel.yaml as it is."""
    bag = folder(tmp_path, events)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    text = "\n".join([*lines, "rosbag2_bagfile_information: {relative_file_paths: *a8, topics_with_message_count: []}"])
    (bag / "metadata.yaml").write_text(text)
    found, defects = read_all(bag)
    assert found == messages and "has the alias" in defects[0]
