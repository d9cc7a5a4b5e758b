"""Whole bags: every storage and compression gives the same messages in the same order."""

import random
import shutil
from dataclasses import replace

import pytest
import yaml
from bag_files import fingerprint, messages_of, read_all, write_mcap
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType
from simulated_bag import Event, message, write_bag

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.storage.blocks import Block, Stored
from smolvla_ros.bags.storage.ordering import in_time_order

FORMS = [
    (storage, compression)
    for storage in ("mcap", "sqlite3")
    for compression in (None, "file", "message", "storage")
    if (storage, compression) != ("sqlite3", "storage")
]

MCAP_OPTIONS = {
    "zstd": {},
    "lz4": {"compression": CompressionType.LZ4},
    "no compression": {"compression": CompressionType.NONE},
    "no chunks": {"use_chunking": False},
    "no chunks, checksum": {"use_chunking": False, "enable_data_crcs": True},
    "no checksums": {"enable_crcs": False},
    "no statistics": {"use_statistics": False},
    "no index": {"index_types": IndexType.NONE},
    "no chunk index": {"index_types": IndexType.MESSAGE},
    "no message index": {"index_types": IndexType.CHUNK},
    "no channels in the summary": {"repeat_channels": False, "repeat_schemas": False},
    "one chunk": {"chunk_size": 2**30},
    "a chunk for each message": {"chunk_size": 1},
}


@pytest.mark.parametrize(("storage", "compression"), FORMS)
def test_every_storage_and_compression_gives_the_messages_that_were_written(
    tmp_path, events, messages, storage, compression
):
    write_bag(tmp_path / "bag", events, storage, compression)
    before = fingerprint(tmp_path)
    assert read_all(tmp_path / "bag") == (messages, [])
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize("options", MCAP_OPTIONS.values(), ids=MCAP_OPTIONS)
def test_an_mcap_file_is_read_whatever_its_writer_left_out(tmp_path, events, messages, options):
    assert read_all(write_mcap(tmp_path / "bag.mcap", events, **options)) == (messages, [])


@pytest.mark.parametrize(("storage", "compression"), FORMS)
def test_a_single_file_is_read_without_its_folder(tmp_path, events, messages, storage, compression):
    write_bag(tmp_path / "bag", events, storage, compression)
    (file,) = (file for file in (tmp_path / "bag").iterdir() if file.name != "metadata.yaml")
    assert read_all(file) == (messages, [])


def test_a_bag_tells_its_topics_types_counts_and_times(tmp_path, events):
    write_bag(tmp_path / "bag", events)
    with open_bag(tmp_path / "bag") as bag:
        assert bag.topics["/joint_states"].type == "sensor_msgs/msg/JointState"
        assert bag.topics["/joint_states"].messages == sum(event.topic == "/joint_states" for event in events)
        assert list(bag.topics) == sorted({event.topic for event in events})
        assert (bag.start_ns, bag.end_ns) == (events[0].log_ns, events[-1].log_ns)


@pytest.mark.parametrize(("storage", "compression"), FORMS)
def test_a_part_of_the_topics_and_of_the_time_is_read(tmp_path, events, messages, storage, compression):
    write_bag(tmp_path / "bag", events, storage, compression)
    start_ns, end_ns = events[100].log_ns, events[200].log_ns
    topics = {"/joint_states", "/wrist/image_raw"}
    with open_bag(tmp_path / "bag") as bag:
        found = [(recorded.topic, recorded.log_ns, recorded.data) for recorded in bag.read(topics, start_ns, end_ns)]
    assert found == [entry for entry in messages[100:201] if entry[0] in topics]


def test_messages_have_the_attributes_of_rclpy(tmp_path, events):
    write_bag(tmp_path / "bag", events)
    wanted = {"/joint_states", "/front/image_raw", "/action_chunk", "/execution_status", "/instruction"}
    with open_bag(tmp_path / "bag") as bag:
        first = {}
        for recorded in bag.read(wanted):
            first.setdefault(recorded.topic, recorded.message)
    assert first["/joint_states"].name[0] == "shoulder_pan"
    assert len(first["/joint_states"].position) == 6
    assert first["/front/image_raw"].header.stamp.sec == 1_790_000_000
    assert len(first["/front/image_raw"].data) == 24 * 24 * 3
    assert first["/action_chunk"].rows * 6 == len(first["/action_chunk"].positions)
    assert first["/execution_status"].FOLLOWING == 2
    assert first["/instruction"].data == "touch the red cube"


def test_rclpy_reads_the_bytes_of_a_bag(tmp_path, events):
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import JointState

    write_bag(tmp_path / "bag", events)
    with open_bag(tmp_path / "bag") as bag:
        recorded = next(bag.read(["/joint_states"]))
    theirs = deserialize_message(recorded.data, JointState)
    assert (list(theirs.name), list(theirs.position)) == (recorded.message.name, list(recorded.message.position))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_bag_in_several_files_is_one_bag(tmp_path, events, messages, storage):
    """More than ten files, whose names do not sort as their numbers; the last messages stand in the first file."""
    bag, size = tmp_path / "bag", len(events) // 12
    bag.mkdir()
    first, last = events[:-size], events[-size:]
    parts = [last, *(first[start : start + size] for start in range(0, len(first), size))]
    for number, part in enumerate(parts):
        write_bag(tmp_path / "part", part, storage)
        suffix = {"mcap": "mcap", "sqlite3": "db3"}[storage]
        shutil.move(tmp_path / "part" / f"part.{suffix}", bag / f"bag_{number}.{suffix}")
        shutil.rmtree(tmp_path / "part")
    assert len(parts) > 10
    found, defects = read_all(bag)
    assert found == messages
    assert len(defects) == 1 and "metadata.yaml is missing" in defects[0]


@pytest.mark.parametrize("form", FORMS[:1] + FORMS[4:5])
def test_messages_written_in_any_order_come_in_the_order_of_their_times(tmp_path, events, messages, form):
    shuffled = list(events)
    random.Random(0).shuffle(shuffled)
    write_bag(tmp_path / "bag", shuffled, *form)
    found, defects = read_all(tmp_path / "bag")
    assert [log_ns for _, log_ns, _ in found] == sorted(event.log_ns for event in events)
    assert sorted(found) == sorted(messages) and not defects


def test_messages_of_one_time_come_in_the_order_in_which_they_were_written(tmp_path):
    words = [Event(f"/{number % 3}", 10**9, message("std_msgs/msg/String", data=str(number))) for number in range(50)]
    write_mcap(tmp_path / "bag.mcap", words, chunk_size=100)
    assert read_all(tmp_path / "bag.mcap") == (messages_of(words), [])


class _Blocks:
    """Blocks in memory that count how often they are loaded and how much of them is held."""

    path = None

    def __init__(self, blocks):
        self.content = {block: [Stored(time, 0, b"") for time in times] for block, times in blocks.items()}
        self.loads = 0

    def load(self, _, block):
        self.loads += 1
        return list(self.content[block])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=8), min_size=1, max_size=8), st.integers(1, 30))
def test_any_blocks_are_sorted_however_little_memory_there_is(times, max_open_bytes):
    blocks = {Block(number, 0, min(part), max(part), 10): part for number, part in enumerate(times)}
    source = _Blocks(blocks)
    found = [
        stored.log_ns for _, stored in in_time_order([(source, block) for block in blocks], source.load, max_open_bytes)
    ]
    assert found == sorted(time for part in times for time in part)


def test_a_bag_in_order_is_loaded_once_however_little_memory_there_is():
    source = _Blocks({Block(number, 0, 10 * number, 10 * number + 9, 10): range(10 * number, 10 * number + 10)
                      for number in range(20)})  # fmt: skip
    assert len(list(in_time_order([(source, block) for block in source.content], source.load, 1))) == 200
    assert source.loads == 20


def test_two_readers_of_one_bag_do_not_disturb_each_other(tmp_path, events, messages):
    write_bag(tmp_path / "bag", events)
    with open_bag(tmp_path / "bag") as bag:
        one, other = bag.read(bag.topics), bag.read(bag.topics)
        next(other)
        pairs = list(zip(one, other, strict=False))
        assert len(pairs) == len(messages) - 1
        assert all(first.log_ns <= second.log_ns for first, second in pairs)


def test_a_topic_that_is_not_there_is_named_with_those_that_are(tmp_path, events):
    write_bag(tmp_path / "bag", events)
    with open_bag(tmp_path / "bag") as bag, pytest.raises(BagError, match=r"no topic /tf; it has .*/joint_states"):
        bag.read(["/tf"])


# metadata.yaml


def _as_version(information: dict, version: int) -> dict:
    """What rosbag2 wrote in the course of time."""
    old = dict(information, version=version)
    for entry in old["topics_with_message_count"]:
        topic = entry["topic_metadata"]
        if version < 9:
            topic["offered_qos_profiles"] = "- history: 3\n  depth: 0\n"
        if version < 7:
            topic.pop("type_description_hash")
        if version < 4:
            topic.pop("offered_qos_profiles")
    for added_in, name in ((8, "ros_distro"), (6, "custom_data"), (5, "files"), (3, "compression_format")):
        if version < added_in:
            old.pop(name)
    if version < 3:
        old.pop("compression_mode")
    if version < 4:
        old["relative_file_paths"] = [f"bag/{name}" for name in old["relative_file_paths"]]
    return old


@pytest.mark.parametrize("version", range(1, 10))
def test_metadata_of_every_version_are_read(tmp_path, events, messages, version):
    write_bag(tmp_path / "bag", events, "sqlite3")
    file = tmp_path / "bag" / "metadata.yaml"
    information = yaml.safe_load(file.read_text())["rosbag2_bagfile_information"]
    file.write_text(yaml.safe_dump({"rosbag2_bagfile_information": _as_version(information, version)}))
    assert read_all(tmp_path / "bag") == (messages, [])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("storage_identifier: mcap", "storage_identifier: ''"), None),
        (lambda text: text.replace("storage_identifier: mcap", "storage_identifier: sqlite3"), None),
        (lambda text: text[: len(text) // 2], "metadata.yaml cannot be used"),
        (lambda text: "", "metadata.yaml cannot be used"),
        (lambda text: "[" * 100_000, "metadata.yaml cannot be used"),
        (lambda text: "\0\xff", "metadata.yaml cannot be used"),
        (lambda text: "a: &a [x]\n" + "\n".join(f"b{i}: [*a, *a]" for i in range(50)), "metadata.yaml cannot be used"),
        (lambda text: text.replace("bag.mcap", "other.mcap"), "other.mcap, which metadata.yaml names, is missing"),
        (lambda text: text.replace("bag.mcap", "../../bag.mcap"), None),
        (lambda text: text.replace("message_count: 90", "message_count: 91"), "counts 91 messages of /joint_states"),
    ],
)
def test_metadata_that_are_wrong_keep_nobody_from_reading(tmp_path, events, messages, change, told):
    write_bag(tmp_path / "bag", events)
    file = tmp_path / "bag" / "metadata.yaml"
    text = change(file.read_text())
    file.write_text(text)
    found, defects = read_all(tmp_path / "bag")
    assert found == messages
    assert (defects == []) if told is None else (told in " ".join(defects))


def test_a_compressed_file_unpacked_beside_itself_is_read_once(tmp_path, events, messages):
    """`ros2 bag play` leaves it there."""
    write_bag(tmp_path / "bag", events, "sqlite3")
    write_bag(tmp_path / "packed" / "bag", events, "sqlite3", "file")
    shutil.copy(tmp_path / "packed" / "bag" / "bag.db3.zstd", tmp_path / "bag")
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert read_all(tmp_path / "bag")[0] == messages


def test_missing_metadata_are_told(tmp_path, events, messages):
    write_bag(tmp_path / "bag", events)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    found, defects = read_all(tmp_path / "bag")
    assert found == messages
    assert "metadata.yaml is missing" in defects[0] and "ros2 bag reindex" in defects[0]


@pytest.mark.parametrize("form", ["chunks", "one chunk", "no chunks", "sqlite3"])
def test_what_came_before_the_first_clock_message_is_left_out_and_told(tmp_path, events, form):
    """A recorder under use_sim_time writes log time 0 until it hears /clock; here that says 12 s first."""
    shift_ns = events[0].log_ns - 12 * 10**9
    timed = [replace(event, log_ns=event.log_ns - shift_ns) for event in events]
    written = [*(replace(event, log_ns=0) for event in events[:5]), *timed]
    path = tmp_path / "bag.mcap"
    if form == "sqlite3":
        path = tmp_path / "bag"
        write_bag(path, written, "sqlite3")
    else:
        options = {"chunks": {}, "one chunk": {"chunk_size": 2**30}, "no chunks": {"use_chunking": False}}[form]
        write_mcap(path, written, **options)
    found, defects = read_all(path)
    assert found == messages_of(timed)
    assert len(defects) == 1 and defects[0].startswith("5 messages with the log time 0 are left out")
    with open_bag(path) as bag:
        assert bag.start_ns == 12 * 10**9  # where play begins


@pytest.mark.parametrize("form", ["sqlite3", "chunks", "one chunk", "no chunks"])
def test_a_pause_of_more_than_a_day_is_a_wrong_clock(tmp_path, events, messages, form):
    """A machine without a battery starts in 1970 and learns the time later; or one bit of a time is wrong."""
    early = [replace(event, log_ns=event.log_ns % 10**9) for event in events[:20]]
    path = tmp_path / "bag.mcap"
    if form == "sqlite3":
        path = tmp_path / "bag"
        write_bag(path, [*early, *events], "sqlite3")
    else:
        options = {"chunks": {}, "one chunk": {"chunk_size": 2**30}, "no chunks": {"use_chunking": False}}[form]
        write_mcap(path, [*early, *events], **options)
    found, defects = read_all(path)
    assert found == messages
    assert len(defects) == 1 and "more than a day away from the rest" in defects[0]
    with open_bag(path) as bag:
        assert (bag.start_ns, bag.end_ns) == (events[0].log_ns, events[-1].log_ns)
