"""Which topic of a bag is what, and what is said about one that is not there."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from simulated_bag import START_NS, Event, header, make_bag, message, plant, write_bag

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.messages import Recorded
from smolvla_ros.bags.names import StreamNames, why_missing
from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.streams import CommandStream, command_positions, find_streams, recorded_parameters
from smolvla_ros.cli.bag_options import node_parameters
from smolvla_ros.cli.robot_option import read_node_parameters
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.robot import RobotConfig
from smolvla_ros.sim import JOINTS


@pytest.fixture
def bag_of(tmp_path):
    """Opens a bag of events."""
    opened = []

    def make(events, namespace=""):
        write_bag(tmp_path / f"bag{len(opened)}", events, namespace=namespace)
        opened.append(open_bag(tmp_path / f"bag{len(opened)}"))
        return opened[-1]

    yield make
    for bag in opened:
        bag.close()


def config(**changes):
    """The values of the simulated arm with changes."""
    read = read_node_parameters("so101_sim", "/controller_node", ControllerParameters)
    return ControllerParameters.from_values(read.values() | changes)


def streams_of(bag, namespace="", remaps=None, **changes):
    parameters = config(**changes)
    return find_streams(bag, RobotConfig.from_parameters(parameters), parameters, namespace, remaps)


def problem_of(bag, namespace="", remaps=None, **changes):
    with pytest.raises(BagError) as caught:
        streams_of(bag, namespace, remaps, **changes)
    return str(caught.value)


def renamed(events, names):
    return [replace(event, topic=names.get(event.topic, event.topic)) for event in events]


def picture(topic, **fields):
    content = {"header": header(1), "height": 1, "width": 1, "encoding": "rgb8", "is_bigendian": 0, "step": 3,
               "data": np.zeros(3, np.uint8)}  # fmt: skip
    return Event(topic, START_NS, message("sensor_msgs/msg/Image", **content | fields))


def compressed(topic, kind):
    content = message("sensor_msgs/msg/CompressedImage", header=header(1), format=kind, data=np.ones(9, np.uint8))
    return Event(topic, START_NS, content)


def text(topic, words):
    return Event(topic, START_NS, message("std_msgs/msg/String", data=words))


def test_the_topics_of_the_live_system_are_found(bag_of, events):
    streams = streams_of(bag_of(events))
    assert streams.cameras == {"front": "/front/image_raw", "wrist": "/wrist/image_raw"}
    assert (streams.joint_states, streams.instruction) == (("/joint_states",), "/instruction")
    assert (streams.chunks, streams.status) == ("/action_chunk", "/execution_status")
    assert streams.commands == (CommandStream("/joint_command", "sensor_msgs/msg/JointState", JOINTS),)
    assert streams.descriptions == {node: f"/{node}/description" for node in ("policy_node", "controller_node")}


def test_a_recording_without_our_nodes_has_cameras_and_joint_states_only(bag_of, events):
    foreign = ("/joint_states", "/front/image_raw", "/wrist/image_raw")
    streams = streams_of(bag_of([event for event in events if event.topic in foreign]))
    assert (streams.instruction, streams.chunks, streams.status) == (None,) * 3 and streams.commands == ()
    assert streams.descriptions == {}


def test_relative_names_lie_in_the_namespace_and_absolute_ones_do_not(bag_of, events):
    absolute = [event for event in events if event.topic == "/front/image_raw"]
    bag = bag_of([*(replace(event, topic=f"/left{event.topic}") for event in events), *absolute])
    streams = streams_of(bag, "left", **{"camera.front.topic": "/front/image_raw"})
    assert streams.cameras == {"front": "/front/image_raw", "wrist": "/left/wrist/image_raw"}
    assert streams.joint_states == ("/left/joint_states",)
    assert streams_of(bag, "/left/").joint_states == ("/left/joint_states",)


def test_remapped_names_are_found_and_so_are_dots_in_them(bag_of, events):
    remaps = {"front/image_raw": "/camera/color/image_raw", "/joint_states": "arm_1/joint.states"}
    theirs = {"/front/image_raw": "/camera/color/image_raw", "/joint_states": "/arm_1/joint.states"}
    streams = streams_of(bag_of(renamed(events, theirs)), remaps=remaps)
    assert streams.cameras["front"] == "/camera/color/image_raw"
    assert streams.joint_states == ("/arm_1/joint.states",)


def test_a_remapped_name_that_the_config_does_not_have_is_refused(bag_of, events):
    assert "--remap front/image: the robot config has no such topic, only front/image_raw" in problem_of(
        bag_of(events), remaps={"front/image": "/x"}
    )


@pytest.mark.parametrize("transport", ["raw", "compressed"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_camera_may_be_recorded_raw_or_compressed_whatever_the_config_says(bag_of, events, transport, is_compressed):
    bag = bag_of(plant(events, compressed=is_compressed))
    cameras = streams_of(bag, **{"camera.front.transport": transport}).cameras
    assert cameras["front"] == "/front/image_raw" + ("/compressed" if is_compressed else "")


def test_of_two_forms_of_a_camera_the_configured_one_is_taken(bag_of, events):
    bag = bag_of([*events, compressed("/front/image_raw/compressed", "jpeg")])
    assert streams_of(bag).cameras["front"] == "/front/image_raw"
    chosen = streams_of(bag, **{"camera.front.transport": "compressed"}).cameras["front"]
    assert chosen == "/front/image_raw/compressed"


# What is missing.


def test_everything_that_is_missing_is_told_at_once(bag_of, events):
    problem = problem_of(bag_of([event for event in events if event.topic == "/instruction"]))
    assert all(name in problem for name in ("camera 'front'", "camera 'wrist'", "joint states"))
    assert "no messages on /front/image_raw" in problem
    assert "the bag has no Image or CompressedImage messages" in problem


def test_a_topic_of_another_name_is_offered_with_its_count(bag_of, events):
    problem = problem_of(bag_of(renamed(events, {"/joint_states": "/arm/state"})))
    count = sum(event.topic == "/joint_states" for event in events)
    assert f"/arm/state ({count} messages)" in problem
    assert "give --remap joint_states:=TOPIC" in problem  # the commands are of that type too


def test_the_only_topic_of_a_type_is_offered_for_remapping(bag_of, events):
    one_camera = [event for event in events if event.topic != "/wrist/image_raw"]
    problem = problem_of(bag_of(renamed(one_camera, {"/front/image_raw": "/camera/color/image_raw"})))
    assert "give --remap front/image_raw:=/camera/color/image_raw" in problem


def test_a_namespace_is_offered_where_the_topic_has_one(bag_of, events):
    assert "give --namespace left" in problem_of(bag_of(events, namespace="left"))
    assert "leave out --namespace" in problem_of(bag_of(events), namespace="left")


def test_a_topic_of_a_type_that_cannot_be_used_is_named(bag_of, events):
    packets = [text("/front/image_raw/theora", "x")]
    problem = problem_of(bag_of([*plant(events, drop_topic="/front/image_raw"), *packets]))
    assert "/front/image_raw/theora has 1 message of type std_msgs/msg/String, which cannot be used" in problem


@pytest.mark.parametrize("kind", ["h264", "theora", "16UC1; compressedDepth png", "HEVC"])
def test_pictures_that_are_no_pictures_are_refused_by_name(bag_of, events, kind):
    bag = bag_of([*plant(events, drop_topic="/front/image_raw"), compressed("/front/image_raw/compressed", kind)])
    assert f"/front/image_raw/compressed are of the format '{kind}', expected JPEG or PNG" in problem_of(bag)


@pytest.mark.parametrize("kind", ["jpeg", "png", "rgb8; jpeg compressed bgr8", "bgr8; png compressed ", ""])
def test_formats_that_recorders_write_are_taken(bag_of, events, kind):
    bag = bag_of([*plant(events, drop_topic="/front/image_raw"), compressed("/front/image_raw/compressed", kind)])
    assert streams_of(bag).cameras["front"] == "/front/image_raw/compressed"


def test_depth_images_are_refused_by_name(bag_of, events):
    bag = bag_of([*plant(events, drop_topic="/front/image_raw"), picture("/front/image_raw", encoding="16UC1")])
    expected = "camera 'front': the images on /front/image_raw are encoded as '16UC1', expected one of rgb8"
    assert expected in problem_of(bag)


def test_a_joint_that_is_not_there_is_named(bag_of, events):
    problem = problem_of(bag_of(events), joints=[*JOINTS, "elbow.roll"])
    assert "/joint_states has [shoulder_pan, " in problem and "but not elbow.roll of the robot config" in problem


def test_several_publishers_of_joint_states_are_looked_through_for_one_with_all_joints(bag_of, events):
    gripper = message("sensor_msgs/msg/JointState", header=header(1), name=["other_gripper"], position=np.zeros(1),
                      velocity=np.empty(0), effort=np.empty(0))  # fmt: skip
    first = Event("/joint_states", events[0].log_ns - 1, gripper)
    assert streams_of(bag_of([first, *events])).joint_states == ("/joint_states",)


def test_joints_that_come_in_several_messages_are_found_and_one_that_comes_in_none_is_told(bag_of, events):
    halves = []
    for event in events:
        if event.topic == "/joint_states":
            for part in (slice(0, 5), slice(5, 6)):
                state = replace(event.message, name=event.message.name[part], position=event.message.position[part])
                halves.append(replace(event, message=state))
    others = [event for event in events if event.topic != "/joint_states"]
    assert streams_of(bag_of([*others, *halves])).joint_states == ("/joint_states",)
    problem = problem_of(bag_of([*others, *(event for event in halves if "gripper" not in event.message.name)]))
    assert "/joint_states has [" in problem and "but not gripper of the robot config" in problem


# Commands.


ROBOT = RobotConfig.from_parameters(config())


def recorded(content, log_ns=7 * 10**9, topic="/command"):
    from simulated_bag import types

    return Recorded(topic, content.__msgtype__, log_ns, types().serialise(content), types())


def trajectory(names, rows, stamp_ns=0):
    points = [
        message("trajectory_msgs/msg/JointTrajectoryPoint", positions=np.array(row, float), velocities=np.empty(0),
                accelerations=np.empty(0), effort=np.empty(0),
                time_from_start=message("builtin_interfaces/msg/Duration", sec=0, nanosec=10_000_000 * (place + 1)))
        for place, row in enumerate(rows)
    ]  # fmt: skip
    return message("trajectory_msgs/msg/JointTrajectory", header=header(stamp_ns), joint_names=names, points=points)


def array_of(values):
    layout = message("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)
    return message("std_msgs/msg/Float64MultiArray", layout=layout, data=np.array(values, float))


def joint_command(names, values, stamp_ns=0):
    return message("sensor_msgs/msg/JointState", header=header(stamp_ns), name=names, position=np.array(values, float),
                   velocity=np.empty(0), effort=np.empty(0))  # fmt: skip


def test_a_trajectory_is_due_at_its_first_point_by_name():
    content = trajectory(["gripper", "wrist_roll"], [[0.5, 0.25], [9, 9]], stamp_ns=5 * 10**9)
    due_ns, positions = command_positions(
        recorded(content), ROBOT, [CommandStream("/command", "trajectory_msgs/msg/JointTrajectory", JOINTS)]
    )
    assert due_ns == 5_010_000_000
    np.testing.assert_array_equal(positions, [np.nan, np.nan, np.nan, np.nan, 0.25, 0.5])


def test_a_command_without_a_stamp_is_due_when_it_was_received():
    command = CommandStream("/command", "sensor_msgs/msg/JointState", JOINTS)
    assert command_positions(recorded(joint_command(["gripper"], [1.0])), ROBOT, [command])[0] == 7 * 10**9


def test_an_array_goes_by_the_order_of_the_config_and_each_group_by_its_own_topic():
    kind = "std_msgs/msg/Float64MultiArray"
    commands = (
        CommandStream("/command", kind, ("wrist_roll", "shoulder_pan")),
        CommandStream("/gripper", kind, ("gripper",), scale=-2.0, offset=1.0),
    )
    _, arm = command_positions(recorded(array_of([0.1, 0.2])), ROBOT, commands)
    np.testing.assert_array_equal(arm, [0.2, np.nan, np.nan, np.nan, 0.1, np.nan])
    _, gripper = command_positions(recorded(array_of([2.0]), topic="/gripper"), ROBOT, commands)
    np.testing.assert_array_equal(gripper[-1], -0.5)


GRIPPER_APART = {
    "command_groups": ["arm", "gripper"], "command.arm.type": "position_array",
    "command.gripper.type": "position_array",
    "command.gripper.topic": "gripper_controller/commands", "command.gripper.joints": ["gripper"],
    "command.gripper.scale": 2.0,
}  # fmt: skip


def test_every_command_group_of_the_config_is_found(bag_of, events):
    gripper = Event("/gripper_controller/commands", START_NS, array_of([1.0]))
    arm = Event("/forward_position_controller/commands", START_NS, array_of([0.0] * 5))
    commands = streams_of(bag_of([*events, gripper, arm]), **GRIPPER_APART).commands
    kind = "std_msgs/msg/Float64MultiArray"
    assert commands == (
        CommandStream("/forward_position_controller/commands", kind, JOINTS[:-1]),
        CommandStream("/gripper_controller/commands", kind, ("gripper",), 2.0, 0.0),
    )


@pytest.mark.parametrize("content", [joint_command(["gripper"], []), trajectory(["gripper"], [[1, 2]]), array_of([1])])
def test_lengths_that_contradict_each_other_are_refused(content):
    with pytest.raises(BagError, match=r"/command at 1970-01-01 00:00:07.000 UTC .*: \d joints but \d positions"):
        command_positions(recorded(content), ROBOT, [CommandStream("/command", content.__msgtype__, JOINTS)])


def test_positions_that_are_not_finite_are_no_commands():
    command = CommandStream("/command", "sensor_msgs/msg/JointState", JOINTS)
    _, positions = command_positions(recorded(joint_command(JOINTS, [np.inf, np.nan, 1, 2, 3, 4])), ROBOT, [command])
    np.testing.assert_array_equal(positions, [np.nan, np.nan, 1, 2, 3, 4])


# What the nodes told about themselves.


def test_the_recorded_parameters_are_those_of_the_nodes(bag_of, events):
    told = recorded_parameters(bag_of(events, namespace="left"), "left")
    assert set(told) == {"policy_node", "controller_node"}
    assert RobotConfig.from_parameters(ControllerParameters.from_values(told["controller_node"])) == ROBOT


def test_the_namespace_of_a_described_robot_is_offered(bag_of, events):
    with pytest.raises(BagError, match="give --robot or --namespace left"):
        node_parameters(bag_of(events, namespace="left"), "", "", {})


@pytest.mark.parametrize("words", ["", "no JSON", "5", "[]", '{"parameters": 5}', "[" * 100_000, json.dumps({"a": 1})])
def test_a_description_that_is_none_tells_nothing(bag_of, events, words):
    others = plant(events, drop_topic=["/policy_node/description", "/controller_node/description"])
    assert recorded_parameters(bag_of([*others, text("/policy_node/description", words)])) == {}


def test_simulated_bags_have_the_faults_that_are_asked_for(tmp_path):
    with open_bag(make_bag(tmp_path / "bag", seconds=1.0, dead_camera_after_s=0.5, drop_topic="/instruction")) as bag:
        assert bag.topics["/wrist/image_raw"].messages < bag.topics["/front/image_raw"].messages
        assert "/instruction" not in bag.topics


def test_faults_leave_the_events_of_a_scene_as_they_are(events):
    before = [id(event) for event in events]
    plant(events, swap_joints=("elbow_flex", "wrist_flex"), degrees=True, zero_stamps=True, frozen_camera="front")
    assert [id(event) for event in events] == before
    state = next(event.message for event in events if event.topic == "/joint_states")
    assert state.name == list(JOINTS) and state.header.stamp.sec and abs(state.position).max() < 3.2


def test_cameras_that_are_there_as_video_only_are_named_with_their_type():
    video = SimpleNamespace(name="/cam/video", type="foxglove_msgs/msg/CompressedVideo", messages=90)
    other = SimpleNamespace(name="/imu", type="sensor_msgs/msg/Imu", messages=90)
    topics = {topic.name: topic for topic in (video, other)}
    problem = why_missing(topics, "camera 'front'", "front/image_raw", ("sensor_msgs/msg/Image",), StreamNames(""))
    assert "/cam/video has 90 messages of type foxglove_msgs/msg/CompressedVideo, which cannot be used" in problem
    assert "/imu" not in problem
