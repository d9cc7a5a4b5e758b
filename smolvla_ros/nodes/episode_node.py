"""The action `~/run`: has the arm do what a sentence says until a condition is met, and keeps count of the episodes.

Beside policy and controller, on their topics only: it says an instruction, watches, and withdraws it. A run cannot make
the arm do anything that an instruction cannot, and the controller neither knows nor needs it.

Threads: the executor's runs everything. Streams are taken by a timer that exists during a run only.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import numpy as np
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.duration import Duration
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String

from smolvla_ros.action import Run
from smolvla_ros.episode.watch import (
    AS_ASKED,
    EpisodeOutcome,
    EpisodeRules,
    EpisodeWatch,
    StopConditions,
    Termination,
    problems_of,
)
from smolvla_ros.execution.status import ControllerState, Reason
from smolvla_ros.msg import Episode, ExecutionStatus
from smolvla_ros.parameters import is_topic_name
from smolvla_ros.parameters.episode import EpisodeParameters
from smolvla_ros.qos import LATCHED
from smolvla_ros.srv import SetOutcome

from .lifecycle import ManagedNode
from .polling import PolledSubscription
from .running import run_node

_PERIOD_S = 0.05
_FEEDBACK_EVERY = 4
_JOINT_STATES_DEPTH = 4
# Of the policy's words, which may come faster than they are taken.
_WORDS_DEPTH = 10
_LAST_WORD_TIMEOUT = Duration(seconds=0.2)


class _Running:
    """The run that goes on."""

    def __init__(self, handle: ServerGoalHandle, watch: EpisodeWatch, episode: Episode):
        self.handle, self.watch, self.episode = handle, watch, episode
        self.done = Future()
        self.looks = 0
        self.state = ""


class EpisodeNode(ManagedNode[EpisodeParameters]):
    """Serves one run at a time."""

    PARAMETERS = EpisodeParameters

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("episode_node", **kwargs)
        self._session = secrets.randbits(63) | 1
        self._last = Episode(session=self._session)
        self._running: _Running | None = None

    def configure(self) -> None:
        self._episodes = self.create_publisher(Episode, "episode", LATCHED)
        self._instruction = self.create_publisher(String, "instruction", LATCHED)
        self._positions: dict[str, float] = {}
        topics = self.parameters.joint_states_topics
        streams = [
            PolledSubscription(self, JointState, topic, self._on_joint_state, _JOINT_STATES_DEPTH) for topic in topics
        ]
        streams.append(PolledSubscription(self, ExecutionStatus, "execution_status", self._on_status))
        words = "policy_node/instruction_status"
        streams.append(PolledSubscription(self, String, words, self._on_word, _WORDS_DEPTH, latched=True))
        self._streams = streams

    def activate(self) -> None:
        server = ActionServer(
            self, Run, "~/run", execute_callback=self._execute, cancel_callback=lambda _: CancelResponse.ACCEPT
        )
        self.defer(server.destroy)
        self.create_service(SetOutcome, "~/set_outcome", self._on_outcome)

    def deactivate(self) -> None:
        if self._running is not None:
            self._running.watch.end(Termination.SHUTDOWN, "episode_node went down")
            self._look()
            for publisher in (self._instruction, self._episodes):
                publisher.wait_for_all_acked(_LAST_WORD_TIMEOUT)

    # A run.

    async def _execute(self, handle: ServerGoalHandle) -> Run.Result:
        goal = handle.request
        if self._running is not None:
            self._running.watch.end(Termination.PREEMPTED, f"by a run of '{goal.instruction}'")
            self._look()
        run = self._begun(handle)
        timer = self.create_timer(_PERIOD_S, self._look)
        subscription = self._success_subscription(goal.success_topic)
        try:
            await run.done
        finally:
            self.destroy_timer(timer)
            if subscription is not None:
                self._streams.remove(subscription)
                subscription.destroy()
        if run.episode.termination_reason in AS_ASKED:
            handle.succeed()
        elif run.episode.termination_reason == Termination.CANCELED:
            handle.canceled()
        else:
            handle.abort()
        return Run.Result(episode=run.episode)

    def _begun(self, handle: ServerGoalHandle) -> _Running:
        goal, values = handle.request, self.parameters
        self._take()  # what was said before does not count
        conditions = StopConditions(goal.timeout_s, goal.rest_s, bool(goal.success_topic))
        rules = EpisodeRules(
            answer_timeout_s=values.answer_timeout_s,
            hold_timeout_s=values.hold_timeout_s,
            rest_tolerance=values.rest_tolerance,
        )
        text = goal.instruction.strip()
        watch = EpisodeWatch(text, conditions, rules, time.monotonic())
        now = self.get_clock().now().to_msg()
        episode = Episode(session=self._session, number=self._last.number + 1, instruction=text, began=now)
        problem = problems_of(text, goal.timeout_s, goal.rest_s)
        if goal.success_topic and not is_topic_name(goal.success_topic):
            problem = f"success_topic is '{goal.success_topic}', which is no name of a topic"
        self._running = _Running(handle, watch, episode)
        self._tell(episode)
        if problem:
            watch.end(Termination.REFUSED, problem)
        else:
            self.get_logger().info(f"episode {episode.number}: '{text}'")
            self._instruction.publish(String(data=text))
        return self._running

    def _success_subscription(self, topic: str) -> PolledSubscription | None:
        """Without what was latched before: that was the success of another run."""
        if not topic or not is_topic_name(topic):
            return None
        subscription = PolledSubscription(self, Bool, topic, self._on_success)
        self._streams.append(subscription)
        return subscription

    def _take(self) -> None:
        for stream in self._streams:
            stream.take()

    def _look(self) -> None:
        """Takes what has come, tells how it goes, and ends the run when it is over."""
        run = self._running
        if run is None:
            return
        if run.handle.is_cancel_requested:
            run.watch.end(Termination.CANCELED, "whoever began it took it back")
        self._take()
        now_s = time.monotonic()
        run.looks += 1
        if run.looks % _FEEDBACK_EVERY == 0:
            elapsed_s = run.watch.elapsed_s(now_s)
            run.handle.publish_feedback(
                Run.Feedback(number=run.episode.number, elapsed_s=elapsed_s, state=run.state)
            )
        ending = run.watch.look(now_s)
        if ending is None:
            return
        self._running = None
        episode = run.episode
        episode.termination_reason, episode.detail = int(ending.reason), ending.detail
        episode.ended = self.get_clock().now().to_msg()
        if ending.reason == Termination.SUCCESS and not episode.outcome_by_person:
            episode.outcome = int(EpisodeOutcome.DONE)
        if ending.reason != Termination.PREEMPTED:  # what took its place has said its own
            self._instruction.publish(String(data=""))
        self.get_logger().info(f"episode {episode.number} ended: {ending.reason.name.lower()}: {ending.detail}")
        self._tell(episode)
        run.done.set_result(None)

    def _tell(self, episode: Episode) -> None:
        self._last = episode
        episode.header.stamp = self.get_clock().now().to_msg()
        self._episodes.publish(episode)

    def _on_outcome(self, request: SetOutcome.Request, response: SetOutcome.Response) -> SetOutcome.Response:
        last = self._last
        if request.outcome not in iter(EpisodeOutcome):
            response.message = f"outcome is {request.outcome}, expected one of {[int(one) for one in EpisodeOutcome]}"
        elif not last.number:
            response.message = "there was no episode yet"
        elif request.number not in (0, last.number):
            response.message = f"the last episode is {last.number}, not {request.number}"
        else:
            last.outcome, last.outcome_by_person = request.outcome, True
            self._tell(last)
            response.success = True
            response.message = f"episode {last.number}: {EpisodeOutcome(request.outcome).name.lower()}"
        return response

    # What is heard, within `_take`.

    def _on_word(self, message: String) -> None:
        try:
            word = json.loads(message.data)
            text, accepted, reason = str(word["instruction"]), bool(word["accepted"]), str(word["reason"])
        except (ValueError, KeyError, TypeError):
            return
        if self._running is not None:
            self._running.watch.hear_word(text.strip(), accepted, reason)

    def _on_status(self, message: ExecutionStatus) -> None:
        if self._running is None:
            return
        state = ControllerState(message.state).name.lower() if message.state in iter(ControllerState) else "?"
        reason = Reason(message.reason).name.lower().replace("_", " ") if message.reason in iter(Reason) else "?"
        why = f"{reason}: {message.detail}" if message.detail else reason
        self._running.state = state if message.state == ControllerState.FOLLOWING else f"{state}: {why}"
        self._running.watch.hear_status(message.state, why, time.monotonic())

    def _on_success(self, message: Bool) -> None:
        if self._running is not None:
            self._running.watch.hear_success(message.data)

    def _on_joint_state(self, message: JointState) -> None:
        if len(message.name) != len(message.position) or not np.isfinite(message.position).all():
            return
        self._positions |= dict(zip(message.name, message.position, strict=True))
        joints = self.parameters.joints
        if self._running is not None and all(name in self._positions for name in joints):
            positions = np.array([self._positions[name] for name in joints])
            self._running.watch.hear_positions(positions, time.monotonic())


def main() -> int:
    return run_node(EpisodeNode)
