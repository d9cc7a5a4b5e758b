"""What playing a bag brings up: nodes as on the robot, by the bag's time, without a command. No ROS graph."""

import json
from dataclasses import replace

import pytest
import yaml
from simulated_bag import make_bag

from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.recording.recording import Limits, RecordedTopic, Recording
from smolvla_ros.bringup import BringUpError, ReplayOptions, arm_processes
from smolvla_ros.bringup.replay import bag_play_command, plan_replay
from smolvla_ros.installation import share_folder

SAID_BY_THE_ROBOT = {"/front/image_raw", "/wrist/image_raw", "/joint_states", "/instruction"}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return make_bag(tmp_path_factory.mktemp("bags") / "bag", seconds=1.0)


@pytest.fixture
def options(bag):
    return ReplayOptions(bag=str(bag))


def test_the_bag_tells_robot_and_checkpoint(options, tmp_path):
    plan = plan_replay(options, tmp_path)
    assert plan.arm.checkpoint == str(share_folder() / "checkpoints" / "demo")
    told = yaml.safe_load((tmp_path / "robot.yaml").read_text())["/**/controller_node"]["ros__parameters"]
    assert told["command_type"] == "joint_state"
    assert "command_joints" not in told  # an empty list has no type in rcl


def test_the_nodes_run_by_the_bags_time_and_send_no_command(options, tmp_path):
    processes = {process.name: process for process in arm_processes(plan_replay(options, tmp_path).arm)}
    assert set(processes) == {"policy_node", "controller_node"}
    assert all(process.parameters["use_sim_time"] is True for process in processes.values())
    assert processes["controller_node"].parameters["dry_run"] is True


def test_what_the_robot_said_is_played_and_nothing_that_the_nodes_say(options, tmp_path):
    assert set(plan_replay(options, tmp_path).topics) == SAID_BY_THE_ROBOT


def test_topics_can_be_chosen(options, tmp_path):
    plan = plan_replay(replace(options, topics="/joint_states /joint_command"), tmp_path)
    assert plan.topics == ("/joint_states", "/joint_command")


def test_only_the_bag_is_played_if_that_is_asked_for(options, tmp_path):
    assert plan_replay(replace(options, topics_only=True), tmp_path).arm is None


def test_a_bag_of_another_recorder_needs_a_robot_and_a_checkpoint(tmp_path):
    bag = make_bag(tmp_path / "bag", seconds=1.0, drop_topic=["/policy_node/description"])
    with pytest.raises(BringUpError, match="does not tell the parameters of policy_node"):
        plan_replay(ReplayOptions(bag=str(bag)), tmp_path)
    with pytest.raises(BringUpError, match="does not tell its checkpoint"):
        plan_replay(ReplayOptions(bag=str(bag), robot="so101_sim"), tmp_path)
    plan = plan_replay(ReplayOptions(bag=str(bag), robot="so101_sim", checkpoint="org/name"), tmp_path)
    assert (plan.arm.robot, plan.arm.checkpoint) == ("so101_sim", "org/name")
    assert set(plan.topics) == SAID_BY_THE_ROBOT


@pytest.mark.parametrize("wrong, problem", [
    ({"start": 5.0}, "start is 5 s, the bag has 1"),
    ({"topics": "/nope"}, "topics holds /nope; the bag has .*/joint_states"),
])  # fmt: skip
def test_an_option_that_does_not_fit_the_bag_is_refused(options, tmp_path, wrong, problem):
    with pytest.raises(BringUpError, match=problem):
        plan_replay(replace(options, **wrong), tmp_path)


@pytest.mark.parametrize("wrong, problem", [
    ({"bag": ""}, "bag is empty"),
    ({"bag": "b", "rate": "fast"}, "rate is 'fast', expected a number"),
    ({"bag": "b", "rate": "0"}, "rate is 0, expected 0.01 to 100"),
    ({"bag": "b", "start": "-1"}, "start is -1 s"),
    ({"bag": "b", "remap": "/a:/b"}, "remap holds '/a:/b', expected the form A:=B"),
    ({"bag": "b", "loop": "maybe"}, "loop is 'maybe', expected true or false"),
])  # fmt: skip
def test_a_wrong_argument_is_refused_by_name(wrong, problem):
    with pytest.raises(BringUpError, match=problem):
        ReplayOptions.from_strings(wrong)


def test_rosbag2_is_asked_for_the_same():
    options = ReplayOptions(bag="b", rate=0.5, start=2.0, loop=True, start_paused=True, remap="/a:=/b /c:=/d")
    assert bag_play_command(options, ("/a", "/c")) == [
        "ros2", "bag", "play", "b", "--clock", "100", "--rate", "0.5", "--start-offset", "2", "--loop",
        "--start-paused", "--remap", "/a:=/b", "/c:=/d", "--topics", "/a", "/c",
    ]  # fmt: skip


def test_who_did_not_hear_the_instruction_itself_has_it_from_the_policy(bag, tmp_path):
    recording = Recording(tmp_path / "copy", Limits(reserve=0, ballast=0))
    with open_bag(bag) as source:
        for message in source.read(set(source.topics) - {"/instruction"}):
            data = message.data
            if message.topic == "/policy_node/description":
                told = json.loads(message.message.data) | {"instruction": "touch the blue cube"}
                data = source.types.serialise(type(message.message)(json.dumps(told)))
            topic = RecordedTopic(message.topic, message.type, source.definition(message.type), "")
            recording.put(topic, message.log_ns, message.log_ns, 0, data)
    recording.finish()
    recording.close({})
    plan = plan_replay(ReplayOptions(bag=str(tmp_path / "copy")), tmp_path)
    assert plan.arm.instruction == "touch the blue cube"
    plan = plan_replay(ReplayOptions(bag=str(tmp_path / "copy"), instruction="go home"), tmp_path)
    assert plan.arm.instruction == "go home"
