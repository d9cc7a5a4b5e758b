"""Sends mutated messages and requests to a running node, and measures how soon it answers meanwhile."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
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
from std_srvs.srv import Trigger
from wire_fuzz import endless

_PERIOD_S = 0.004
_ASK_PERIOD_S = 0.25


class NodeFuzz:
    """Everything that a node hears: topics with a good message each, and the services that every node has.

    Args:
        node: spun by somebody else.
        target: full name of the node to be fuzzed.
        topics: publisher, good message.
        services: of the target beside the usual ones: name, type.
        parameter: a live one of the target, with a good value.
        freshen: makes a message current (stamps, positions) except for the fields that were mutated.
    """

    def __init__(
        self,
        node: Node,
        target: str,
        topics: list[tuple[Any, Any]],
        services: list[tuple[str, Any]],
        parameter: Parameter,
        freshen: Callable[[Any, str], None],
    ):
        self._node, self._freshen = node, freshen
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
            **{name: (kind, None) for name, kind in services},
        }  # fmt: skip
        self._goods = [good for _, good in topics]
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
        self.answers_s: list[float] = []
        self.bare_s: list[float] = []

    def run(
        self, messages: int, seed: int, meanwhile: Callable[[], None], ask: Callable[[], Any] | None = None
    ) -> None:
        """Sends so many; calls `meanwhile` between them, and `ask` (a future of the target's answer) now and then.

        In turns with the target a service is asked that does nothing: what the machine takes for an answer.
        """
        pending: Any = None
        asked_s = 0.0
        turns = itertools.cycle(((ask or self._ask, self.answers_s), (self._ask_bare, self.bare_s)))
        question, answers_s = next(turns)
        stream = endless(self._goods, seed)
        for _ in range(messages):
            place, paths, message = next(stream)
            self._freshen(message, paths)
            try:
                self._send[place](message)
            except (OverflowError, UnicodeEncodeError, TypeError, AssertionError, SystemError) as error:
                self.sent[f"{type(message).__name__} cannot be sent: {type(error).__name__}"] += 1
            self.sent[type(message).__name__] += 1
            meanwhile()
            now_s = time.monotonic()
            if pending is not None and hasattr(pending, "answered_s"):
                answers_s.append(pending.answered_s - asked_s)
                pending = None
                question, answers_s = next(turns)
            if pending is None and now_s - asked_s > _ASK_PERIOD_S:
                asked_s, pending = now_s, question()
                pending.add_done_callback(lambda future: setattr(future, "answered_s", time.monotonic()))
            time.sleep(_PERIOD_S)
        end_s = time.monotonic() + 10.0
        while pending is not None and not pending.done():
            assert time.monotonic() < end_s, "the node does not answer any more"
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
