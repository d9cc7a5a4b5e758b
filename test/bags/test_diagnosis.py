"""Every planted fault is found by its name, and a healthy recording gives nothing at all."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from recorded_motion import START_NS, facts, record
from replays import replay_of

from smolvla_ros.bags.diagnosis import diagnose
from smolvla_ros.bags.replay.result import Skipped
from smolvla_ros.parameters.files import read_parameters
from smolvla_ros.parameters.robot import RobotParameters
from smolvla_ros.robot import RobotConfig
from smolvla_ros.robot.observation import Freshness

FRESHNESS = Freshness(500_000_000, 200_000_000, 50_000_000, frozen_frames=0, accept_zero_stamps=False)
DEGREES = np.degrees(1.0)
PAN, LIFT, ELBOW, WRIST = range(4)
ALL_STREAMS = ("camera front", "camera wrist", "joint states", "commands")
CONFIG = Path(__file__).parents[2] / "config" / "so101_sim.yaml"


@pytest.fixture(scope="module")
def robot():
    return RobotConfig.from_parameters(read_parameters(CONFIG, "/robot", RobotParameters))


@pytest.fixture(scope="module")
def motion():
    return record(0, 6.0)


@pytest.fixture
def find(motion, robot):
    """Plants faults into the recording and gives the findings by name."""

    def find(motion=motion, robot=robot, replay=(), **faults):
        seen = facts(motion, robot, **faults)
        found = diagnose(replay_of(motion, seen, robot, **dict(replay)), FRESHNESS)
        assert len({finding.name for finding in found}) == len(found), found
        return {finding.name: finding for finding in found}

    return find


def exchanged(rows, one, other):
    rows = rows.copy()
    rows[:, [one, other]] = rows[:, [other, one]]
    return rows


def mirrored(rows, joint):
    rows = rows.copy()
    rows[:, joint] *= -1.0
    return rows


def scaled(robot, factor, *names):
    joints = [dataclasses.replace(joint, scale=joint.scale * factor) if not names or joint.name in names else joint
              for joint in robot.joints]  # fmt: skip
    return dataclasses.replace(robot, joints=tuple(joints))


def only(found, name):
    assert list(found) == [name], found
    return found[name]


# Healthy.


@pytest.mark.parametrize(("seed", "seconds"), [(0, 6.0), (1, 6.0), (2, 2.0), (3, 2.0)])
def test_a_healthy_recording_gives_no_finding(find, seed, seconds):
    assert find(record(seed, seconds)) == {}


def test_an_arm_at_rest_gives_no_finding(find):
    assert find(record(1, 3.0, at_rest=True)) == {}


def test_a_recording_without_commands_gives_no_finding(find):
    assert find(with_commands=False) == {}


def test_noise_of_the_encoders_and_a_sagging_arm_give_no_finding(find, motion):
    noise = np.random.default_rng(1).normal(0.0, 0.003, motion.positions.shape)
    assert find(positions=motion.positions + noise + [0.0, 0.05, 0.04, -0.03, 0.0, 0.0]) == {}


def test_an_arm_at_rest_in_its_zero_position_gives_no_finding(find):
    rest = record(1, 3.0, at_rest=True)
    noise = np.random.default_rng(1).normal(0.0, 0.001, rest.positions.shape)
    assert find(rest, positions=noise, commands=np.zeros_like(noise)) == {}


def test_a_sluggish_arm_and_one_with_coarse_encoders_give_no_finding(find, motion):
    sluggish = motion.commands.copy()
    for k in range(1, len(sluggish)):
        sluggish[k] = sluggish[k - 1] + 0.1 * (sluggish[k] - sluggish[k - 1])  # 0.1 s behind
    assert find(positions=sluggish) == {}
    assert find(positions=np.round(motion.positions / 0.0015) * 0.0015) == {}


def test_a_gripper_that_closes_on_something_gives_no_finding(find, motion):
    commands, positions = motion.commands.copy(), motion.positions.copy()
    commands[:300, 5] = positions[:300, 5] = 1.5
    commands[300:, 5], positions[300:, 5] = -0.1, 0.6
    assert find(commands=commands, positions=positions) == {}


def test_images_from_far_away_with_right_stamps_give_no_finding(find):
    # Stamped when exposed, and 0.2 s on their way: log times and stamps differ, and so do the pictures.
    assert find(late_s={"camera front": 0.2}) == {}


def test_a_policy_that_is_merely_bad_is_called_so_and_the_recording_is_not(find):
    text = only(find(replay={"error_rad": 0.4}), "no_better_than_standing_still")
    assert text.severity == "note"


# Joints.


@pytest.mark.parametrize("side", ["positions", "commands"])
def test_two_exchanged_joints_are_named_with_what_shows_it(find, motion, side):
    found = only(find(**{side: exchanged(getattr(motion, side), ELBOW, WRIST)}), "swapped_joints")
    assert "elbow_flex moves like the commands of wrist_flex" in found.text
    assert {"positions": "The joint states carry", "commands": "The commands go"}[side] in found.text


@pytest.mark.parametrize(("factor", "name"), [(DEGREES, "degrees_for_radians"), (1 / DEGREES, "radians_for_degrees")])
def test_without_statistics_the_commands_alone_show_wrong_units(find, motion, factor, name):
    text = only(find(positions=motion.positions * factor, replay={"statistics": {}}), name).text
    assert text.startswith("The joint states of")


def test_three_joints_in_a_ring_are_exchanged_too(find, motion):
    ring = motion.positions.copy()
    ring[:, [LIFT, ELBOW, WRIST]] = ring[:, [ELBOW, WRIST, LIFT]]
    text = only(find(positions=ring), "swapped_joints").text
    assert all(name in text for name in ("shoulder_lift", "elbow_flex", "wrist_flex"))


def test_joints_exchanged_on_both_sides_show_against_the_training_data(find, motion):
    found = find(positions=exchanged(motion.positions, ELBOW, WRIST), commands=exchanged(motion.commands, ELBOW, WRIST))
    assert "fit the training data of each other" in only(found, "swapped_joints").text


def test_an_arm_at_rest_shows_exchanged_joints_by_where_they_stand(find):
    rest = record(1, 3.0, at_rest=True)
    text = only(find(rest, positions=exchanged(rest.positions, LIFT, ELBOW)), "swapped_joints").text
    assert "stands where" in text


@pytest.mark.parametrize(
    ("factor", "name"), [(DEGREES, "degrees_for_radians"), (1.0 / DEGREES, "radians_for_degrees")]
)
@pytest.mark.parametrize(
    ("sides", "with_commands", "blamed"),
    [
        (("positions",), True, "joint states of"),
        (("commands",), True, "The commands of"),
        (("positions", "commands"), True, "joint states and commands of"),
        (("positions",), False, "joint states of"),
    ],
)
def test_wrong_units_of_a_topic_are_found_and_the_topic_is_blamed(
    find, motion, factor, name, sides, with_commands, blamed
):
    found = only(find(with_commands=with_commands, **{side: getattr(motion, side) * factor for side in sides}), name)
    assert blamed in found.text
    assert "publishes" in found.text


@pytest.mark.parametrize("names", [(), ("wrist_flex",)])
def test_a_scale_that_is_missing_in_the_robot_config_is_blamed_there(find, robot, names):
    found = only(find(robot=scaled(robot, 1.0 / DEGREES, *names)), "radians_for_degrees")
    assert "'joint.<joint>.scale'" in found.text
    assert not names or "of wrist_flex are" in found.text


def test_a_scale_too_many_in_the_robot_config_is_blamed_there(find, robot):
    assert "'joint.<joint>.scale'" in only(find(robot=scaled(robot, DEGREES)), "degrees_for_radians").text


@pytest.mark.parametrize("joint", [PAN, LIFT, WRIST])
@pytest.mark.parametrize("side", ["positions", "commands"])
def test_a_joint_that_moves_against_its_commands_has_the_wrong_sign(find, motion, robot, joint, side):
    text = only(find(**{side: mirrored(getattr(motion, side), joint)}), "wrong_sign").text
    assert text.startswith(robot.joints[joint].name)


def test_a_wrong_sign_in_the_config_shows_where_training_was_on_one_side_of_zero(find, robot):
    assert only(find(robot=scaled(robot, -1.0, "wrist_flex")), "wrong_sign").severity == "warning"


def test_a_joint_whose_motor_is_off_is_named(find, motion):
    positions = motion.positions.copy()
    positions[:, LIFT] = positions[0, LIFT]
    assert "shoulder_lift is commanded" in only(find(positions=positions), "joint_does_not_move").text


def test_joint_states_that_repeat_themselves_are_frozen(find, motion):
    positions = motion.positions.copy()
    positions[300:] = positions[300]
    assert "from 3.0 s on" in only(find(positions=positions), "frozen_joint_states").text


def test_an_arm_that_does_something_else_does_not_follow_its_commands(find):
    assert "commands_not_followed" in find(positions=record(1, 6.0).positions)


def test_a_zero_position_that_is_off_lies_outside_the_training_range(find, motion):
    off = [0.0, 2.5, 0.0, 0.0, 0.0, 0.0]
    found = find(positions=motion.positions + off, commands=motion.commands + off)
    assert "shoulder_lift is at" in only(found, "outside_training_range").text


# Cameras.


def test_a_camera_that_stops_half_way_is_dead_from_then_on(find):
    assert "stops after 3.0 s" in only(find(until_s={"camera wrist": 3.0}), "dead_camera").text


def test_a_camera_without_an_image_is_dead(find):
    assert "no message" in only(find(until_s={"camera wrist": 0.0}), "dead_camera").text


@pytest.mark.parametrize("start", [0, 100])
def test_a_camera_that_repeats_its_image_while_the_arm_moves_is_frozen(find, motion, start):
    wrist = motion.images["wrist"]
    frozen = wrist[:start] + [wrist[start]] * (len(wrist) - start)
    assert f"from {start * 0.03:.1f} s on" in only(find(images=motion.images | {"wrist": frozen}), "frozen_camera").text


@pytest.mark.parametrize(("colour", "name"), [((0, 0, 0), "black_camera"), ((0, 135, 0), "blank_camera")])
def test_a_camera_of_one_colour_is_named(find, motion, colour, name):
    flat = [np.full_like(picture, colour) for picture in motion.images["wrist"]]
    only(find(images=motion.images | {"wrist": flat}), name)


def test_cameras_that_read_each_others_topics_are_exchanged(find, robot):
    front, wrist = robot.cameras
    crossed = (dataclasses.replace(front, topic=wrist.topic), dataclasses.replace(wrist, topic=front.topic))
    found = find(robot=dataclasses.replace(robot, cameras=crossed), topics={"front": wrist.topic, "wrist": front.topic})
    assert only(found, "swapped_cameras").severity == "warning"


# Clocks.


@pytest.mark.parametrize("shift_s", [5.0, 0.4, -0.3, -5.0])
def test_the_shifted_clock_of_one_camera_is_named(find, shift_s):
    assert "camera front" in only(find(shift_s={"camera front": shift_s}), "shifted_clock").text


def test_a_single_motion_says_nothing_about_what_a_camera_shows_when(find):
    assert find(record(0, 1.5), shift_s={"camera front": 0.4}) == {}


def test_two_cameras_of_one_machine_with_a_shifted_clock_are_one_finding(find):
    text = only(find(shift_s={"camera front": 3.0, "camera wrist": 3.0}), "shifted_clock").text
    assert "camera front" in text and "camera wrist" in text


@pytest.mark.parametrize("shift_s", [5.0, 0.4, -0.3])
def test_the_shifted_clock_of_the_joint_states_is_named(find, shift_s):
    assert "joint states" in only(find(shift_s={"joint states": shift_s}), "shifted_clock").text


@pytest.mark.parametrize(("shift_s", "seen"), [(37.0, "37.005 s behind"), (-2.0, "ahead of"), (1.69e9, "another time")])
def test_the_shifted_clock_of_the_whole_robot_is_told_from_that_of_a_stream(find, shift_s, seen):
    assert seen in only(find(shift_s=dict.fromkeys(ALL_STREAMS, shift_s)), "shifted_clock").text


def test_joint_states_that_precede_their_commands_show_a_shifted_clock(find, motion):
    early = np.vstack([motion.positions[30:], np.repeat(motion.positions[-1:], 30, axis=0)])
    assert "before the commands" in find(positions=early)["shifted_clock"].text


# Streams and instruction.


def test_slow_streams_are_named(find):
    assert "2.5 Hz" in only(find(keep_every={"joint states": 40}), "slow_joint_states").text
    assert "1.3 Hz" in only(find(keep_every={"camera front": 25}), "slow_camera").text


def test_streams_without_time_in_common_are_one_finding(find):
    cameras = {"camera front": 3.0, "camera wrist": 3.0}
    text = only(find(until_s={"joint states": 2.0}, from_s=cameras, with_commands=False), "no_overlap").text
    assert "/joint_states (joint states) ends at 2.0 s" in text


def test_an_instruction_that_comes_after_the_bag_began_is_not_missing(find):
    early = Skipped("instruction", START_NS, START_NS + 10**9, 30, "no instruction")
    later = Skipped("observation", START_NS + 10**9, START_NS + 6 * 10**9, 150, "no image from camera 'front' yet")
    assert "missing_instruction" not in find(replay={"chunks": (), "skipped": (early, later)})


def test_a_missing_instruction_is_named(find):
    waited = Skipped("instruction", START_NS, START_NS + 6 * 10**9, 180, "no instruction")
    found = find(instruction="", replay={"chunks": (), "skipped": (waited,)})
    assert "--instruction" in only(found, "missing_instruction").text


def test_a_fault_without_a_name_is_told_by_what_the_node_waited_for(find):
    waited = Skipped("observation", START_NS, START_NS + 6 * 10**9, 170, "no usable joint state yet")
    assert "no usable joint state yet" in only(find(replay={"skipped": (waited,)}), "no_observation").text
