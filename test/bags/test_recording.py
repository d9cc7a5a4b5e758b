"""Bags as they are written: what goes in comes out, and every end of a recording leaves something readable."""

import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import Reader

from smolvla_ros.bags.definitions import Definitions, has_header
from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.recording.recording import Limits, RecordedTopic, Recording

SMALL = Limits(reserve=0, ballast=0)
RELIABLE = {
    "history": "unknown", "depth": 0, "reliability": "reliable", "durability": "transient_local",
    "deadline": {"sec": 9223372036, "nsec": 854775807}, "lifespan": {"sec": 9223372036, "nsec": 854775807},
    "liveliness": "automatic", "liveliness_lease_duration": {"sec": 9223372036, "nsec": 854775807},
    "avoid_ros_namespace_conventions": False,
}  # fmt: skip
START_NS = 1_790_000_000_000_000_000


@pytest.fixture(scope="module")
def definitions():
    return Definitions()


@pytest.fixture(scope="module")
def topics(definitions):
    kinds = {"/a": "std_msgs/msg/String", "/b": "smolvla_ros/msg/ActionChunk", "/c": "std_msgs/msg/String"}
    return {name: RecordedTopic(name, kind, *definitions.text_and_hash(kind), [RELIABLE])
            for name, kind in kinds.items()}  # fmt: skip


def noise(size, seed=0):
    return np.random.default_rng(seed).bytes(size)


def recorded(folder, messages, limits=SMALL, notes=()):
    """A closed recording of (topic, log_ns, data)."""
    recording = Recording(folder, limits)
    for topic, log_ns, data in messages:
        recording.put(topic, log_ns, log_ns, 1, data)
    recording.finish()
    recording.close(dict(notes))
    return recording


def test_a_recorded_bag_gives_back_every_byte_in_the_order_of_log_times(tmp_path, topics):
    messages = [(topics["/abc"[0] + "abc"[i % 3]], START_NS + (i ^ 1), noise(30_000, i)) for i in range(300)]
    recording = recorded(tmp_path / "bag", messages)
    assert recording.whole and not recording.ended
    with open_bag(tmp_path / "bag") as bag:
        read = [(message.topic, message.log_ns, message.data) for message in bag.read(bag.topics)]
        assert bag.defects == []
    assert read == sorted(((topic.name, log_ns, data) for topic, log_ns, data in messages), key=lambda m: m[1])


def test_metadata_is_that_of_rosbag2_version_9_with_types_hashes_offers_and_notes(tmp_path, topics):
    recorded(tmp_path / "bag", [(topics["/a"], START_NS, b"x" * 8), (topics["/b"], START_NS + 5, b"y" * 8)],
             notes={"loss": "none"})  # fmt: skip
    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    information = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert "&" not in text  # no YAML anchors
    assert information["version"] == 9 and information["storage_identifier"] == "mcap"
    assert information["duration"] == {"nanoseconds": 5}
    assert information["relative_file_paths"] == ["bag_0.mcap"]
    assert information["custom_data"] == {"loss": "none"}
    assert [t["message_count"] for t in information["topics_with_message_count"]] == [1, 1]
    with Reader(tmp_path / "bag") as reader:
        connection = reader.connections[0]
        assert connection.ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"
        assert connection.ext.offered_qos_profiles[0].deadline.sec == 9223372036


def test_the_file_alone_holds_the_metadata_too(tmp_path, topics):
    recorded(tmp_path / "bag", [(topics["/a"], START_NS, b"x" * 8)])
    with open_bag(tmp_path / "bag" / "bag_0.mcap") as bag:
        assert bag.topics["/a"].messages == 1


def test_a_recording_without_a_message_is_a_bag_all_the_same(tmp_path):
    assert recorded(tmp_path / "bag", []).whole
    assert yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())


def test_an_existing_folder_is_never_written_to(tmp_path):
    (tmp_path / "bag").mkdir()
    with pytest.raises(BagError, match="exists already, and a bag is never overwritten"):
        Recording(tmp_path / "bag", SMALL)
    assert list((tmp_path / "bag").iterdir()) == []


def test_nothing_is_begun_on_a_disk_without_the_reserve(tmp_path):
    with pytest.raises(BagError, match="MB left, and .* MB are to be kept free"):
        Recording(tmp_path / "bag", Limits(reserve=10**18))
    assert list(tmp_path.iterdir()) == []


def test_a_recording_ends_at_its_largest_size_and_says_so(tmp_path, topics, monkeypatch):
    monkeypatch.setattr("smolvla_ros.bags.recording.recording._FLUSH_PERIOD_S", 0.0)
    recording = Recording(tmp_path / "bag", Limits(most=100_000, reserve=0, ballast=0))
    taken = 0
    while recording.put(topics["/a"], START_NS, START_NS, 1, noise(50_000, taken)):
        taken += 1
        assert taken < 10_000
    recording.finish()
    recording.close({})
    assert "has reached 0.0001 GB" in recording.ended and recording.whole
    with open_bag(tmp_path / "bag") as bag:
        assert bag.topics["/a"].messages == taken


def test_what_cannot_be_written_fast_enough_is_refused_and_not_kept_in_memory(tmp_path, topics):
    recording = Recording(tmp_path / "bag", Limits(reserve=0, ballast=0, queued=1000))
    assert not recording.put(topics["/a"], START_NS, START_NS, 1, noise(1001))
    recording.finish()
    recording.close({})


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk, and not in every container")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_recording_with_a_bag_that_is_whole(tiny_disk, topics):
    recording = Recording(tiny_disk / "bag", Limits(reserve=0, ballast=3_000_000))
    taken = 0
    while recording.put(topics["/a"], START_NS + taken, START_NS, 1, noise(100_000, taken)):
        taken += 1
    recording.finish()
    recording.close({})
    assert recording.ended == "the disk is full" and recording.whole
    with open_bag(tiny_disk / "bag") as bag:
        read = [message.data for message in bag.read(["/a"])]
        assert bag.defects == []
    assert 20 < len(read) <= taken
    assert read == [noise(100_000, i) for i in range(len(read))]


def test_a_file_that_can_no_longer_be_written_is_left_readable_up_to_there(tmp_path, topics):
    recording = Recording(tmp_path / "bag", SMALL)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, before[1]))
        taken = 0
        while recording.put(topics["/a"], START_NS + taken, START_NS, 1, noise(100_000, taken)):
            taken += 1
        recording.finish()
        recording.close({})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "cannot be written: File too large; the bag is cut off" in recording.ended and not recording.whole
    with open_bag(tmp_path / "bag") as bag:
        read = [message.data for message in bag.read(["/a"])]
        assert bag.defects
    assert read == [noise(100_000, i) for i in range(len(read))]
    assert len(read) > 15


KILLED = """
import os, signal, sys, time
from pathlib import Path
from smolvla_ros.bags.recording import recording
recording._FLUSH_PERIOD_S = 0.0
bag = recording.Recording(Path(sys.argv[1]), recording.Limits(reserve=0, ballast=1000))
topic = recording.RecordedTopic("/a", "std_msgs/msg/String", "string data", "RIHS01_0")
for i in range(50):
    bag.put(topic, 10**18 + i, 0, 1, bytes([i]) * 1000)
while bag.messages.get("/a") != 50 or bag._queue.qsize():
    time.sleep(0.001)
time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_recorder_leaves_a_bag_that_can_be_read(tmp_path):
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "bag")], capture_output=True, text=True)
    assert run.returncode == -9, run.stderr
    assert [file.name for file in (tmp_path / "bag").iterdir()] == ["bag_0.mcap"]
    with open_bag(tmp_path / "bag") as bag:
        assert [message.data[0] for message in bag.read(["/a"])] == list(range(50))
        assert bag.defects


def test_hashes_of_types_are_those_of_ros(definitions):
    from ament_index_python.packages import get_package_share_directory

    for name in ("sensor_msgs/msg/Image", "smolvla_ros/msg/ActionChunk", "diagnostic_msgs/msg/DiagnosticArray",
                 "trajectory_msgs/msg/JointTrajectory", "lifecycle_msgs/msg/TransitionEvent"):  # fmt: skip
        package, _, short = name.split("/")
        with open(f"{get_package_share_directory(package)}/msg/{short}.json") as file:
            hashes = {entry["type_name"]: entry["hash_string"] for entry in json.load(file)["type_hashes"]}
        assert definitions.text_and_hash(name)[1] == hashes[name]


def test_a_type_that_nobody_here_defines_is_refused_by_name(definitions):
    with pytest.raises(BagError, match="the type nowhere_msgs/msg/Thing cannot be recorded"):
        definitions.text_and_hash("nowhere_msgs/msg/Thing")


@pytest.mark.parametrize("name, stamped", [("sensor_msgs/msg/Image", True), ("smolvla_ros/msg/ActionChunk", True),
                                           ("std_msgs/msg/String", False), ("std_msgs/msg/Header", False),
                                           ("std_msgs/msg/Float64MultiArray", False)])  # fmt: skip
def test_messages_with_a_stamp_are_known_by_their_first_field(definitions, name, stamped):
    assert has_header(definitions.fields(name)) == stamped
