"""Robots whose joints are told and commanded on several topics: recorded, replayed and exported as one arm."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bag_events import Event, header, message, stamp
from one_by_one import AnswersOneByOne

from smolvla_ros.bags.definitions import Definitions
from smolvla_ros.bags.names import StreamNames
from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.recording.plan import wanted_topics
from smolvla_ros.bags.recording.recording import Limits, RecordedTopic, Recording
from smolvla_ros.bags.streams import find_streams
from smolvla_ros.cli.main import main
from smolvla_ros.cli.robot_option import read_node_parameters
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.policy import PolicyParameters
from smolvla_ros.policy import setup as policy_setup
from smolvla_ros.robot import RobotConfig

MS, START_NS, SECONDS = 10**6, 1_790_000_000 * 10**9, 2.0
ROWS, STEP_NS = 25, 40 * MS
FOLLOWING = 2
VIPERX = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "left_finger")
KNUCKLE = "robotiq_85_left_knuckle_joint"


@dataclass(frozen=True)
class Driven:
    """A shipped robot: its config, topics of joint states with the joints they tell, joints that take an action."""

    config: str
    told: dict[str, list[str]]
    by_action: tuple[str, ...] = ()


ALOHA = Driven("aloha", {f"{side}/joint_states": [f"{side}_{name}" for name in (*VIPERX, "right_finger")]
                         for side in ("left", "right")})  # fmt: skip
UR = Driven(
    "ur5e_robotiq",
    {"joint_states": ["elbow_joint", "shoulder_lift_joint", "shoulder_pan_joint",
                      "wrist_1_joint", "wrist_2_joint", "wrist_3_joint"],
     "gripper/joint_states": ["robotiq_85_right_knuckle_joint", KNUCKLE, "robotiq_85_left_finger_tip_joint"]},
    by_action=(KNUCKLE,),
)  # fmt: skip


def nodes_of(robot):
    """Parameters of policy and controller."""
    topics = {"joint_states_topics": list(robot.told)}
    given = (("/policy_node", PolicyParameters, {"checkpoint": "fake"}), ("/controller_node", ControllerParameters, {}))
    return [kind.from_values({**read_node_parameters(robot.config, node, kind, more).values(), **topics})
            for node, kind, more in given]  # fmt: skip


def where(joints, joint, since_ns):
    """A sine of its own for each joint; those that follow others, and that no policy knows, stand at 9."""
    return 0.02 + 0.01 * (joints.index(joint) + 1) * np.sin(4e-9 * since_ns) if joint in joints else 9.0


def session(robot):
    """What drivers, policy and controller say while the arm follows its commands, 20 ms behind them."""
    policy, controller = nodes_of(robot)
    joints = policy.joints
    events = [Event("/instruction", START_NS, message("std_msgs/msg/String", data="go"))]
    for node, parameters in (("policy_node", policy), ("controller_node", controller)):
        text = json.dumps({"node": f"/{node}", "parameters": parameters.values()})
        events.append(Event(f"/{node}/description", START_NS, message("std_msgs/msg/String", data=text)))
    for since_ns in range(0, round(SECONDS * 1e9), 20 * MS):
        now_ns = START_NS + since_ns
        for topic, told in robot.told.items():
            values = np.array([where(joints, joint, since_ns - 20 * MS) for joint in told])
            content = message("sensor_msgs/msg/JointState", header=header(now_ns), name=told, position=values,
                              velocity=np.empty(0), effort=np.empty(0))  # fmt: skip
            events.append(Event(f"/{topic}", now_ns + MS, content))
        for group in controller.groups:
            if not group.is_action:
                events.append(Event(f"/{group.topic}", now_ns + MS, trajectory(joints, group.joints, since_ns)))
        events.append(Event("/execution_status", now_ns + MS, status(since_ns)))
        if since_ns % STEP_NS == 0:
            events += [picture(camera, now_ns) for camera in RobotConfig.from_parameters(policy).cameras]
        if since_ns % (ROWS * STEP_NS) == 0:
            events.append(Event("/action_chunk", now_ns, chunk(joints, since_ns)))
    return sorted(events, key=lambda event: event.log_ns)


def duration(ns):
    return message("builtin_interfaces/msg/Duration", sec=ns // 10**9, nanosec=ns % 10**9)


def trajectory(joints, group, since_ns):
    points = [
        message("trajectory_msgs/msg/JointTrajectoryPoint", velocities=np.empty(0), accelerations=np.empty(0),
                positions=np.array([where(joints, joint, since_ns + ahead_ns) for joint in group]), effort=np.empty(0),
                time_from_start=duration(ahead_ns))
        for ahead_ns in (0, 10 * MS, 20 * MS, 30 * MS)
    ]  # fmt: skip
    return message("trajectory_msgs/msg/JointTrajectory", header=header(START_NS + since_ns), joint_names=list(group),
                   points=points)  # fmt: skip


def picture(camera, now_ns):
    data = np.random.default_rng(now_ns // MS).integers(0, 256, 3 * 16 * 16, np.uint8)
    return Event(f"/{camera.topic}", now_ns + MS, message(
        "sensor_msgs/msg/Image", header=header(now_ns), height=16, width=16, encoding="rgb8", is_bigendian=0, step=48,
        data=data,
    ))  # fmt: skip


def chunk(joints, since_ns):
    rows = [[where(joints, joint, since_ns + row * STEP_NS) for joint in joints] for row in range(ROWS)]
    return message(
        "smolvla_ros/msg/ActionChunk", header=header(START_NS + since_ns), image_stamp=stamp(START_NS + since_ns),
        session=5, sequence=1 + since_ns // (ROWS * STEP_NS), joint_names=list(joints), step=duration(STEP_NS),
        rows=ROWS, positions=np.array(rows).ravel(), frozen_rows=0, instruction="go", instruction_id=1,
        inference_s=0.0, latency_s=0.0,
    )  # fmt: skip


def status(since_ns):
    names = ("remaining_rows", "chunks_received", "chunks_merged", "chunks_rejected", "rows_received", "rows_executed",
             "rows_discarded", "rows_queued", "position_clamps", "velocity_clamps", "acceleration_clamps", "ticks",
             "missed_ticks")  # fmt: skip
    row = since_ns // STEP_NS
    return message(
        "smolvla_ros/msg/ExecutionStatus", header=header(START_NS + since_ns), state=FOLLOWING, reason=0, detail="",
        dry_run=False, intervention=False, parked=False, session=5, sequence=1 + row // ROWS, row=row % ROWS,
        last_session=5, last_sequence=1,
        remaining_s=0.0, action_age_s=0.0, seam_jump=0.0, idle_fraction=0.0, last_rejection="",
        **dict.fromkeys(names, 0),
    )  # fmt: skip


def record(folder, robot, events):
    """A bag of what the recorder would have asked for."""
    policy, controller = nodes_of(robot)
    names, definitions = StreamNames(), Definitions()
    plan = wanted_topics(RobotConfig.from_parameters(policy), controller)
    wanted = {names.resolve(topic.name): topic for topic in plan}
    assert all(wanted[event.topic].type == event.type for event in events if event.topic in wanted)
    recording = Recording(folder, Limits(reserve=0, ballast=0))
    topics = {}
    for event in events:
        if event.topic in wanted:
            if event.topic not in topics:
                text = definitions.text_and_hash(event.type)
                topics[event.topic] = RecordedTopic(event.topic, event.type, *text)
            recording.put(topics[event.topic], event.log_ns, event.log_ns, 1, event.data)
    recording.finish()
    recording.close({})
    return folder


class Still(AnswersOneByOne):
    """A policy that answers with the state that it sees."""

    folder = Path("fake")
    config = SimpleNamespace(chunk_size=ROWS, max_action_dim=32)

    def predict(self, images, state, instruction, noise=None, guidance=None):
        rows = np.tile(state, (ROWS, 1))
        return SimpleNamespace(actions=rows, normalised=rows.astype(np.float32), stage_s={"denoise": 0.0})

    def normalised_state(self, state):
        return state

    def check_instruction(self, text):
        pass

    def statistics(self, feature):
        return {}


@pytest.fixture(scope="module", params=[ALOHA, UR], ids=lambda robot: robot.config)
def robot(request):
    return request.param


@pytest.fixture(scope="module")
def bag(robot, tmp_path_factory):
    return record(tmp_path_factory.mktemp(robot.config) / "bag", robot, session(robot))


@pytest.fixture
def replayed(monkeypatch, tmp_path):
    """Replays a bag; the result as its JSON file tells it."""
    monkeypatch.setattr(policy_setup, "load_policy", lambda values, robot, warn: Still())

    def replay(bag, *options):
        out = tmp_path / f"{bag.name}_replayed"
        assert main(["replay", str(bag), "--out", str(out), *options]) == 0
        return json.loads((out / "replay.json").read_text())

    return replay


def test_everything_that_such_a_robot_says_is_recorded_and_found_again(robot, bag):
    policy, controller = nodes_of(robot)
    with open_bag(bag) as opened:
        streams = find_streams(opened, RobotConfig.from_parameters(policy), controller)
    assert streams.joint_states == tuple(f"/{topic}" for topic in robot.told)
    assert len(streams.commands) == (4 if robot is ALOHA else 1)
    assert streams.on_no_topic == robot.by_action


def test_a_replay_sees_all_joints_and_compares_them_with_the_commands_of_all_groups(robot, bag, replayed):
    found = replayed(bag, "--latency", "0")
    assert len(found["chunks"]) >= 2
    told = [stream["topic"] for stream in found["streams"] if stream["name"] == "joint states"]
    assert told == [f"/{topic}" for topic in robot.told]
    # What it answers is where each joint is, so it errs by the motion of the joint: the index tells which it is.
    errors = np.array(found["errors"]["robot"]["joint_mean"], float)
    moves = 0.01 * np.arange(1, len(errors) + 1)
    compared = np.array([joint not in robot.by_action for joint in nodes_of(robot)[0].joints])
    assert (errors[compared] > 0.3 * moves[compared]).all() and (errors[compared] < 1.5 * moves[compared]).all()
    assert np.isnan(errors[~compared]).all()
    assert not [finding for finding in found["findings"] if finding["severity"] == "error"]


@pytest.mark.parametrize("action", ["command", "state", "chunk"])
def test_an_export_has_the_states_and_the_actions_of_all_joints(robot, bag, tmp_path, action):
    arguments = ["--out", str(tmp_path / "ds"), "--codec", "h264", "--fps", "25", "--action", action]
    assert main(["export", str(bag), *arguments]) == 0
    frames = pd.read_parquet(tmp_path / "ds/data/chunk-000/file-000.parquet")
    assert len(frames) > 40
    config = RobotConfig.from_parameters(nodes_of(robot)[0])
    start_ns = json.loads((tmp_path / "ds/meta/smolvla_ros.json").read_text())["bags"][0]["episodes"][0]["start_ns"]
    since_ns = start_ns - START_NS + (np.arange(len(frames)) * 1e9 / 25).astype(int)
    moving = [[where(config.joint_names, joint, t) for joint in config.joint_names] for t in since_ns]
    exact = config.to_policy_units(moving)
    swing = np.abs(config.to_policy_units(np.array(moving) + 0.01) - exact) * np.arange(1, exact.shape[1] + 1)
    for column in ("observation.state", "action"):
        off = np.abs(np.stack(frames[column]) - exact) / swing  # of the joint's own swing
        assert off.max() < 0.3  # 60 ms at 4 rad/s at most
        assert np.isfinite(off).all()


def test_a_driver_that_falls_silent_is_found_although_the_other_one_goes_on(robot, tmp_path, replayed):
    silent = f"/{list(robot.told)[1]}"
    events = [event for event in session(robot) if event.topic != silent or event.log_ns < START_NS + 400 * MS]
    found = replayed(record(tmp_path / "silent", robot, events))
    texts = {finding["name"]: finding["text"] for finding in found["findings"]}
    assert texts["dead_joint_states"].startswith(f"{silent} (joint states) stops after 0.4 s")


def test_a_topic_that_is_missing_is_named_with_its_joints(robot, tmp_path, capsys):
    missing = list(robot.told)[1]
    events = [event for event in session(robot) if event.topic != f"/{missing}"]
    folder = record(tmp_path / "bag", robot, events)
    assert main(["export", str(folder), "--out", str(tmp_path / "ds")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"joint states: no messages on /{missing}" in said and nodes_of(robot)[0].joints[-1] in said


def test_a_clock_offset_is_found_from_all_of_them(robot, tmp_path, replayed):
    late = [replace(event, log_ns=event.log_ns + 50 * 10**9) for event in session(robot)]
    found = replayed(record(tmp_path / "late", robot, late), "--clock-offset", "auto")
    assert len(found["chunks"]) >= 2
    assert not [finding for finding in found["findings"] if finding["name"] == "shifted_clock"]
