"""A recorded session through the policy node's own code: what is asked, with what, when, and what comes of it."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from replaying import JOINTS, OFFSET, ROWS, STEP_NS, FakePolicy, changed, controller_parameters, make_setup, run
from simulated_bag import INSTRUCTION, START_NS, Scene, make_bag, message, plant, recorded_events, write_bag

from smolvla_ros.bags.errors import BagError
from smolvla_ros.bags.reader import open_bag
from smolvla_ros.bags.replay.run import LONGEST_SILENCE_NS, ReplaySettings, replay
from smolvla_ros.bags.streams import find_streams
from smolvla_ros.sim import JOINTS as NAMES

SCENE = Scene()
S = 10**9


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return make_bag(tmp_path_factory.mktemp("healthy") / "bag")


@pytest.fixture
def made(tmp_path):
    """Writes a bag of events."""

    def write(events):
        write_bag(tmp_path / "bag", sorted(events, key=lambda event: event.log_ns))
        return tmp_path / "bag"

    return write


def events(**faults):
    return plant(recorded_events(SCENE), **faults)


def instruction(text, after_s):
    event = next(event for event in recorded_events(SCENE) if event.topic == "/instruction")
    told = message("std_msgs/msg/String", data=text)
    return dataclasses.replace(event, log_ns=START_NS + round(after_s * 1e9), message=told)


def offsets():
    """The fake policy's error in the robot's units."""
    return OFFSET / np.array([joint.scale for joint in make_setup(FakePolicy()).robot.joints])


# What it compares with.


def test_against_the_measured_positions_a_chunk_is_compared_instant_by_instant(healthy):
    found = run(healthy, reference="state")
    joint_states = [e.message for e in recorded_events(SCENE) if e.topic == "/joint_states"]
    stamps_ns = [m.header.stamp.sec * S + m.header.stamp.nanosec for m in joint_states]
    positions = np.array([m.position for m in joint_states])
    for chunk in found.chunks:
        times_ns = chunk.start_ns + STEP_NS * np.arange(ROWS)
        inside = times_ns <= stamps_ns[-1]
        for joint in range(JOINTS):
            expected = np.interp(times_ns - START_NS, np.array(stamps_ns) - START_NS, positions[:, joint])
            np.testing.assert_allclose(chunk.reference[inside, joint], expected[inside], atol=1e-9)
        assert np.isnan(chunk.reference[~inside]).all()


def test_the_first_row_of_a_policy_that_answers_with_what_it_sees_is_off_by_its_offset_alone(healthy):
    found = run(healthy, reference="state")
    # The joint state is some ms younger than the image whose stamp counts.
    first_row = found.errors.robot.cell_mean[0]
    np.testing.assert_allclose(first_row, offsets(), atol=0.02)
    assert found.hold_errors.robot.row_mean[0] < 0.01


def test_errors_in_std_are_those_of_the_checkpoint_units(healthy):
    found = run(healthy, reference="state")
    np.testing.assert_allclose(found.action_std, offsets() * 4.0 / OFFSET)
    np.testing.assert_allclose(found.errors.std.joint_mean, found.errors.robot.joint_mean / found.action_std)


def test_the_first_chunk_is_compared_from_when_the_recorded_arm_was_let_go(healthy, made):
    first = next(event for event in recorded_events(SCENE) if event.topic == "/action_chunk")
    late_ns = round(first.message.latency_s * 1e9)
    found = run(healthy, request="recorded")
    assert found.chunks[0].start_ns - found.chunks[0].stamp_ns == pytest.approx(late_ns, abs=5e6)
    assert all(chunk.start_ns == chunk.stamp_ns for chunk in found.chunks[1:])
    untold = run(made(events(drop_topic="/execution_status")), request="recorded")
    assert all(chunk.start_ns == chunk.stamp_ns for chunk in untold.chunks)


def test_commands_are_the_reference_where_the_bag_has_them(healthy, made):
    assert "commands on /joint_command" in run(healthy).reference
    without = made(events(drop_topic="/joint_command"))
    assert "positions measured on /joint_states" in run(without).reference
    with pytest.raises(BagError, match="no commands"):
        run(without, reference="command")


def test_the_trace_holds_every_tick_with_what_was_commanded_and_what_was_measured(healthy):
    found = run(healthy)
    trace = found.trace
    assert np.diff(trace.times_ns).tolist() == [STEP_NS] * (len(trace.times_ns) - 1)
    followed = trace.chunk >= 0
    assert followed.sum() > 60 and np.isfinite(trace.commanded[followed]).all()
    assert np.isnan(trace.commanded[~followed]).all()
    assert np.isfinite(trace.measured[-10:-2]).all() and np.isfinite(trace.reference[-10:-2]).all()


def test_a_silence_of_hours_has_no_ticks_and_the_rest_is_replayed_as_without_it(healthy, made):
    first, *others = recorded_events(SCENE)
    found = run(made([dataclasses.replace(first, log_ns=first.log_ns - 2**43), *others]))  # as one wrong bit makes it
    assert len(found.trace.times_ns) < (LONGEST_SILENCE_NS + 10 * S) / STEP_NS
    # The ticks lie elsewhere between the messages, so the first chunk can be asked for a message earlier or later.
    assert len(found.chunks) == pytest.approx(len(run(healthy).chunks), abs=1)


# When it asks.


def test_every_rule_asks_as_on_the_robot(healthy):
    asked = {rule: len(run(healthy, request=rule, latency="0",
                           parameters={"request_rule": rule, "request_every_n": 5}).chunks)
             for rule in ("synchronous", "threshold", "every_n", "continuous")}  # fmt: skip
    seconds = SCENE.seconds
    assert asked["synchronous"] == pytest.approx(seconds * 30 / ROWS, abs=1.5)
    assert asked["threshold"] == pytest.approx(seconds * 30 / (ROWS / 2), abs=2.5)
    assert asked["every_n"] == pytest.approx(seconds * 30 / 5, abs=2.5)
    assert asked["continuous"] == pytest.approx(seconds * 30, abs=4)


def test_a_chunk_arrives_after_its_latency_and_nothing_is_asked_meanwhile(healthy):
    found = run(healthy, request="continuous", latency="0.2", parameters={"request_rule": "continuous"})
    for before, after in zip(found.chunks, found.chunks[1:], strict=False):
        assert before.usable_ns == before.stamp_ns + S // 5
        assert after.requested_ns >= before.usable_ns


def test_a_latency_beyond_half_a_chunk_is_told_and_held_against_the_policy(healthy):
    found = run(healthy, latency="0.5", parameters={"request_rule": "continuous"})
    assert [finding.name for finding in found.findings] == ["slow_policy"]
    assert found.seams.idle_fraction > 0.2  # hold, look and go
    assert not run(healthy, latency="0.1").findings


def test_recorded_requests_repeat_the_recorded_chunks_from_their_own_images(healthy):
    found = run(healthy, request="recorded")
    chunks = [event.message for event in recorded_events(SCENE) if event.topic == "/action_chunk"]
    assert [chunk.recorded.sequence for chunk in found.chunks] == [chunk.sequence for chunk in chunks]
    assert [chunk.stamp_ns for chunk in found.chunks] == [chunk.recorded.stamp_ns for chunk in found.chunks]
    assert found.recorded_unmatched == 0
    latency_s = (found.chunks[0].usable_ns - found.chunks[0].stamp_ns) / S
    assert latency_s == pytest.approx(chunks[0].latency_s)
    pairs = zip(found.chunks, chunks, strict=True)
    apart = [np.abs(mine.positions - told.positions.reshape(-1, JOINTS)[:ROWS]) for mine, told in pairs]
    assert found.recorded_errors.robot.mean == pytest.approx(np.mean(apart))


def test_an_image_that_the_recorder_received_late_still_belongs_to_the_chunk_made_of_it(made):
    late = [dataclasses.replace(e, log_ns=e.log_ns + 20_000_000) if "image" in e.topic else e for e in events()]
    found = run(made(late), request="recorded")
    assert len(found.chunks) > 2 and found.recorded_unmatched == 0


def test_a_chunk_whose_images_are_not_in_the_bag_counts_as_unmatched(made):
    chunks = [e for e in events() if e.topic == "/action_chunk"]
    first = chunks[1].message.header.stamp
    gone = [e for e in events() if "image" not in e.topic or e.message.header.stamp.nanosec != first.nanosec]
    assert run(made(gone), request="recorded").recorded_unmatched == 1


def test_recorded_requests_need_recorded_chunks(made):
    with pytest.raises(BagError, match="no usable action_chunk"):
        run(made(events(drop_topic="/action_chunk")), request="recorded")


# What it sees.


def test_the_policy_sees_the_newest_image_and_joints_that_had_been_received(healthy):
    fake = FakePolicy()
    found = run(healthy, fake, latency="0")
    for call, chunk in zip(fake.calls, found.chunks, strict=True):
        front = [e for e in recorded_events(SCENE) if e.topic == "/front/image_raw" and e.log_ns <= chunk.requested_ns]
        seen = call.images["observation.images.front"]
        np.testing.assert_array_equal(seen.reshape(-1), front[-1].message.data)
        joints = [e for e in recorded_events(SCENE) if e.topic == "/joint_states" and e.log_ns <= chunk.requested_ns]
        np.testing.assert_array_equal(chunk.state, joints[-1].message.position)


def test_a_dead_camera_leaves_nothing_to_act_on_from_there_and_the_reason_says_so(made):
    found = run(made(events(dead_camera_after_s=1.0)))
    assert all(chunk.requested_ns < START_NS + 1.6 * S for chunk in found.chunks) and found.chunks
    last = found.skipped[-1]
    assert last.kind == "observation" and last.reason == "the last image from camera 'wrist' is older than 0.5 s"
    assert last.time_ns == pytest.approx(START_NS + 1.5 * S, abs=0.1 * S) and last.instants > 20


def test_before_everything_has_come_the_reason_is_what_is_missing(made):
    found = run(made([event for event in events() if event.topic != "/front/image_raw" or event.log_ns > START_NS + S]))
    reasons = [skipped.reason for skipped in found.skipped]
    assert "no image from camera 'front' yet" in reasons
    assert found.chunks[0].requested_ns >= START_NS + S


def test_streams_that_do_not_overlap_give_no_chunk_and_a_reason(made):
    found = run(made(events(no_overlap=True)))
    assert not found.chunks and np.isnan(found.errors.robot.mean)
    assert found.skipped[-1].reason == "the last joint state is older than 0.2 s"


def test_refused_messages_are_counted_with_the_first_reason(made, tmp_path):
    found = run(made(events(zero_stamps=True)))
    health = {stream.name: stream for stream in found.streams}
    front = health["camera front"]
    assert (front.refused, front.zero_stamps) == (front.messages, front.messages)
    assert front.refusal.startswith("stamp is zero, expected the time of measurement")
    assert not found.chunks
    assert run(tmp_path / "bag", parameters={"accept_zero_stamps": True}).chunks


def test_a_joint_that_is_told_no_longer_is_named(made):
    def without_gripper(event):
        if event.topic != "/joint_states" or event.log_ns < START_NS + S:
            return event
        fewer = changed(event.message, name=event.message.name[:-1], position=event.message.position[:-1])
        return dataclasses.replace(event, message=fewer)

    found = run(made([without_gripper(event) for event in events()]))
    assert found.skipped[-1].reason == "the last state of 'gripper' is older than 0.2 s"


def test_joints_are_taken_by_name_in_whatever_order_they_come(healthy, made):
    def reversed_order(event):
        if event.topic != "/joint_states":
            return event
        turned = changed(event.message, name=event.message.name[::-1], position=event.message.position[::-1].copy())
        return dataclasses.replace(event, message=turned)

    turned = run(made([reversed_order(event) for event in events()]), latency="0")
    for chunk, same in zip(turned.chunks, run(healthy, latency="0").chunks, strict=True):
        np.testing.assert_array_equal(chunk.positions, same.positions)


def test_health_tells_rate_gaps_and_lag_of_a_stream(healthy):
    front = next(stream for stream in run(healthy).streams if stream.name == "camera front")
    assert front.rate_hz == pytest.approx(30.0, abs=0.2)
    assert front.stamp_lag_p50_s == pytest.approx(0.004, abs=0.002)
    assert 0.033 < front.p95_gap_s < front.max_gap_s < 0.045
    assert (front.topic, front.type, front.refused) == ("/front/image_raw", "sensor_msgs/msg/Image", 0)


# What it is told to do.


def test_the_instruction_of_the_bag_counts_and_its_changes_are_answered_at_once(made):
    found = run(made([*events(), instruction("touch the blue cube", 1.0)]), latency="0")
    texts = [chunk.instruction for chunk in found.chunks]
    assert texts[0] == INSTRUCTION and texts[-1] == "touch the blue cube"
    changed_at = found.chunks[texts.index("touch the blue cube")].requested_ns
    assert 0 <= changed_at - START_NS - S <= STEP_NS


def test_a_chunk_is_not_compared_with_what_the_robot_did_for_another_instruction(made):
    folder = made([*events(), instruction("touch the blue cube", 1.0), instruction("", 2.0)])
    for chunk in run(folder, reference="state").chunks:
        ends_ns = START_NS + (S if chunk.instruction == INSTRUCTION else 2 * S)
        known = np.isfinite(chunk.reference).all(axis=1)
        assert known.tolist() == (chunk.start_ns + STEP_NS * np.arange(ROWS) <= ends_ns).tolist()
    given = run(folder, reference="state", instruction="dance").chunks
    assert all(np.isfinite(chunk.reference).all() for chunk in given if chunk.stamp_ns < START_NS + 2 * S)


def test_an_instruction_that_the_recorder_did_not_hear_is_known_from_the_policys_description(made):
    told = [described(0.5, instruction="touch it"), described(1.5, instruction=""), described(2.0, instruction="again")]
    folder = made([*events(drop_topic="/instruction"), *told])
    chunks = run(folder, latency="0").chunks
    assert list(dict.fromkeys(chunk.instruction for chunk in chunks)) == ["touch it", "again"]
    assert {chunk.requested_ns >= START_NS + 2 * S for chunk in chunks if chunk.instruction == "again"} == {True}
    assert run(folder, latency="0", start_s=2.5).chunks[0].instruction == "again"


def test_an_empty_instruction_ends_motion_until_the_next(made):
    found = run(made([*events(), instruction("", 1.0), instruction("go on", 2.0)]), latency="0")
    during = (found.trace.times_ns > START_NS + S + STEP_NS) & (found.trace.times_ns < START_NS + 2 * S)
    assert (found.trace.chunk[during] == -1).all()
    assert [s.kind for s in found.skipped if s.time_ns > START_NS + S // 2] == ["instruction"]
    assert found.chunks[-1].instruction == "go on"


def test_an_instruction_that_the_policy_cannot_read_is_refused_and_the_one_before_stays(made):
    found = run(made([*events(), instruction("x" * 101, 1.0)]))
    assert {chunk.instruction for chunk in found.chunks} == {INSTRUCTION}
    told = next(stream for stream in found.streams if stream.name == "instruction")
    assert (told.refused, told.refusal) == (1, "the instruction is too long")


def test_an_instruction_that_the_recorded_policy_refused_is_not_followed_though_this_one_could(made):
    told = [described(-0.2, instruction=""), described(0.0, instruction=INSTRUCTION)]
    found = run(made([*events(), *told, instruction("dance", 1.0)]))
    assert {chunk.instruction for chunk in found.chunks} == {INSTRUCTION}


def test_without_an_instruction_nothing_is_asked_unless_one_is_given(made):
    folder = made(events(drop_topic="/instruction"))
    silent = run(folder)
    assert not silent.chunks and {skipped.kind for skipped in silent.skipped} == {"instruction"}
    assert {chunk.instruction for chunk in run(folder, instruction="dance").chunks} == {"dance"}


def test_a_given_instruction_replaces_those_of_the_bag(made):
    found = run(made([*events(), instruction("", 1.0)]), instruction="dance")
    assert {chunk.instruction for chunk in found.chunks} == {"dance"}
    assert found.chunks[-1].requested_ns > START_NS + 2 * S


def test_a_part_of_the_bag_begins_with_the_instruction_that_was_in_force(healthy):
    found = run(healthy, start_s=1.0, duration_s=1.0)
    assert {chunk.instruction for chunk in found.chunks} == {INSTRUCTION}
    assert found.end_ns - found.start_ns == S
    assert all(found.start_ns <= chunk.requested_ns <= found.end_ns for chunk in found.chunks)


@pytest.mark.parametrize("part", [{"start_s": 99.0}, {"start_s": -1.0}, {"duration_s": -1.0}])
def test_a_part_that_the_bag_does_not_have_is_refused(healthy, part):
    with pytest.raises(BagError, match="give no part"):
        run(healthy, **part)


# What else may happen.


class FailingPolicy(FakePolicy):
    def predict(self, *args, **kwargs):
        if len(self.calls) == 2:
            self.calls.append(None)
            raise ValueError("out of memory")
        return super().predict(*args, **kwargs)


def test_a_failed_inference_is_told_and_tried_again_as_on_the_robot(healthy):
    fake = FailingPolicy()
    found = run(healthy, fake, latency="0")
    (failure,) = [skipped for skipped in found.skipped if skipped.kind == "inference"]
    assert failure.reason == "inference failed 1 times in a row: ValueError: out of memory"
    assert failure.last_ns - failure.time_ns == pytest.approx(0.5 * S, abs=0.1 * S)  # retry_backoff_s
    assert len(found.chunks) > 3


def test_the_same_replay_gives_the_same_chunks_and_another_seed_other_noise(healthy):
    one, same, other = FakePolicy(), FakePolicy(), FakePolicy()
    first, again = run(healthy, one), run(healthy, same)
    run(healthy, other, parameters={"seed": 1})
    for left, right in zip(first.chunks, again.chunks, strict=True):
        np.testing.assert_array_equal(left.positions, right.positions)
    np.testing.assert_array_equal(one.calls[1].noise, same.calls[1].noise)
    assert (one.calls[1].noise != other.calls[1].noise).any()


def test_real_time_chunking_continues_the_replayed_chunk(healthy):
    fake = FakePolicy()
    found = run(healthy, fake, latency="0.1", parameters={"rtc": "lerobot"})
    assert fake.calls[0].guide is None
    guide = fake.calls[1].guide
    assert guide.delay == 3  # ceil(0.1 s / 33 ms), rounding allowed for
    assert found.chunks[1].frozen_rows == guide.delay
    before, after = found.chunks[0], found.chunks[1]
    passed = (after.stamp_ns - before.stamp_ns) / STEP_NS
    held = (before.usable_ns - before.stamp_ns) / STEP_NS  # the first chunk starts when it is there
    assert len(guide.leftover) == pytest.approx(ROWS - (passed - held), abs=1.01)


def test_ctrl_c_ends_the_replay_with_what_there_is(healthy):
    setup = make_setup(FakePolicy())

    def stop(done_s):
        if done_s > 1.5:
            raise KeyboardInterrupt

    with open_bag(healthy) as bag:
        streams = find_streams(bag, setup.robot, controller_parameters())
        found = replay(bag, streams, setup, ReplaySettings(), stop)
    assert found.chunks and found.chunks[-1].requested_ns <= found.start_ns + 1.6 * S
    assert len(found.defects) == 1 and "stopped at" in found.defects[0]
    assert found.end_ns - found.start_ns == pytest.approx(1.5 * S, abs=2 * STEP_NS)
    assert np.isfinite(found.errors.robot.mean)


def test_a_trajectory_controller_s_bag_gives_the_reference_that_was_commanded(made):
    def as_trajectory(event):
        stamp_ns = event.message.header.stamp.sec * S + event.message.header.stamp.nanosec
        points = [
            message("trajectory_msgs/msg/JointTrajectoryPoint", positions=np.array(event.message.position),
                    velocities=np.empty(0), accelerations=np.empty(0), effort=np.empty(0),
                    time_from_start=message("builtin_interfaces/msg/Duration", sec=0, nanosec=nanosec))
            for nanosec in (0, 100_000_000)
        ]  # fmt: skip
        told = message("trajectory_msgs/msg/JointTrajectory", header=event.message.header, joint_names=list(NAMES),
                       points=points)  # fmt: skip
        assert stamp_ns > 0
        return dataclasses.replace(event, topic="/joint_trajectory_controller/joint_trajectory", message=told)

    as_trajectories = [as_trajectory(e) if e.topic == "/joint_command" else e for e in events()]
    found = run(made(as_trajectories), command={"command_type": "joint_trajectory"}, latency="0")
    usual = [e.message for e in recorded_events(SCENE) if e.topic == "/joint_command"]
    times_ns = np.array([m.header.stamp.sec * S + m.header.stamp.nanosec for m in usual])
    chunk = found.chunks[-2]
    inside = chunk.stamp_ns + STEP_NS * np.arange(ROWS) < times_ns[-1]
    nearest = [np.abs(times_ns - (chunk.stamp_ns + STEP_NS * row)).argmin() for row in range(ROWS)]
    expected = np.array([usual[place].position for place in nearest])
    np.testing.assert_allclose(chunk.reference[inside], expected[inside], atol=0.03)


def test_a_bag_of_a_recorder_with_another_clock_replays_when_its_log_times_are_moved(made):
    early = [dataclasses.replace(event, log_ns=event.log_ns - 100 * S) for event in events()]
    folder = made(early)
    assert not run(folder).chunks
    usual = [chunk.stamp_ns for chunk in run(folder, clock_offset="100").chunks]
    assert len(usual) > 3
    found = run(folder, clock_offset="auto")
    assert [chunk.stamp_ns for chunk in found.chunks] == pytest.approx(usual, abs=STEP_NS)
    assert [(f.name, f.severity) for f in found.findings] == [("moved_clock", "note")]
    assert "+99.99" in found.findings[0].text  # joint states arrive 0.8 ms late


def test_a_clock_offset_that_is_none_or_cannot_be_told_is_refused(healthy, made):
    with pytest.raises(BagError, match="expected seconds or 'auto'"):
        run(healthy, clock_offset="soon")
    with pytest.raises(BagError, match="no message on /joint_states has a stamp"):
        run(made(events(zero_stamps=True)), clock_offset="auto")


def described(after_s=-0.2, **facts):
    event = next(event for event in recorded_events(SCENE) if event.topic == "/policy_node/description")
    told = message("std_msgs/msg/String", data=json.dumps(json.loads(event.message.data) | facts))
    return dataclasses.replace(event, log_ns=START_NS + round(after_s * 1e9), message=told)


@pytest.mark.parametrize(("content", "differs"), [(b"weights", False), (b"others", True)])
def test_another_checkpoint_than_the_recorded_one_is_noted(made, tmp_path, content, differs):
    fake = FakePolicy()
    fake.folder = tmp_path
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    told = {"folder": "/robot/checkpoint", "sha256": {"model.safetensors": hashlib.sha256(content).hexdigest()}}
    empty = {"folder": "/robot/checkpoint", "sha256": {}}
    folder = made([*events(), described(checkpoint=told), described(checkpoint=empty)])
    findings = [finding for finding in run(folder, fake).findings if finding.name == "other_checkpoint"]
    assert bool(findings) == differs
    if differs:
        assert "/robot/checkpoint): model.safetensors differ" in findings[0].text
