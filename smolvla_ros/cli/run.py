"""Have the arm do something until it is done: one run with an end, and an exit code for scripts.

    smolvla-ros run touch the red cube --until-success --timeout 30
    smolvla-ros run put the cube on the plate --rest 3 --park

Ctrl-C ends the run: the arm brakes and holds. The episode's number, end and outcome are in the bag, if one is
recorded. Exit code 0: its condition was met; 3: the time was up before; 4: a person or another run ended it; 1: it was
refused, or policy, controller or arm failed. --park sends the arm to its park pose after a run that nobody broke off;
it stays there until `smolvla-ros resume`.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from .live import CommandFailed, add_namespace, connected
from .park import park
from .signals import CommandStopped

if TYPE_CHECKING:
    from smolvla_ros.client import ArmClient

_SERVER_TIMEOUT_S, _ANSWER_TIMEOUT_S, _CANCEL_TIMEOUT_S = 10.0, 5.0, 3.0
# The node tells five times a second how the run goes.
_SILENT_S = 3.0
_OUT_OF_TIME, _ENDED_BY_PERSON = 3, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `run`."""
    parser.add_argument("instruction", nargs="+", metavar="WORD", help="for example: touch the red cube")
    parser.add_argument("--timeout", type=float, default=0.0, metavar="S", help="the longest time (default: no limit)")
    parser.add_argument("--rest", type=float, default=0.0, metavar="S",
                        help="end when the arm has moved and then was at rest for so long")  # fmt: skip
    parser.add_argument("--until-success", nargs="?", const="task_success", default="", metavar="TOPIC",
                        help="end when this topic (std_msgs/Bool) says true; without a name: task_success, which the "
                        "simulated arm tells")  # fmt: skip
    parser.add_argument("--park", action="store_true", help="then go to the park pose, unless a person ended the run")
    add_namespace(parser)


def run(args: argparse.Namespace) -> int:
    """Runs it; the exit code says how it ended."""
    from smolvla_ros.episode.watch import problems_of

    text = " ".join(args.instruction).strip()
    if problem := problems_of(text, args.timeout, args.rest):
        raise CommandFailed(problem)
    args.signals.kept = "nothing was begun"
    with connected(args) as client:
        if args.park and not client.parameter("controller_node", "park_joints"):
            raise CommandFailed("--park, and the robot has no park pose: set park_joints and park_positions")
        code = _exit_code(_Client(client, args).run(text), args)
        if args.park and code != _ENDED_BY_PERSON:
            args.signals.kept = "the arm is on its way to its park pose: `smolvla-ros stop`"
            park(client)
    return code


class _Client:
    """One goal, from its sending to its result."""

    def __init__(self, client: ArmClient, args: argparse.Namespace):
        from rclpy.action import ActionClient

        from smolvla_ros.action import Run
        from smolvla_ros.msg import Episode
        from smolvla_ros.qos import LATCHED

        self._client, self._args = client, args
        self._action = ActionClient(client.node, Run, "episode_node/run")
        self._told: dict[tuple[int, int], Any] = {}
        self._number = 0
        self._heard_s = math.nan
        self._state = ""
        client.node.create_subscription(Episode, "episode", self._on_episode, LATCHED)

    def run(self, text: str) -> Any:
        """The episode, ended. Raises CommandFailed, and CommandStopped after a signal, the run cancelled."""
        from smolvla_ros.action import Run

        args = self._args
        if not self._client.wait_for(self._action.server_is_ready, _SERVER_TIMEOUT_S):
            raise CommandFailed("nobody offers episode_node/run: is the arm up (`smolvla-ros arm`), in this namespace "
                                "and ROS domain?")  # fmt: skip
        goal = Run.Goal(
            instruction=text, timeout_s=args.timeout, rest_s=args.rest, success_topic=args.until_success
        )
        sent = self._action.send_goal_async(goal, feedback_callback=self._on_feedback)
        if not self._client.wait_for(sent.done, _ANSWER_TIMEOUT_S) or not sent.result().accepted:
            raise CommandFailed("episode_node did not take the run: look at its log")
        args.signals.kept = "the run was cancelled, the arm brakes and holds"
        result = sent.result().get_result_async()
        self._heard_s = _now_s()
        try:
            while not self._client.wait_for(lambda: result.done() or self._ended() is not None, 1.0):
                if _now_s() - self._heard_s > _SILENT_S:
                    self._give_up()
        except CommandStopped:
            cancelled = sent.result().cancel_goal_async()
            self._args.signals.number, number = 0, self._args.signals.number  # the cancelling is waited for
            self._client.wait_for(lambda: result.done() or cancelled.done(), _CANCEL_TIMEOUT_S)
            self._args.signals.number = number
            raise
        return result.result().result.episode if result.done() else self._ended()

    def _ended(self) -> Any:
        """The episode as the topic tells it, once it is over: the node may go down before it answers."""
        told = [episode for episode in self._told.values() if episode.number == self._number]
        return next((episode for episode in told if episode.termination_reason), None)

    def _give_up(self) -> None:
        from std_srvs.srv import Trigger

        from smolvla_ros.client import ClientError

        try:
            self._client.call(Trigger, "controller_node/stop", Trigger.Request(), _CANCEL_TIMEOUT_S)
            then = "the arm was stopped: `smolvla-ros resume`"
        except ClientError as error:
            then = f"and the arm could not be stopped: {error}"
        raise CommandFailed(f"episode_node has been silent for {_SILENT_S:g} s; {then}")

    def _on_feedback(self, message: Any) -> None:
        self._heard_s = _now_s()
        feedback = message.feedback
        self._number = feedback.number
        if feedback.state != self._state:
            self._state = feedback.state
            print(f"{feedback.elapsed_s:5.1f} s  {feedback.state}", flush=True)

    def _on_episode(self, message: Any) -> None:
        self._told[message.session, message.number] = message


def _exit_code(episode: Any, args: argparse.Namespace) -> int:
    """Tells how it ended. Raises CommandFailed where something failed."""
    from smolvla_ros.episode.watch import Termination

    reason = Termination(episode.termination_reason)
    text = f"episode {episode.number} {reason.name.lower().replace('_', ' ')}: {episode.detail}"
    if reason in (Termination.REFUSED, Termination.HELD, Termination.LOST, Termination.SHUTDOWN):
        raise CommandFailed(text)
    print(text)
    if reason == Termination.TIMEOUT and (args.rest or args.until_success):
        return _OUT_OF_TIME
    return _ENDED_BY_PERSON if reason not in (Termination.SUCCESS, Termination.AT_REST, Termination.TIMEOUT) else 0


def _now_s() -> float:
    import time

    return time.monotonic()
