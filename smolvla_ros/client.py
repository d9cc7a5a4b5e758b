"""A short-lived node that talks to the nodes of one namespace: for commands and evaluations.

Threads: an executor thread of its own runs the callbacks, which only store what arrives; everything else belongs to the
caller's thread and waits. Each wait asks `check` many times a second whether to go on, and `check` may raise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import rclpy
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import LoggingSeverity
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions

ARM_NODES = ("policy_node", "controller_node", "sim_node")

_POLL_S = 0.01
_SERVICE_TIMEOUT_S = 5.0
# Nodes announce themselves twice a second.
_DISCOVERY_S = 1.5


class ClientError(RuntimeError):
    """A node is not there or does not answer; the text says which, and what to do."""


class ArmClient:
    """Talks to the nodes of one namespace. A context manager: entering it starts ROS, leaving it stops ROS.

    Args:
        name: of the node.
        namespace: of the arm.
        check: raises where waiting is to end.
    """

    def __init__(self, name: str, namespace: str = "", check: Callable[[], None] = lambda: None):
        self._name, self._namespace, self.check = name, namespace, check
        self._errors: list[Log] = []

    def __enter__(self) -> Self:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(self._name, namespace=self._namespace)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, name=f"{self._name} executor")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def pause(self, duration_s: float) -> None:
        """Lets time pass."""
        self.wait_for(lambda: False, duration_s)

    def wait_for(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Whether the condition became true in time."""
        deadline = time.monotonic() + timeout_s  # inf: none
        while not condition():
            self.check()
            if not self._thread.is_alive():
                raise RuntimeError("the executor's thread died of a bug in a callback; its traceback is above")
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def nodes_there(self, names: Sequence[str] = ARM_NODES, wait_s: float = _DISCOVERY_S) -> list[str]:
        """Full names of those nodes that run in this namespace, after `wait_s`, by default what discovery takes."""
        self.pause(wait_s)
        here = self.node.get_namespace()
        found = self.node.get_node_names_and_namespaces()
        return sorted({f"{space.rstrip('/')}/{name}" for name, space in found if name in names and space == here})

    def call(self, kind: Any, service: str, request: Any, timeout_s: float) -> Any:
        """The answer of a service, whose name is relative to the namespace.

        Raises:
            ClientError: nobody offers it, or nobody answers, within `timeout_s`.
        """
        client = self.node.create_client(kind, service)
        try:
            if not self.wait_for(client.service_is_ready, timeout_s):
                raise ClientError(
                    f"nobody offers {client.srv_name} after {timeout_s:g} s: is the arm up (`smolvla-ros arm`), in "
                    "this namespace and ROS domain?"
                )
            future = client.call_async(request)
            if not self.wait_for(future.done, timeout_s):
                raise ClientError(f"{client.srv_name} did not answer within {timeout_s:g} s")
            return future.result()
        finally:
            self.node.destroy_client(client)

    def lifecycle_state(self, node_name: str, timeout_s: float) -> str:
        """The label of a node's state. A node answers only once its automatic start is over.

        Raises:
            ClientError: it does not answer.
        """
        return str(self.call(GetState, f"{node_name}/get_state", GetState.Request(), timeout_s).current_state.label)

    def parameter(self, node_name: str, name: str, timeout_s: float = _SERVICE_TIMEOUT_S) -> Any:
        """The value of a node's parameter; None if it has none of that name.

        Raises:
            ClientError: the node does not answer.
        """
        request = GetParameters.Request(names=[name])
        answer = self.call(GetParameters, f"{node_name}/get_parameters", request, timeout_s)
        return parameter_value_to_python(answer.values[0]) if answer.values else None

    def parameters(self, node_name: str, names: Sequence[str], timeout_s: float) -> dict[str, Any]:
        """Those of the parameters that a node has, by name.

        Raises:
            ClientError: the node does not answer.
        """
        listed = self.call(ListParameters, f"{node_name}/list_parameters", ListParameters.Request(), timeout_s)
        there = [name for name in listed.result.names if name in names]  # others would make the answer empty
        request = GetParameters.Request(names=there)
        answer = self.call(GetParameters, f"{node_name}/get_parameters", request, timeout_s)
        return {name: parameter_value_to_python(value) for name, value in zip(there, answer.values, strict=False)}

    # Errors that nodes log.

    def collect_errors(self) -> None:
        """From now on `errors` tells what nodes log, those that started before included."""

        def collect(message: Log) -> None:
            if message.level >= LoggingSeverity.ERROR:
                self._errors.append(message)

        qos = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(Log, "/rosout", collect, qos)

    def errors(self, node_name: str) -> list[str]:
        """The first line of each error that a node has logged; `node_name` may begin with an inner namespace."""
        logger = ".".join(part for part in (*self.node.get_namespace().split("/"), *node_name.split("/")) if part)
        return [message.msg.partition("\n")[0] for message in self._errors if message.name == logger]
