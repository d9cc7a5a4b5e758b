"""Damage: what can be read is read, what cannot is named, nothing wrong is passed on where the format can tell.

Nothing here may take long, take much memory or change the bag.
"""

import errno
import os
import shutil
import sqlite3
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
import zstandard
from bag_files import fingerprint, read_all, write_mcap
from mcap.writer import CompressionType
from simulated_bag import message, write_bag

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.reader import open_bag

KILOBYTE = 1000  # not a multiple of sqlite's pages


def read_damaged(file: Path, data: bytes):
    """(messages, defects) of a file with these bytes; the messages are None if it was refused as a whole."""
    file.write_bytes(data)
    before = fingerprint(file.parent)
    try:
        found, defects = read_all(file)
    except BagError as error:
        found, defects = None, [str(error)]
    assert fingerprint(file.parent) == before
    return found, defects


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << (place % 8)
    return bytes(changed)


def flips(data: bytes, count: int):
    """Data with one bit changed: at both ends of a file, where its structure is, and evenly in between."""
    places = {*range(0, 48, 2), *range(len(data) - 48, len(data), 2), *range(0, len(data), len(data) // count)}
    return [flipped(data, place) for place in sorted(places)]


def is_part_of(found, messages) -> bool:
    """Whether these messages, in this order, are some of the messages written."""
    rest = iter(messages)
    return all(any(entry == other for other in rest) for entry in found)


@pytest.fixture(scope="module")
def mcap_files(tmp_path_factory, events):
    """Small mcap files with checksums by name."""
    folder = tmp_path_factory.mktemp("mcap")
    options = {
        "zstd": {},
        "lz4": {"compression": CompressionType.LZ4},
        "uncompressed": {"compression": CompressionType.NONE},
        "unchunked": {"use_chunking": False, "enable_data_crcs": True},
    }
    return {name: write_mcap(folder / f"{name}.mcap", events, **given) for name, given in options.items()}


@pytest.fixture(scope="module")
def database(tmp_path_factory, events):
    folder = tmp_path_factory.mktemp("sqlite3") / "bag"
    write_bag(folder, events, "sqlite3")
    return folder / "bag.db3"


@pytest.mark.parametrize("name", ["zstd", "lz4", "uncompressed", "unchunked"])
def test_an_mcap_file_cut_anywhere_gives_what_lies_before_the_cut(tmp_path, mcap_files, messages, name):
    data = mcap_files[name].read_bytes()
    read = 0
    for size in range(0, len(data), KILOBYTE if name == "zstd" else 7 * KILOBYTE):
        found, defects = read_damaged(tmp_path / "cut.mcap", data[:size])
        assert defects
        if found is not None:
            assert found == messages[: len(found)] or is_part_of(found, messages)
            assert len(found) >= read
            read = len(found)
    assert read > len(messages) * 0.8


def test_a_database_cut_anywhere_gives_whole_messages_only(tmp_path, database, messages):
    data = database.read_bytes()
    most = 0
    for size in range(0, len(data), KILOBYTE):
        found, defects = read_damaged(tmp_path / "cut.db3", data[:size])
        assert "cut off" in defects[0] or found is None
        if found is not None:
            assert is_part_of(found, messages)
            most = max(most, len(found))
    assert most > len(messages) * 0.8


@pytest.mark.parametrize("name", ["zstd", "lz4", "uncompressed"])
def test_a_flipped_bit_is_noticed_where_there_are_checksums(tmp_path, mcap_files, messages, name):
    data = mcap_files[name].read_bytes()
    lost = 0
    for damaged in flips(data, 150 if name == "zstd" else 40):
        found, defects = read_damaged(tmp_path / "flipped.mcap", damaged)
        if found is not None:
            assert is_part_of(found, messages)
            assert found == messages or defects
            lost += found != messages
    assert lost > 10


def test_a_flipped_bit_outside_of_chunks_is_noticed_by_the_checksum_of_all_data(tmp_path, mcap_files, messages):
    data = mcap_files["unchunked"].read_bytes()
    for damaged in flips(data, 40):
        found, defects = read_damaged(tmp_path / "flipped.mcap", damaged)
        assert found is None or found == messages or defects


def test_flipped_bits_without_checksums_give_messages_or_errors_that_name_them(tmp_path, database, events):
    """Bytes that no checksum covers can be wrong without a sign; whatever they are, they are dealt with."""
    write_bag(tmp_path / "plain", events)
    for source in (database, tmp_path / "plain" / "plain.mcap"):
        for damaged in flips(source.read_bytes(), 30):
            file = tmp_path / f"flipped{source.suffix}"
            file.write_bytes(damaged)
            try:
                with open_bag(file) as bag:
                    for recorded in bag.read(bag.topics):
                        try:
                            assert recorded.message is not None
                        except BagError as error:
                            assert str(error).startswith(recorded.topic)
            except BagError as error:
                assert str(file) in str(error)


def test_a_damaged_chunk_is_named_by_topic_and_time_and_left_out(tmp_path, mcap_files, messages):
    data = mcap_files["uncompressed"].read_bytes()
    found, defects = read_damaged(tmp_path / "flipped.mcap", flipped(data, len(data) // 2))
    assert 0 < len(found) < len(messages)
    (defect,) = defects
    assert defect.startswith("flipped.mcap: messages of /")
    assert "/front/image_raw" in defect and "UTC" in defect and "does not match its checksum" in defect


def test_a_recording_that_was_killed_gives_what_was_written(tmp_path, mcap_files, messages):
    data = mcap_files["zstd"].read_bytes()
    found, defects = read_damaged(tmp_path / "killed.mcap", data[: len(data) // 2])
    assert found == messages[: len(found)] and len(found) > 50
    assert "the recording was not closed, or the file was cut off" in defects[0]
    assert "what lies after byte" in defects[1]


def test_the_last_messages_of_a_killed_database_come_out_of_its_log(tmp_path, database, messages):
    """The resilient preset of rosbag2 writes ahead to a second file, which stays when the recorder is killed."""
    open_database = tmp_path / "open.db3"
    shutil.copyfile(database, open_database)
    recorder = sqlite3.connect(open_database)
    recorder.execute("PRAGMA journal_mode=WAL")
    recorder.execute("UPDATE messages SET timestamp = timestamp + 1")
    recorder.commit()
    (tmp_path / "killed").mkdir()
    for name in ("open.db3", "open.db3-wal"):
        shutil.copyfile(tmp_path / name, tmp_path / "killed" / name)
    recorder.close()
    before = fingerprint(tmp_path / "killed")
    found, defects = read_all(tmp_path / "killed" / "open.db3")
    assert found == [(topic, log_ns + 1, data) for topic, log_ns, data in messages]
    assert "open.db3-wal lies beside it" in defects[0]
    assert fingerprint(tmp_path / "killed") == before


def test_a_file_that_cannot_be_read_does_not_spoil_the_others(tmp_path, events, messages):
    write_bag(tmp_path / "bag", events)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    (tmp_path / "bag" / "bag_1.mcap").write_bytes(b"")
    found, defects = read_all(tmp_path / "bag")
    assert found == messages
    assert "bag_1.mcap cannot be read: the file is empty" in defects


def test_a_disk_that_fails_under_way_costs_what_lies_there(tmp_path, mcap_files, messages, monkeypatch):
    path, bad_byte, pread = mcap_files["zstd"], 20_000, os.pread

    def failing_pread(file, count, offset):
        if offset <= bad_byte < offset + count:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(file, count, offset)

    monkeypatch.setattr("os.pread", failing_pread)
    found, defects = read_all(path)
    assert 0 < len(found) < len(messages) and is_part_of(found, messages)
    assert len(defects) == 1 and "Input/output error" in defects[0]


def test_a_compressed_file_cut_off_gives_what_lies_before_the_cut(tmp_path, events, messages):
    write_bag(tmp_path / "bag", events, "mcap", "file")
    data = (tmp_path / "bag" / "bag.mcap.zstd").read_bytes()
    found, defects = read_damaged(tmp_path / "cut.mcap.zstd", data[: len(data) * 3 // 4])
    assert found is None or is_part_of(found, messages)
    assert defects


def test_a_compressed_message_that_is_damaged_is_left_out(tmp_path, events, messages):
    write_bag(tmp_path / "bag", events, "sqlite3", "message")
    database = sqlite3.connect(tmp_path / "bag" / "bag.db3")
    (place, data), = database.execute(
        "SELECT messages.id, data FROM messages JOIN topics ON topic_id = topics.id "
        "WHERE name = '/front/image_raw' LIMIT 1"
    ).fetchall()  # fmt: skip
    database.execute("UPDATE messages SET data = ? WHERE id = ?", (data[:-20], place))
    database.commit()
    database.close()
    found, defects = read_all(tmp_path / "bag")
    assert len(found) == len(messages) - 1
    assert "the message of /front/image_raw at 2026-09-21" in defects[0]


# Lengths that lie


def _chunk_that_claims(size: int, compression: str, content: bytes) -> bytes:
    """An mcap file of one chunk that is said to hold `size` bytes."""
    name = compression.encode()
    chunk = struct.pack("<QQQII", 1, 1, size, 0, len(name)) + name + struct.pack("<Q", len(content)) + content
    header = struct.pack("<I", 4) + b"ros2" + struct.pack("<I", 0)
    records = [(0x01, header), (0x06, chunk), (0x0F, bytes(4)), (0x02, bytes(20))]
    magic = b"\x89MCAP0\r\n"
    return magic + b"".join(struct.pack("<BQ", kind, len(body)) + body for kind, body in records) + magic


def _bomb(size: int) -> bytes:
    """`size` zeros in a zstd frame that does not say how many they are."""
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return b"".join(compressor.compress(bytes(2**20)) for _ in range(size // 2**20)) + compressor.flush()


LIES = {
    "a chunk of an exabyte": _chunk_that_claims(2**60, "zstd", zstandard.compress(b"x" * 100)),
    "a chunk of half a gigabyte": _chunk_that_claims(2**29, "zstd", zstandard.compress(b"x" * 100)),
    "a chunk of unknown size": _chunk_that_claims(2**29, "zstd", _bomb(2**20)),
    "a bomb": _chunk_that_claims(100, "zstd", _bomb(2**30)),
    "an uncompressed chunk of a gigabyte": _chunk_that_claims(2**30, "", b"x" * 100),
    "a record of an exabyte": b"\x89MCAP0\r\n" + struct.pack("<BQ", 0x06, 2**60) + bytes(100),
    "an unknown compression": _chunk_that_claims(100, "brotli", b"x" * 100),
    "a database of a terabyte": b"SQLite format 3\0" + struct.pack(">HBBBBBBII", 4096, 1, 1, 0, 64, 32, 32, 1, 2**28)
    + bytes(8164),
}  # fmt: skip


@pytest.mark.parametrize("data", LIES.values(), ids=LIES)
def test_a_length_that_lies_takes_no_memory(tmp_path, data):
    tracemalloc.start()
    found, defects = read_damaged(tmp_path / "lie", data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is None and defects
    assert peak < 30e6


# Messages


def test_bytes_that_are_no_message_are_named_by_topic_and_time(tmp_path, events):
    write_bag(tmp_path / "bag", events)
    with open_bag(tmp_path / "bag") as bag:
        recorded = next(bag.read(["/joint_states"]))
        broken = type(recorded)(recorded.topic, recorded.type, recorded.log_ns, recorded.data[:40], recorded.types)
        with pytest.raises(BagError, match=r"/joint_states at 2026-09-21 .* its 40 bytes are no sensor_msgs/msg/Joint"):
            _ = broken.message


def test_any_bytes_are_a_message_or_an_error(events):
    """The generated deserialisers of rosbags on 2000 damaged messages of every type."""
    from simulated_bag import types

    kinds = {event.type: types().serialise(event.message) for event in events}
    for type_name, data in kinds.items():
        for seed in range(2000 // len(kinds)):
            place = zlib.crc32(f"{type_name} {seed}".encode())
            damaged = flipped(data, place % len(data)) if seed % 2 else data[: place % len(data)]
            try:
                assert types().deserialise(type_name, damaged) is not None
            except BagError as error:
                assert type_name in str(error)


def test_a_bag_without_messages_is_refused(tmp_path):
    write_mcap(tmp_path / "empty.mcap", [])
    with pytest.raises(BagError, match="has no messages"):
        open_bag(tmp_path / "empty.mcap")


def test_a_topic_without_messages_is_there_and_empty(tmp_path, events):
    from rosbags.rosbag2 import Writer
    from simulated_bag import types

    with Writer(tmp_path / "bag", version=9) as writer:
        writer.add_connection("/silent", "std_msgs/msg/String", typestore=types().store)
        spoken = writer.add_connection("/spoken", "std_msgs/msg/String", typestore=types().store)
        writer.write(spoken, 1, types().serialise(message("std_msgs/msg/String", data="x")))
    with open_bag(tmp_path / "bag") as bag:
        assert bag.topics["/silent"].messages == 0
        assert list(bag.read(["/silent"])) == []
        assert bag.defects == []
