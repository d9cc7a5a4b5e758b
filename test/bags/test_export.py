"""Bags become episodes: what is in a frame, where episodes end, what is refused."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated_bag import Event, header, message, stamp, write_bag

from smolvla_ros.bags.dataset.actions import action_source
from smolvla_ros.bags.dataset.episodes import find_episodes
from smolvla_ros.bags.dataset.export import Exported, ExportSettings, Robot, export
from smolvla_ros.bags.dataset.instants import Instants, Refused
from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.messages import MessageTypes
from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.streams import CommandStream, Streams
from smolvla_ros.robot import Camera, Joint, RobotConfig
from smolvla_ros.robot.observation import Freshness

START_NS = 1_790_000_000 * 10**9
MS = 10**6
FPS = 20
STEP_NS = 10**9 // FPS
ROBOT = RobotConfig(
    (Camera("top", "observation.images.top", "top/image_raw", "raw"),),
    (Joint("pan", "pan.pos", 10.0, 1.0), Joint("grip", "grip.pos", 1.0, 0.0)),
)
TRUST = Freshness(10**9, 10**9, 50 * MS, frozen_frames=0, accept_zero_stamps=False)


def image(now_ms: float, value: int, size: int = 16) -> Event:
    content = message(
        "sensor_msgs/msg/Image", header=header(START_NS + round(now_ms * MS)), height=size, width=size,
        encoding="rgb8", is_bigendian=0, step=3 * size, data=np.full(3 * size * size, value, np.uint8),
    )  # fmt: skip
    return Event("/top/image_raw", START_NS + round(now_ms * MS), content)


def joints(now_ms: float, pan: float, grip: float = 0.0, topic: str = "/joint_states") -> Event:
    now_ns = START_NS + round(now_ms * MS)
    content = message(
        "sensor_msgs/msg/JointState", header=header(now_ns), name=["grip", "pan"], position=np.array([grip, pan]),
        velocity=np.empty(0), effort=np.empty(0),
    )  # fmt: skip
    return Event(topic, now_ns, content)


def command(now_ms: float, pan: float, grip: float = 0.0) -> Event:
    return joints(now_ms, pan, grip, "/joint_command")


def instruction(now_ms: float, text: str) -> Event:
    return Event("/instruction", START_NS + round(now_ms * MS), message("std_msgs/msg/String", data=text))


def session(end_ms: float, *more: Event, camera_ms: float = 50.0) -> list[Event]:
    """A robot that moves: images at 20 Hz, joint states and commands at 50 Hz, all a little after START_NS."""
    events = [image(t + 3, int(t / camera_ms) % 250) for t in np.arange(0, end_ms, camera_ms)]
    events += [joints(t + 1, t / 1000) for t in range(0, int(end_ms), 20)]
    events += [command(t + 2, 100 + t / 1000) for t in range(0, int(end_ms), 20)]
    return [*events, *more]


def without(events: Iterable[Event], topic: str, from_ms: float, to_ms: float) -> list[Event]:
    return [event for event in events
            if not (event.topic == topic and from_ms <= (event.log_ns - START_NS) / MS < to_ms)]  # fmt: skip


def bag(folder: Path, events: Sequence[Event]) -> Path:
    write_bag(folder, sorted(events, key=lambda event: event.log_ns))
    return folder


STREAMS = Streams(
    {"top": "/top/image_raw"}, ("/joint_states",), "/instruction",
    (CommandStream("/joint_command", "sensor_msgs/msg/JointState", ("pan", "grip")),), None, None, {},
)  # fmt: skip


def robot(streams: Streams = STREAMS) -> Robot:
    return Robot(ROBOT, "an_arm", lambda bag: streams, TRUST)


def run(folder: Path, events: Sequence[Event], streams: Streams = STREAMS, **options) -> tuple[Exported, pd.DataFrame]:
    """Exports one bag; what was done, and the frames that were written."""
    options = {"fps": FPS, "codec": "h264", "min_length_s": 0.2, **options}
    exported = export([bag(folder / "bag", events)], folder / "ds", robot(streams), ExportSettings(**options))
    file = folder / "ds/data/chunk-000/file-000.parquet"
    return exported, pd.read_parquet(file) if file.exists() else pd.DataFrame()


def episodes(exported: Exported):
    return exported.surveys[0].episodes


def left_out(exported: Exported):
    return exported.surveys[0].left_out


def since_start_ms(times_ns) -> np.ndarray:
    return (np.asarray(times_ns) - START_NS) / MS


def test_frames_lie_exactly_on_k_over_fps_after_the_instruction(tmp_path):
    exported, frames = run(tmp_path, session(1000, instruction(107, "go")))
    (episode,) = episodes(exported)
    assert episode.times_ns.tolist() == [START_NS + 107 * MS + k * STEP_NS for k in range(len(episode.times_ns))]
    assert (frames["timestamp"].to_numpy() == (np.arange(len(frames)) / FPS).astype(np.float32)).all()
    assert 1000 - 50 <= 107 + 50 * len(frames) <= 1000 + 50


def test_a_frame_has_state_and_action_in_units_of_the_checkpoint_in_the_order_of_the_robot(tmp_path):
    _, frames = run(tmp_path, session(600, instruction(110, "go")))
    # At 110 ms the newest joint state is that of 101 ms (0.1 rad), the newest command that of 102 ms (100.1 rad).
    np.testing.assert_allclose(frames["observation.state"][0], [0.1 * 10 + 1, 0.0], rtol=1e-6)
    np.testing.assert_allclose(frames["action"][0], [100.1 * 10 + 1, 0.0], rtol=1e-6)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_every_frame_has_what_had_come_by_then_and_the_command_in_force(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)

    def times(mean_ms: float) -> np.ndarray:
        return np.cumsum(rng.uniform(0.2, 1.8, int(900 / mean_ms)) * mean_ms)

    images, states, commands = (np.sort(times(mean)) for mean in (30.0, 12.0, 25.0))
    events = [image(t, k) for k, t in enumerate(images)]
    events += [joints(t, float(k)) for k, t in enumerate(states)]
    events += [command(t, float(k)) for k, t in enumerate(commands)]
    path = bag(tmp_path_factory.mktemp("bag") / "bag", [*events, instruction(200, "go")])
    seen = {}
    with open_bag(path) as opened:
        instants = Instants(opened, STREAMS, ROBOT, TRUST, fps=FPS)
        for instant in instants.walk():
            seen[instant.time_ns] = instant.observation
        source = action_source("command", STREAMS, ROBOT, fps=FPS, max_gap_ns=10**9)
        (episode,), _ = find_episodes(instants, source, min_frames=1)
    now_ms = since_start_ms(episode.times_ns)

    def newest(came_ms: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.round(came_ms * MS), now_ms * MS + 0.5) - 1

    assert [int(seen[time_ns].images["top"].data[0]) for time_ns in episode.times_ns] == newest(images).tolist()
    assert episode.states[:, 0].tolist() == newest(states).tolist()
    assert episode.actions[:, 0].tolist() == newest(commands).tolist()


def test_an_episode_lasts_as_long_as_its_instruction_and_an_empty_one_is_none(tmp_path):
    exported, frames = run(
        tmp_path,
        session(3000, instruction(200, " one "), instruction(900, ""), instruction(1500, "two"),
                instruction(2000, "two"), instruction(2400, "three")),
    )  # fmt: skip
    assert [episode.task for episode in episodes(exported)] == ["one", "two", "three"]
    spans = [since_start_ms(episode.times_ns[[0, -1]]).tolist() for episode in episodes(exported)]
    assert spans == [[200, 850], [1500, 2350], [2400, 2950]]
    assert frames["episode_index"].tolist() == [0] * 14 + [1] * 18 + [2] * 12
    assert not exported.surveys[0].is_partial


TELLING = replace(STREAMS, descriptions={"policy_node": "/policy_node/description"}, policy_tells_instruction=True)


def described(now_ms: float, text: str) -> Event:
    told = message("std_msgs/msg/String", data=json.dumps({"instruction": text}))
    return Event("/policy_node/description", START_NS + round(now_ms * MS), told)


def test_an_instruction_that_the_policy_refused_labels_nothing_and_the_one_before_stays(tmp_path):
    events = session(3000, described(0, ""), instruction(200, "one"), described(210, "one"),
                     instruction(1000, "x" * 500), instruction(2000, "two"), described(2010, "two"))  # fmt: skip
    exported, _ = run(tmp_path, events, TELLING)
    assert [episode.task for episode in episodes(exported)] == ["one", "two"]
    spans = [since_start_ms(episode.times_ns[[0, -1]]).tolist() for episode in episodes(exported)]
    assert spans == [[210, 1960], [2010, 2960]]
    (refused,) = exported.surveys[0].refused.items()
    assert refused == (f"/instruction: '{'x' * 500}'", Refused("the policy did not take it", 1))


def test_after_an_empty_instruction_there_is_no_episode_whatever_the_policy_refuses_then(tmp_path):
    """An arm at rest, once a text that the policy cannot read was said, made an episode of 48 s."""
    events = session(3000, described(0, ""), instruction(200, "one"), described(210, "one"), instruction(900, ""),
                     described(905, ""), instruction(1200, "\x1b[31mtwo"), described(2000, ""))  # fmt: skip
    exported, _ = run(tmp_path, events, TELLING)
    assert [(episode.task, since_start_ms(episode.times_ns[-1])) for episode in episodes(exported)] == [("one", 860)]
    assert not exported.surveys[0].is_partial


def test_an_empty_instruction_ends_an_episode_before_the_policy_says_so(tmp_path):
    events = session(2000, instruction(200, "one"), described(210, "one"), instruction(900, ""), described(1500, ""))
    exported, _ = run(tmp_path, events, TELLING)
    assert since_start_ms(episodes(exported)[0].times_ns[-1]) == 860


def test_a_whole_bag_can_be_an_episode_of_its_only_instruction_or_of_a_given_one(tmp_path):
    events = session(900, instruction(400, "go"))
    exported, _ = run(tmp_path, events, whole_bags=True)
    assert [(episode.task, len(episode.times_ns)) for episode in episodes(exported)] == [("go", 17)]
    (tmp_path / "more").mkdir()
    exported, _ = run(tmp_path / "more", events, whole_bags=True, task="clean up")
    assert [episode.task for episode in episodes(exported)] == ["clean up"]


def test_a_whole_bag_with_two_instructions_needs_a_task(tmp_path):
    with pytest.raises(BagError, match="has 'go', 'come', expected one .* give --task"):
        run(tmp_path, session(900, instruction(100, "go"), instruction(500, "come")), whole_bags=True)


def test_without_an_instruction_topic_the_way_out_is_told(tmp_path):
    streams = Streams(STREAMS.cameras, STREAMS.joint_states, None, STREAMS.commands, None, None, {})
    with pytest.raises(BagError, match="no instruction topic.*--episodes bag --task TEXT"):
        run(tmp_path, session(500), streams)
    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("/top/image_raw", "the last image from camera 'top' is older than 0.2 s"),
        ("/joint_states", "the last joint state is older than 0.2 s"),
        ("/joint_command", "no command in force"),
    ],
)
def test_an_episode_is_cut_where_something_is_missing_and_goes_on_as_another(tmp_path, topic, reason):
    exported, frames = run(tmp_path, without(session(3000, instruction(0, "go")), topic, 1000, 1800))
    first, second = episodes(exported)
    (gap,) = [part for part in left_out(exported) if not part.expected]
    assert gap.reason == reason
    # What was last seen before 1000 ms is good for 200 ms more.
    assert since_start_ms(first.times_ns[-1]) == 1150 and since_start_ms(gap.start_ns) == 1200
    assert since_start_ms(gap.end_ns) <= 1805 <= since_start_ms(second.times_ns[0]) <= 1850
    assert exported.surveys[0].is_partial
    assert len(frames) == len(first.times_ns) + len(second.times_ns)
    assert frames["frame_index"].tolist() == [*range(len(first.times_ns)), *range(len(second.times_ns))]


def test_where_two_sources_of_joint_states_contradict_each_other_there_is_no_episode_and_the_way_out_is_told(tmp_path):
    zeros = [joints(t + 5, 0.0) for t in range(2000, 4000, 20)]
    exported, frames = run(tmp_path, session(8000, instruction(0, "go"), *zeros))
    first, second = episodes(exported)
    assert since_start_ms(first.times_ns[-1]) < 2000 and since_start_ms(second.times_ns[0]) > 3980
    assert len(first.times_ns) > 30 and len(second.times_ns) > 50
    assert np.abs(np.diff(first.states[:, 0])).max() < 0.1 and np.abs(np.diff(second.states[:, 0])).max() < 0.1
    (gap,) = [part for part in left_out(exported) if not part.expected]
    assert "two nodes publish the same joints" in gap.reason and "record again" in gap.reason
    assert exported.surveys[0].is_partial


TAKEN_OVER = [(2000, 4000), (6000, 7000)]


def statuses(end_ms: int) -> list[Event]:
    """The controller's word at 50 Hz, with a person in command twice."""
    return [
        status(t, intervention=any(begin <= t < end for begin, end in TAKEN_OVER)) for t in range(0, end_ms, 20)
    ]


def status(now_ms: int, **values) -> Event:
    """The controller's word, zero where nothing is given."""
    names = ("state", "reason", "session", "sequence", "row", "remaining_rows", "chunks_received", "chunks_merged",
             "chunks_rejected", "rows_received", "rows_executed", "rows_discarded", "rows_queued", "position_clamps",
             "velocity_clamps", "acceleration_clamps", "ticks", "missed_ticks", "last_session",
             "last_sequence")  # fmt: skip
    times = ("remaining_s", "action_age_s", "seam_jump", "idle_fraction")
    zeros = {"detail": "", "last_rejection": "", "dry_run": False, "intervention": False, "parked": False}
    zeros |= dict.fromkeys(names, 0) | dict.fromkeys(times, 0.0)
    now_ns = START_NS + now_ms * MS
    content = message("smolvla_ros/msg/ExecutionStatus", header=header(now_ns), **(zeros | values))
    return Event("/execution_status", now_ns, content)


@pytest.mark.parametrize(("interventions", "expected_ms"), [
    ("keep", [(0, 8000)]), ("cut", [(0, 2000), (4000, 6000), (7000, 8000)]), ("only", TAKEN_OVER),
])  # fmt: skip
def test_what_a_person_commanded_is_kept_cut_out_or_all_that_is_exported(tmp_path, interventions, expected_ms):
    events = session(8000, instruction(0, "go"), *statuses(8000))
    streams = replace(STREAMS, status="/execution_status")
    exported, _ = run(tmp_path, events, streams, interventions=interventions)
    found = [(since_start_ms(e.times_ns[0]), since_start_ms(e.times_ns[-1])) for e in episodes(exported)]
    assert np.abs(np.array(found) - expected_ms).max() <= 2 * STEP_NS / MS
    assert not exported.surveys[0].is_partial  # nothing that was asked for is missing


def test_a_longer_gap_is_bridged_if_the_user_says_so_and_the_repeats_are_counted(tmp_path):
    events = without(session(3000, instruction(0, "go")), "/top/image_raw", 1000, 1800)
    exported, _ = run(tmp_path, events, max_gap_s=1.0)
    (episode,) = episodes(exported)
    assert episode.repeats["top"] == 800 // 50


def test_a_camera_of_half_the_rate_repeats_every_other_frame_and_that_is_counted(tmp_path):
    exported, frames = run(tmp_path, session(2000, instruction(500, "go"), camera_ms=100.0))
    (episode,) = episodes(exported)
    assert episode.repeats == {"top": (len(frames) - 1) // 2}


def test_the_time_before_the_first_frame_is_told_but_nothing_is_lost_by_it(tmp_path):
    events = without(session(2000, instruction(0, "go")), "/joint_command", 0, 700)
    exported, _ = run(tmp_path, events)
    (part,) = left_out(exported)
    assert part.expected and part.reason.startswith("no image") and not exported.surveys[0].is_partial
    assert 700 <= since_start_ms(episodes(exported)[0].times_ns[0]) <= 750


def test_the_last_commands_of_the_task_before_are_no_loss_while_the_controller_starts_again(tmp_path):
    events = without(session(2000, instruction(0, "go"), instruction(900, "come")), "/joint_command", 900, 1200)
    exported, _ = run(tmp_path, events, min_length_s=0.5)
    assert [episode.task for episode in episodes(exported)] == ["go", "come"]
    assert [part.reason for part in left_out(exported)][1:] == [
        "only 4 frames in which nothing is missing",
        "no command in force",
    ]
    assert all(part.expected for part in left_out(exported))


def test_an_instruction_under_which_a_camera_never_worked_gives_no_episode_and_counts_as_lost(tmp_path):
    events = without(session(1000, instruction(0, "go")), "/top/image_raw", 0, 950)
    exported, _ = run(tmp_path, events)
    assert not episodes(exported) and exported.surveys[0].is_partial
    assert not (tmp_path / "ds").exists()


def test_episodes_that_are_too_short_are_left_out_and_told(tmp_path):
    exported, _ = run(tmp_path, session(2000, instruction(200, "go"), instruction(500, "come")), min_length_s=1.0)
    assert [episode.task for episode in episodes(exported)] == ["come"]
    (part,) = left_out(exported)
    assert part.task == "go" and part.reason == "only 6 frames in which nothing is missing" and not part.expected


def test_refused_messages_are_told_by_topic_and_their_images_never_used(tmp_path):
    bad = image(403, 255)
    bad.message.encoding = "16UC1"
    exported, _ = run(tmp_path, [*without(session(900, instruction(0, "go")), "/top/image_raw", 400, 410), bad])
    assert list(exported.surveys[0].refused) == ["/top/image_raw"]
    assert "encoding is '16UC1'" in exported.surveys[0].refused["/top/image_raw"].first
    assert episodes(exported)[0].repeats == {"top": 1}


def test_what_follows_an_instruction_that_cannot_be_read_has_no_task(tmp_path, monkeypatch):
    read = MessageTypes.deserialise

    def damaged(types, type_name, data):
        if b"come" in data:
            raise BagError("not a message")
        return read(types, type_name, data)

    monkeypatch.setattr(MessageTypes, "deserialise", damaged)
    events = session(2000, instruction(100, "go"), instruction(700, "come"), instruction(1300, "go"))
    exported, _ = run(tmp_path, events)
    spans = [since_start_ms(episode.times_ns[[0, -1]]).tolist() for episode in episodes(exported)]
    assert spans == [[100, 650], [1300, 1950]]
    assert "not a message" in exported.surveys[0].refused["/instruction"].first


def test_images_without_stamps_are_no_images(tmp_path):
    events = session(900, instruction(0, "go"))
    for event in events:
        if event.topic == "/top/image_raw":
            event.message.header = header(0)
    exported, _ = run(tmp_path, events)
    assert not episodes(exported)
    refused = exported.surveys[0].refused["/top/image_raw"]
    assert "stamp is zero" in refused.first and refused.messages == 18


def test_pictures_whose_size_changes_leave_no_dataset(tmp_path):
    events = without(session(900, instruction(0, "go")), "/top/image_raw", 500, 900)
    with pytest.raises(BagError, match="has images of 32x32 and of 16x16 pixels"):
        run(tmp_path, [*events, *(image(t, 0, 32) for t in range(503, 900, 50))])
    assert [file.name for file in tmp_path.iterdir()] == ["bag"]


def test_commands_that_go_on_after_the_last_image_change_nothing(tmp_path):
    events = session(900, instruction(100, "go"))
    exported, _ = run(tmp_path, [*events, *(command(t, 1.0) for t in range(900, 1500, 20))])
    (tmp_path / "without").mkdir()
    expected, _ = run(tmp_path / "without", events)
    assert episodes(exported)[0].times_ns.tolist() == episodes(expected)[0].times_ns.tolist()
    assert left_out(exported) == left_out(expected)


def test_episodes_of_several_bags_follow_one_another_and_share_tasks(tmp_path):
    paths = [bag(tmp_path / name, session(900, instruction(100, text))) for name, text in
             (("one", "go"), ("two", "come"), ("three", "go"))]  # fmt: skip
    export(paths, tmp_path / "ds", robot(), ExportSettings(fps=FPS, codec="h264", min_length_s=0.2))
    frames = pd.read_parquet(tmp_path / "ds/data/chunk-000/file-000.parquet")
    assert frames.groupby("episode_index")["task_index"].unique().map(list).tolist() == [[0], [1], [0]]
    origin = json.loads((tmp_path / "ds/meta/smolvla_ros.json").read_text())
    assert [entry["name"] for entry in origin["bags"]] == ["one", "two", "three"]
    assert [entry["episodes"][0]["episode_index"] for entry in origin["bags"]] == [0, 1, 2]


# Actions.


def actions(tmp_path, events, streams, kind="command", max_gap_s=0.2) -> tuple[np.ndarray, np.ndarray]:
    """Times [ms] and actions [frames, joints] in robot units of the frames of the only episode."""
    exported, _ = run(tmp_path, events, streams, action=kind, max_gap_s=max_gap_s)
    (episode,) = episodes(exported)
    return since_start_ms(episode.times_ns), episode.actions


def test_set_points_hold_until_the_next_one_instead_of_being_blended(tmp_path):
    events = without(session(1000, instruction(100, "go")), "/joint_command", 0, 1000)
    events += [command(t, float(t >= 500)) for t in range(0, 1000, 100)]
    times_ms, found = actions(tmp_path, events, STREAMS)
    assert found[:, 0].tolist() == (times_ms >= 500).astype(float).tolist()


def test_a_gripper_on_a_topic_of_its_own_is_joined_in_and_scaled_back(tmp_path):
    kind = "std_msgs/msg/Float64MultiArray"
    groups = (CommandStream("/arm", kind, ("pan",)), CommandStream("/grip", kind, ("grip",), 2.0, 1.0))
    streams = Streams(STREAMS.cameras, ("/joint_states",), "/instruction", groups, None, None, {})
    layout = message("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)

    def array(topic: str, t: int, value: float) -> Event:
        content = message("std_msgs/msg/Float64MultiArray", layout=layout, data=np.array([value]))
        return Event(topic, START_NS + t * MS, content)

    events = session(1000, instruction(0, "go"))
    events += [array("/arm", t, 0.5) for t in range(0, 1000, 20)]
    events += [array("/grip", t, 7.0) for t in range(300, 1000, 20)]
    exported, _ = run(tmp_path, events, streams)
    (episode,) = episodes(exported)
    assert since_start_ms(episode.times_ns[0]) == 300
    assert (episode.actions == [0.5, 3.0]).all()
    waiting = left_out(exported)[0]
    assert waiting.expected


def test_a_trajectory_is_followed_point_by_point_and_nothing_is_in_force_long_after_its_end(tmp_path):
    def point(pan: float, at_ms: int):
        after = message("builtin_interfaces/msg/Duration", sec=0, nanosec=at_ms * MS)
        return message(
            "trajectory_msgs/msg/JointTrajectoryPoint", positions=np.array([pan, 0.0]), velocities=np.empty(0),
            accelerations=np.empty(0), effort=np.empty(0), time_from_start=after,
        )  # fmt: skip

    trajectory = message(
        "trajectory_msgs/msg/JointTrajectory", header=message("std_msgs/msg/Header", stamp=stamp(0), frame_id=""),
        joint_names=["pan", "grip"], points=[point(0.0, 0), point(1.0, 500)],
    )  # fmt: skip
    arm = CommandStream("/arm", "trajectory_msgs/msg/JointTrajectory", ("pan", "grip"))
    streams = Streams(STREAMS.cameras, ("/joint_states",), "/instruction", (arm,), None, None, {})
    events = [*session(2000, instruction(100, "go")), Event("/arm", START_NS + 100 * MS, trajectory)]
    times_ms, found = actions(tmp_path, events, streams)
    assert times_ms[0] == 100 and times_ms[-1] == 800
    np.testing.assert_allclose(found[:, 0], np.minimum((times_ms - 100) / 500, 1.0))


def chunk_and_status(joint_names=("grip", "pan")) -> list[Event]:
    """One chunk of 30 rows, row k asks for pan = k; the status tells row t / 50 ms from 300 ms on."""
    rows = np.stack([np.zeros(30), np.arange(30.0)], axis=1)
    step = message("builtin_interfaces/msg/Duration", sec=0, nanosec=STEP_NS)
    chunk = message(
        "smolvla_ros/msg/ActionChunk", header=header(START_NS), image_stamp=stamp(START_NS), session=5, sequence=1,
        joint_names=list(joint_names), step=step, rows=30, positions=rows.ravel(), frozen_rows=0,
        instruction="go", instruction_id=1, inference_s=0.1, latency_s=0.1,
    )  # fmt: skip
    events = [Event("/action_chunk", START_NS + 150 * MS, chunk)]
    for t in range(0, 1000, 50):
        following = t >= 300
        told = {"state": 2, "reason": 0, "session": 5} if following else {"state": 1, "reason": 3}
        events.append(status(t, **told, sequence=1, row=t // 50))
    return events


def test_rows_of_chunks_count_as_actions_while_the_controller_executes_them(tmp_path):
    streams = replace(STREAMS, commands=(), chunks="/action_chunk", status="/execution_status")
    events = [*session(1000, instruction(100, "go")), *chunk_and_status()]
    times_ms, found = actions(tmp_path, events, streams, "chunk")
    assert times_ms[0] == 300
    assert found[:, 0].tolist() == (times_ms // 50).tolist()


def test_states_one_frame_later_are_taken_only_if_asked_for_and_end_a_frame_earlier(tmp_path):
    events = session(1000, instruction(110, "go"))
    times_ms, found = actions(tmp_path, events, STREAMS, "state")
    np.testing.assert_allclose(found[:, 0], np.floor((times_ms + 50 - 1) / 20) * 0.02)
    (tmp_path / "commands").mkdir()
    assert len(actions(tmp_path / "commands", events, STREAMS)[0]) == len(times_ms) + 1


@pytest.mark.parametrize(("kind", "text"), [("command", "no command topic .*--action chunk"), ("chunk", "status")])
def test_a_bag_without_actions_is_refused_by_name_with_the_alternatives(tmp_path, kind, text):
    streams = Streams(STREAMS.cameras, ("/joint_states",), "/instruction", None, None, None, {})
    with pytest.raises(BagError, match=f"{tmp_path}/bag: there .*{text}"):
        run(tmp_path, session(500, instruction(0, "go")), streams, action=kind)
    assert not (tmp_path / "ds").exists()


def told_run(now_ms: float, number: int, text: str, reason: int = 0, outcome: int = 0) -> Event:
    now = stamp(START_NS + round(now_ms * MS))
    content = message(
        "smolvla_ros/msg/Episode", header=header(0), session=5, number=number, instruction=text, began=now, ended=now,
        termination_reason=reason, detail="why", outcome=outcome, outcome_by_person=outcome == 2,
    )  # fmt: skip
    return Event("/episode", START_NS + round(now_ms * MS), content)


def test_an_episode_knows_the_run_that_it_is_of_and_the_last_word_on_it(tmp_path):
    said = [instruction(100, "go"), instruction(1000, "")]
    said += [told_run(90, 1, "go"), told_run(1000, 1, "go", 1, 1), told_run(1400, 1, "go", 1, 2)]
    said += [instruction(1450, "on our own"), instruction(1950, ""), told_run(1960, 2, "go on")]
    run(tmp_path, session(2000, *said), replace(STREAMS, runs="/episode"))
    origin = json.loads((tmp_path / "ds/meta/smolvla_ros.json").read_text())
    first, second = origin["bags"][0]["episodes"]
    told = first["run"]
    assert (told["number"], told["termination_reason"], told["outcome"]) == (1, "success", "failed")
    assert told["outcome_by_person"] and since_start_ms(told["ended_ns"]) == 1000
    assert second["task"] == "on our own" and second["run"] is None
