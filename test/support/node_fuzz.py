"""Sends mutated messages and requests to a running node, and measures how soon it answers meanwhile."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from executor_thread import destroy
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)
from rclpy.node import Node
from rclpy.serialization import serialize_message
from std_srvs.srv import Trigger
from type_description_interfaces.srv import GetTypeDescription
from wire_fuzz import damaged, endless

_PERIOD_S = 0.004
_ASK_PERIOD_S = 0.25
# Of the messages on topics, those whose bytes are damaged.
_DAMAGED = 0.1
# A service keeps ten requests, a client ten answers: of so many beside it, one may be lost while either process waits
# for a core. Who asks again is answered; who asks so often in vain is not.
_PATIENCE_S = 2.0
_MOST_IN_VAIN = 10


@dataclass
class Question:
    """Something to be asked again and again.

    Attributes:
        ask: gives a future.
        answers_s: how long each answer took.
        lost: how often none came.
    """

    ask: Callable[[], Any]
    answers_s: list[float] = field(default_factory=list)
    lost: int = 0
    _in_vain: int = 0

    def answered(self, after_s: float) -> None:
        self.answers_s.append(after_s)
        self._in_vain = 0

    def was_lost(self) -> None:
        """Raises AssertionError when that was so too often in a row."""
        self.lost, self._in_vain = self.lost + 1, self._in_vain + 1
        assert self._in_vain < _MOST_IN_VAIN, f"asked {self._in_vain} times in a row in vain: the node does not answer"


class Interview:
    """Puts questions in turns, one at a time; one without an answer is given up after a while, and counted."""

    def __init__(self, *questions: Question):
        self._turns = itertools.cycle(questions)
        self._open: tuple[Question, Any] | None = None
        self._asked_s = 0.0

    def look(self, now_s: float) -> None:
        """Takes an answer that came, gives up one that did not, and asks when it is time."""
        if self._open is not None:
            question, future = self._open
            if hasattr(future, "answered_s"):
                question.answered(future.answered_s - self._asked_s)
                self._open = None
            elif now_s - self._asked_s > _PATIENCE_S:
                question.was_lost()
                self._open = None
        if self._open is None and now_s - self._asked_s > _ASK_PERIOD_S:
            question, self._asked_s = next(self._turns), now_s
            self._open = question, question.ask()
            self._open[1].add_done_callback(lambda future: setattr(future, "answered_s", time.monotonic()))


class NodeFuzz:
    """Everything that a node hears: topics with a good message each, and the services that every node has.

    Args:
        node: spun by somebody else.
        target: full name of the node to be fuzzed.
        topics: publisher, good message.
        services: of the target beside the usual ones: name, type.
        parameter: a live one of the target, with a good value.
        freshen: makes a message current (stamps, positions) except for the fields that were mutated.
        wanted: whether a message is sent; takes the name of its topic or service and the fields that were mutated.
    """

    def __init__(
        self,
        node: Node,
        target: str,
        topics: list[tuple[Any, Any]],
        services: list[tuple[str, Any]],
        parameter: Parameter,
        freshen: Callable[[Any, str], None],
        wanted: Callable[[str, str], bool] = lambda name, paths: True,
    ):
        self._node, self._freshen, self._wanted = node, freshen, wanted
        names = [parameter.name, "joints"]
        change = ChangeState.Request()
        change.transition.id = change.transition.TRANSITION_ACTIVATE  # which an active node does not have
        requests = {
            "change_state": (ChangeState, change),
            "get_state": (GetState, None),
            "get_available_states": (GetAvailableStates, None),
            "get_available_transitions": (GetAvailableTransitions, None),
            "get_transition_graph": (GetAvailableTransitions, None),
            "set_parameters": (SetParameters, SetParameters.Request(parameters=[parameter])),
            "set_parameters_atomically": (
                SetParametersAtomically, SetParametersAtomically.Request(parameters=[parameter])),
            "get_parameters": (GetParameters, GetParameters.Request(names=names)),
            "get_parameter_types": (GetParameterTypes, GetParameterTypes.Request(names=names)),
            "describe_parameters": (DescribeParameters, DescribeParameters.Request(names=names)),
            "list_parameters": (ListParameters, ListParameters.Request(prefixes=["joint"], depth=1)),
            "get_type_description": (GetTypeDescription, None),
            **{name: (kind, None) for name, kind in services},
        }  # fmt: skip
        self._goods, self._topics = [good for _, good in topics], len(topics)
        self._names = [publisher.topic_name for publisher, _ in topics] + list(requests)
        self._send: list[Callable[[Any], Any]] = [publisher.publish for publisher, _ in topics]
        self._clients = []
        for name, (kind, good) in requests.items():
            client = node.create_client(kind, f"{target}/{name}")
            assert client.wait_for_service(20.0), name
            self._clients.append(client)
            self._goods.append(good or kind.Request())
            self._send.append(client.call_async)
        self._asked = node.create_client(GetState, f"{target}/get_state")
        self._bare = node.create_client(Trigger, "/bare_service/answer")
        assert self._bare.wait_for_service(20.0), "the service that does nothing"
        self.sent: Counter[str] = Counter()
        self.target, self.bare = Question(self._ask), Question(self._ask_bare)

    def run(
        self, messages: int, seed: int, meanwhile: Callable[[], None], ask: Callable[[], Any] | None = None
    ) -> None:
        """Sends so many; calls `meanwhile` between them, and `ask` (a future of the target's answer) now and then.

        In turns with the target a service is asked that does nothing: what the machine takes for an answer.
        """
        self.target.ask = ask or self._ask
        interview = Interview(self.target, self.bare)
        stream, chance = endless(self._goods, seed), random.Random(seed)
        for _ in range(messages):
            place, paths, message = next(one for one in stream if self._wanted(self._names[one[0]], one[1]))
            self._freshen(message, paths)
            name = type(message).__name__
            try:
                if place < self._topics and chance.random() < _DAMAGED:
                    message, name = damaged(serialize_message(message), chance), f"{name}, damaged bytes"
                self._send[place](message)
            except (OverflowError, UnicodeEncodeError, TypeError, AssertionError, SystemError, RuntimeError) as error:
                name = f"{name} cannot be sent: {type(error).__name__}"
            self.sent[name] += 1
            meanwhile()
            interview.look(time.monotonic())
            time.sleep(_PERIOD_S)
        answered = len(self.target.answers_s)
        while len(self.target.answers_s) == answered:  # it still does
            interview.look(time.monotonic())
            time.sleep(0.01)

    def close(self) -> None:
        destroy(self._node, *self._clients, self._asked, self._bare)

    def _ask(self) -> Any:
        return self._asked.call_async(GetState.Request())

    def _ask_bare(self) -> Any:
        return self._bare.call_async(Trigger.Request())


def integer(name: str, value: int) -> Parameter:
    """An integer parameter as a message."""
    return Parameter(name=name, value=ParameterValue(type=2, integer_value=value))
