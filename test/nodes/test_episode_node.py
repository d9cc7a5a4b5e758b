"""The action `run` beside a stub of policy and controller: results, refusal, preemption, cancelling, and its end."""

import json
import threading
import time

import pytest
import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String

from smolvla_ros.action import Run
from smolvla_ros.execution.status import ControllerState
from smolvla_ros.msg import Episode, ExecutionStatus
from smolvla_ros.nodes.episode_node import EpisodeNode
from smolvla_ros.qos import LATCHED
from smolvla_ros.srv import SetOutcome

_PATIENCE_S = 20.0


class Rig:
    """The node, stubs, and a client; an executor thread spins them all."""

    def __init__(self):
        overrides = [Parameter("joints", value=["a", "b"]), Parameter("autostart", value=False),
                     Parameter("hold_timeout_s", value=2.0)]  # fmt: skip
        self.node = EpisodeNode(parameter_overrides=overrides)
        self.node.trigger_configure()
        self.node.trigger_activate()
        self.stub = rclpy.create_node("policy_node")
        self.state, self.position, self.said, self.episodes = ControllerState.FOLLOWING, 0.0, [], []
        stub = self.stub
        self._word = stub.create_publisher(String, "policy_node/instruction_status", LATCHED)
        self._status = stub.create_publisher(ExecutionStatus, "execution_status", 1)
        self._joints = stub.create_publisher(JointState, "joint_states", 1)
        self.success = stub.create_publisher(Bool, "task_success", LATCHED)
        stub.create_subscription(String, "instruction", self._on_instruction, LATCHED)
        stub.create_subscription(Episode, "episode", self.episodes.append, LATCHED)
        stub.create_timer(0.02, self._tell)
        self.client = ActionClient(stub, Run, "episode_node/run")
        self.outcome = stub.create_client(SetOutcome, "episode_node/set_outcome")
        self.executor = SingleThreadedExecutor()
        for one in (self.node, stub):
            self.executor.add_node(one)
        self.thread = threading.Thread(target=self.executor.spin)
        self.thread.start()
        self.wait(self.client.server_is_ready)

    def _on_instruction(self, message):
        self.said.append(message.data)
        accepted = "xyzzy" not in message.data
        word = {"instruction": message.data, "accepted": accepted, "reason": "" if accepted else "no such word"}
        self._word.publish(String(data=json.dumps(word)))

    def _tell(self):
        if self.state is not None:
            self._status.publish(ExecutionStatus(state=int(self.state), reason=4))
        self._joints.publish(JointState(name=["a", "b"], position=[self.position, 0.0]))

    def wait(self, condition):
        give_up_s = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up_s
            time.sleep(0.01)

    def begin(self, text="touch it", **goal):
        sent = self.client.send_goal_async(Run.Goal(instruction=text, **goal))
        self.wait(sent.done)
        handle = sent.result()
        assert handle.accepted
        self.wait(lambda: any(e.instruction == text.strip() for e in self.episodes))
        return handle, handle.get_result_async()

    def ended(self, result):
        self.wait(result.done)
        return result.result().status, result.result().result.episode

    def close(self):
        self.executor.shutdown()
        self.thread.join()
        for one in (self.node, self.stub):
            one.destroy_node()


@pytest.fixture
def rig(ros_domain):
    rclpy.init()
    rig = Rig()
    yield rig
    rig.close()
    rclpy.shutdown()


def test_runs_are_counted_end_by_their_conditions_and_withdraw_the_instruction(rig):
    rig.success.publish(Bool(data=True))  # of an episode before: it does not count
    _, result = rig.begin(success_topic="task_success", timeout_s=0.4)
    status, episode = rig.ended(result)
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert (episode.number, episode.termination_reason, episode.outcome) == (1, Episode.TIMEOUT, Episode.UNKNOWN)
    rig.wait(lambda: rig.said == ["touch it", ""])

    _, result = rig.begin("again", success_topic="task_success")
    rig.success.publish(Bool(data=True))
    while not result.done():  # until both have found each other
        rig.success.publish(Bool(data=True))
        time.sleep(0.02)
    _, episode = rig.ended(result)
    assert (episode.number, episode.termination_reason, episode.outcome) == (2, Episode.SUCCESS, Episode.DONE)

    answer = rig.outcome.call_async(SetOutcome.Request(outcome=Episode.FAILED))
    rig.wait(answer.done)
    assert answer.result().success
    rig.wait(lambda: rig.episodes[-1].outcome_by_person)
    assert (rig.episodes[-1].number, rig.episodes[-1].outcome) == (2, Episode.FAILED)
    answer = rig.outcome.call_async(SetOutcome.Request(number=7, outcome=Episode.DONE))
    rig.wait(answer.done)
    assert not answer.result().success and "the last episode is 2" in answer.result().message


def test_a_refused_instruction_and_a_goal_that_cannot_be_used_abort_with_the_reason(rig):
    wrong_topic = {"success_topic": "no name"}
    for text, goal, told in (("xyzzy", {}, "no such word"), (" ", {}, "empty"), ("a", wrong_topic, "no name")):
        _, result = rig.begin(text, **goal)
        status, episode = rig.ended(result)
        assert (status, episode.termination_reason) == (GoalStatus.STATUS_ABORTED, Episode.REFUSED)
        assert told in episode.detail


def test_a_new_run_takes_the_place_of_the_one_before_without_a_word_that_would_stop_it(rig):
    _, first = rig.begin("first")
    handle, second = rig.begin("second")
    status, episode = rig.ended(first)
    assert (status, episode.termination_reason) == (GoalStatus.STATUS_ABORTED, Episode.PREEMPTED)
    assert rig.said == ["first", "second"]
    handle.cancel_goal_async()
    status, episode = rig.ended(second)
    assert (status, episode.termination_reason) == (GoalStatus.STATUS_CANCELED, Episode.CANCELED)
    rig.wait(lambda: rig.said[-1] == "")


@pytest.mark.parametrize(
    ("state", "reason"),
    [(None, Episode.LOST), (ControllerState.HOLDING, Episode.HELD), (ControllerState.STOPPED, Episode.STOPPED)],
)
def test_what_becomes_of_the_controller_ends_a_run(rig, state, reason):
    _, result = rig.begin()
    rig.state = state
    status, episode = rig.ended(result)
    assert (status, episode.termination_reason) == (GoalStatus.STATUS_ABORTED, reason)
    assert episode.detail


def test_a_node_that_goes_down_tells_it_and_withdraws_the_instruction(rig):
    rig.begin()
    rig.executor.remove_node(rig.node)
    rig.node.trigger_deactivate()
    rig.wait(lambda: rig.episodes[-1].termination_reason == Episode.SHUTDOWN)
    rig.wait(lambda: rig.said[-1] == "")
