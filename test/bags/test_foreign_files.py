"""What is no bag, what comes from elsewhere, and what the installation does not know: one clear sentence each."""

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bag_events import header, types
from bag_files import fingerprint, messages_of, read_all, write_mcap
from mcap.writer import Writer
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from simulated_bag import Event, message, write_bag

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.reader import open_bag

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def ros1_bag(path: Path) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(path) as writer:
        connection = writer.add_connection("/words", "std_msgs/msg/String", typestore=store)
        words = store.types["std_msgs/msg/String"](data="x")
        writer.write(connection, 1, store.serialize_ros1(words, "std_msgs/msg/String"))


def other_database(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE photos (id INTEGER, data BLOB)")
    database.commit()
    database.close()


def folder_of_bags(path: Path) -> None:
    (path / "monday").mkdir(parents=True)
    (path / "monday" / "metadata.yaml").write_text("x")


def folder_of(name: str, content: bytes):
    def make(path: Path) -> None:
        path.mkdir()
        (path / name).write_bytes(content)

    return make


FOREIGN = {
    "missing": (lambda path: None, "does not exist; expected the folder of a bag, or an .mcap or .db3 file"),
    "empty.mcap": (lambda path: path.touch(), "the file is empty"),
    "text.mcap": (lambda path: path.write_text("Dear diary"), "neither mcap nor sqlite3: it begins with b'Dear dia'"),
    "picture.db3": (lambda path: path.write_bytes(PNG), "neither mcap nor sqlite3: it begins with b'\\x89PNG"),
    "noetic.bag": (ros1_bag, "a bag of ROS 1; convert it with `rosbags-convert --src FILE.bag --dst FOLDER`"),
    "pointer.mcap": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "a pointer of Git LFS in place of the file; get it with `git lfs pull`",
    ),
    "metadata.yaml": (
        lambda path: path.write_text("rosbag2_bagfile_information:\n"), "the metadata of a bag; give its folder"
    ),
    "photos.db3": (other_database, "a database without the tables of a bag; it has photos"),
    "nothing": (lambda path: path.mkdir(), "is no bag: no metadata.yaml, .mcap or .db3 file in it, but nothing"),
    "pictures": (folder_of("a.png", PNG), "is no bag: no metadata.yaml, .mcap or .db3 file in it, but a.png"),
    "bags": (folder_of_bags, "is no bag, but holds some: monday"),
    "only_metadata": (folder_of("metadata.yaml", b"rosbag2_bagfile_information: {}"), "is no bag"),
    "renamed": (folder_of("bag.mcap", PNG), "bag.mcap cannot be read: neither mcap nor sqlite3"),
    "queue": (os.mkfifo, "is neither a folder nor a file"),
    "queues": (lambda path: (path.mkdir(), os.mkfifo(path / "bag.mcap")), "bag.mcap cannot be read: not a file"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_bag_is_refused_in_one_sentence_that_names_it(tmp_path, name):
    make, expected = FOREIGN[name]
    path = tmp_path / name
    make(path)
    with pytest.raises(BagError) as caught:
        open_bag(path)
    assert str(path) in str(caught.value) and expected in str(caught.value)


def test_a_file_that_may_not_be_read_is_refused_by_name(tmp_path, events):
    write_bag(tmp_path / "bag", events)
    tmp_path.chmod(0o755)
    (tmp_path / "bag" / "bag.mcap").chmod(0)
    script = """
import codecs, os, sys
from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.reader import open_bag
codecs.lookup("utf-8-sig")  # the codec is imported at its first use, and Python itself may be closed to others
if os.geteuid() == 0:
    os.chdir("/")
    os.seteuid(65534)
for path in sys.argv[1:]:
    try:
        open_bag(path)
    except BagError as error:
        print(error)
"""
    # The folders above tmp_path are closed to other users, so that user would find nothing: a copy in the open.
    shared = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    try:
        shared.chmod(0o755)
        shutil.copytree(tmp_path / "bag", shared / "bag")
        (shared / "bag" / "bag.mcap").chmod(0)
        paths = [str(shared / "bag"), str(shared / "bag" / "bag.mcap")]
        run = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    finally:
        shutil.rmtree(shared)
    assert [line.count("Permission denied") for line in run.stdout.splitlines()] == [1, 1]
    assert all(path in line for path, line in zip(paths, run.stdout.splitlines(), strict=True))


def test_the_bag_is_never_changed_nor_anything_left_beside_it(tmp_path, events):
    """Also not by sqlite, which leaves -wal and -shm files beside a database in that mode."""
    write_bag(tmp_path / "bag", events, "sqlite3")
    database = sqlite3.connect(tmp_path / "bag" / "bag.db3")
    database.execute("PRAGMA journal_mode=WAL")
    database.close()
    before = fingerprint(tmp_path)
    with open_bag(tmp_path / "bag") as bag:
        assert len(list(bag.read(bag.topics))) == len(events)
        assert fingerprint(tmp_path) == before
    assert fingerprint(tmp_path) == before


def test_what_was_decompressed_is_gone_afterwards(tmp_path, events, monkeypatch):
    write_bag(tmp_path / "bag", events, "mcap", "file")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    with open_bag(tmp_path / "bag"):
        assert [file.name for file in (tmp_path / "scratch").rglob("*.mcap")] == ["bag.mcap"]
    assert not list((tmp_path / "scratch").iterdir())


# Types and encodings.


CUSTOM = "float64 temperature\nuint8[] data\nstd_msgs/Header header\n"


def custom_bag(path: Path, definition: str, name: str = "their_msgs/msg/Odd") -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(definition, name))
    kind = store.types
    stamp = kind["builtin_interfaces/msg/Time"](sec=1, nanosec=2)
    odd = kind[name](temperature=36.6, data=np.arange(3, dtype=np.uint8),
                     header=kind["std_msgs/msg/Header"](stamp=stamp, frame_id="x"))  # fmt: skip
    with Ros2Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/odd", name, typestore=store)
        writer.write(connection, 1, store.serialize_cdr(odd, name))


def test_a_type_that_only_the_bag_knows_is_read_by_its_definition(tmp_path):
    custom_bag(tmp_path / "bag", CUSTOM)
    with open_bag(tmp_path / "bag") as bag:
        (recorded,) = bag.read(["/odd"])
        assert recorded.message.temperature == 36.6
        assert "float64 temperature" in bag.definition("their_msgs/msg/Odd")


def test_a_type_of_one_bag_is_unknown_to_the_next(tmp_path):
    custom_bag(tmp_path / "bag", CUSTOM)
    with open_bag(tmp_path / "bag") as bag:
        assert [recorded.message.temperature for recorded in bag.read(["/odd"])] == [36.6]
    with open_bag(tmp_path / "bag") as bag:
        assert "their_msgs/msg/Odd" not in bag.types.store.types


def write_channel(file: Path, type_name: str, definition: str, data: bytes, encoding: str = "cdr") -> Path:
    """An mcap file with one message of any type and encoding on /odd."""
    writer = Writer(str(file))
    writer.start(profile="ros2")
    schema = writer.register_schema(type_name, "ros2msg", definition.encode())
    channel = writer.register_channel("/odd", encoding, schema)
    writer.add_message(channel, log_time=1, publish_time=1, data=data)
    writer.finish()
    return file


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("", "is not known here and the bag does not define it|bytes are no"),
        ("float64 x\n)no definition", "definition of their_msgs/msg/Odd cannot be understood"),
        ("unknown_msgs/Thing thing", "definition of their_msgs/msg/Odd is incomplete .*unknown_msgs/msg/Thing"),
        ("their_msgs/Odd inner", "definition of their_msgs/msg/Odd is incomplete"),
    ],
)
def test_a_type_that_nobody_knows_is_refused_message_by_message(tmp_path, definition, expected):
    file = write_channel(tmp_path / "bag.mcap", "their_msgs/msg/Odd", definition, b"\0\1\0\0" + bytes(8))
    with open_bag(file) as bag:
        (recorded,) = bag.read(["/odd"])
        with pytest.raises(BagError, match=expected) as caught:
            _ = recorded.message
    assert str(caught.value).startswith("/odd at 1970-01-01")


@pytest.mark.parametrize("name", ["a/msg/B:\n  1\nimport os; os.abort()\nclass C", "a/msg/B(print)", "x y/msg/Z", ""])
def test_the_name_of_a_type_never_becomes_code(tmp_path, name):
    """rosbags writes Python code for a type and runs it."""
    file = write_channel(tmp_path / "bag.mcap", name, "float64 x\n", b"\0\1\0\0" + bytes(8))
    with open_bag(file) as bag:
        (recorded,) = bag.read(["/odd"])
        with pytest.raises(BagError, match="holds names that are none|cannot be understood|is incomplete"):
            _ = recorded.message


def test_chunks_from_before_they_had_an_image_stamp_are_read_with_that_stamp_unknown(tmp_path):
    store, kind = types().store, "smolvla_ros/msg/ActionChunk"
    earlier = [field for field in store.fielddefs[kind][1] if field[0] != "image_stamp"]
    old = get_typestore(Stores.ROS2_JAZZY)
    old.register({kind: ([], earlier)})
    text, _ = old.generate_msgdef(kind, ros_version=2)
    chunk = old.types[kind](
        header=header(5 * 10**9), session=7, sequence=3, joint_names=["a"], step=message(
            "builtin_interfaces/msg/Duration", sec=0, nanosec=10**7), rows=2, positions=np.array([0.5, 0.25]),
        frozen_rows=0, instruction="go", instruction_id=1, inference_s=0.1, latency_s=0.2,
    )  # fmt: skip
    file = write_channel(tmp_path / "bag.mcap", kind, text, bytes(old.serialize_cdr(chunk, kind)))
    with open_bag(file) as bag:
        (recorded,) = bag.read(["/odd"])
        read = recorded.message
    assert (read.session, read.sequence, read.header.stamp.sec, read.latency_s) == (7, 3, 5, pytest.approx(0.2))
    assert (read.image_stamp.sec, read.image_stamp.nanosec) == (0, 0)
    assert read.positions.tolist() == [0.5, 0.25]


def test_our_own_messages_of_another_version_are_refused(tmp_path):
    file = write_channel(
        tmp_path / "bag.mcap", "smolvla_ros/msg/ActionChunk", "uint64 session\n", b"\0\1\0\0" + bytes(8)
    )
    with open_bag(file) as bag:
        (recorded,) = bag.read(["/odd"])
        with pytest.raises(BagError, match="recorded with another version of smolvla_ros/msg/ActionChunk"):
            _ = recorded.message


def test_an_encoding_that_is_not_of_ros_2_is_named_and_left_out(tmp_path):
    file = write_channel(tmp_path / "bag.mcap", "foxglove.Grid", "", b"{}", encoding="json")
    with pytest.raises(BagError, match=r"no messages of ROS 2; /odd is left out: .* encoded as 'json', expected 'cdr'"):
        open_bag(file)


def test_types_named_as_in_ros_1_are_the_same_types(tmp_path):
    words = message("std_msgs/msg/String", data="x")
    (_, _, data), = messages_of([Event("/odd", 1, words)])
    with open_bag(write_channel(tmp_path / "bag.mcap", "std_msgs/String", "string data\n", data)) as bag:
        assert bag.topics["/odd"].type == "std_msgs/msg/String"
        assert [recorded.message.data for recorded in bag.read(["/odd"])] == ["x"]


def test_records_of_an_mcap_file_may_be_padded(tmp_path):
    """The specification lets writers append bytes to records, so that later versions can append fields."""
    (_, _, data), = messages_of([Event("/odd", 1, message("std_msgs/msg/String", data="x"))])

    def text(words: str) -> bytes:
        return struct.pack("<I", len(words)) + words.encode()

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("<BQ", kind, len(content)) + content

    padding = bytes(5)
    schema = struct.pack("<H", 1) + text("std_msgs/msg/String") + text("ros2msg") + text("string data") + padding
    channel = struct.pack("<HH", 0, 1) + text("/odd") + text("cdr") + struct.pack("<I", 0) + padding
    inner = record(3, schema) + record(4, channel) + record(5, struct.pack("<HIQQ", 0, 0, 1, 1) + data)
    chunk = struct.pack("<QQQI", 1, 1, len(inner), zlib.crc32(inner)) + text("") + struct.pack("<Q", len(inner)) + inner
    magic = b"\x89MCAP0\r\n"
    parts = [record(1, text("ros2") + text("") + padding), record(6, chunk + padding), record(0x90, b"private"),
             record(0x0F, bytes(4) + padding), record(2, bytes(20))]  # fmt: skip
    (tmp_path / "bag.mcap").write_bytes(magic + b"".join(parts) + magic)
    assert read_all(tmp_path / "bag.mcap") == ([("/odd", 1, data)], [])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_topics_written_without_a_leading_slash_are_found(tmp_path, events, messages, storage):
    write_bag(tmp_path / "bag", [replace(event, topic=event.topic[1:]) for event in events], storage)
    assert read_all(tmp_path / "bag") == (messages, [])


def test_of_two_types_on_one_topic_the_one_with_more_messages_is_read(tmp_path):
    words = [Event("/odd", time, message("std_msgs/msg/String", data="x")) for time in (1, 2)]
    number = Event("/odd", 3, message("std_msgs/msg/Bool", data=True))
    file = tmp_path / "bag"
    with Ros2Writer(file, version=9) as writer:
        from simulated_bag import types

        for event in [*words, number]:
            connections = {c.msgtype: c for c in writer.connections}
            connection = connections.get(event.type) or writer.add_connection(
                "/odd", event.type, typestore=types().store
            )
            writer.write(connection, event.log_ns, types().serialise(event.message))
    found, defects = read_all(file)
    assert found == messages_of(words)
    assert "/odd: what is of type std_msgs/msg/Bool (1) is left out, most is std_msgs/msg/String" in defects


def test_a_bag_of_a_robot_with_many_topics_is_read(tmp_path, events):
    kind = "tf2_msgs/msg/TFMessage"
    others = [Event(f"/tf{number}", events[0].log_ns + number, message(kind, transforms=[])) for number in range(300)]
    found, defects = read_all(write_mcap(tmp_path / "bag.mcap", [*events, *others]))
    assert len(found) == len(events) + 300 and not defects


def test_a_command_ends_in_one_line_and_exit_code_2(tmp_path):
    run = subprocess.run(
        [Path(sys.executable).parent / "smolvla-ros", "replay", tmp_path / "no_bag", "--robot", "so101_sim", "--out",
         tmp_path / "out"], capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stderr.startswith("smolvla-ros replay: ") and run.stderr.count("\n") == 1
    assert "no_bag does not exist" in run.stderr
