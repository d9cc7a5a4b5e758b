"""Tell the arm what to do: publishes an instruction and waits for the policy's word on it.

    smolvla-ros say touch the red cube
    smolvla-ros say --arm left touch the red cube       to one of several arms
    smolvla-ros say ""                    the policy asks for no further motion

Prints "accepted", and which words the policy has never seen in training, where its checkpoint tells. Exit code 1, with
the reason, if the policy refuses the text or no policy hears it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .live import CommandFailed, add_namespace, connected

if TYPE_CHECKING:
    from smolvla_ros.client import ArmClient

# Others that listen, such as the controller and a recorder, are discovered within so long after one another [s].
_SETTLED_S = 0.5
_ANSWER_TIMEOUT_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `say`."""
    parser.add_argument("instruction", nargs="+", metavar="WORD", help="for example: touch the red cube")
    add_namespace(parser)
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S",
                        help="how long to wait for a policy node that is still starting [s] (default: 10)")


def run(args: argparse.Namespace) -> int:
    """Publishes the instruction; 0 if the policy has accepted it."""
    text = " ".join(args.instruction).strip()
    args.signals.kept = "nothing was said"
    with connected(args) as client:
        word = _said(client, text, args)
        if not word["accepted"]:
            raise CommandFailed(f"{word['reason']}; what was said before stays")
        state = client.lifecycle_state(word["node"], _ANSWER_TIMEOUT_S)
        if state != "active":
            raise CommandFailed(f"accepted, but policy_node is {state} and says why in its log: nothing moves")
    remark = f"; {word['remark']}" if word["remark"] else ""
    print(f"accepted{remark}" if text else "accepted: the policy asks for no further motion")
    return 0


def _said(client: ArmClient, text: str, args: argparse.Namespace) -> dict[str, Any]:
    """What the policy node says to the instruction."""
    from std_msgs.msg import String

    from smolvla_ros.qos import LATCHED

    words: list[dict[str, Any]] = []

    def hear(message: Any) -> None:
        words.append(json.loads(message.data))

    client.node.create_subscription(String, "policy_node/instruction_status", hear, LATCHED)
    publisher = client.node.create_publisher(String, "instruction", LATCHED)
    publisher.publish(String(data=text))
    args.signals.kept = "the instruction was published, the policy's word was not waited for"

    def listening() -> bool:
        infos = client.node.get_subscriptions_info_by_topic(publisher.topic_name)
        return any(info.node_name == "policy_node" for info in infos)

    if not client.wait_for(listening, args.timeout):
        raise CommandFailed(f"no policy node listens on {publisher.topic_name} after {args.timeout:g} s; "
                            "is the arm up (`smolvla-ros arm`), in this namespace and ROS domain?")  # fmt: skip
    _wait_until_settled(client, publisher.get_subscription_count)

    def answer() -> dict[str, Any] | None:
        return next((word for word in reversed(words) if word["instruction"] == text), None)

    client.wait_for(answer, _ANSWER_TIMEOUT_S)
    if (word := answer()) is None:
        raise CommandFailed(f"policy_node has not answered within {_ANSWER_TIMEOUT_S:g} s whether it takes the "
                            "instruction: look at its log (`smolvla-ros status`)")  # fmt: skip
    return word


def _wait_until_settled(client: ArmClient, listeners: Callable[[], int]) -> None:
    """Returns once nobody new has begun to listen for a moment: who is not discovered yet would hear nothing."""
    count = listeners()
    while client.wait_for(lambda: listeners() != count, _SETTLED_S):  # noqa: B023
        count = listeners()
