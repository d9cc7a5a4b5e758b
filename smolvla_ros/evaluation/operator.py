"""The operator: a ROS node that says instructions, resets the simulation and reads what the arm reports.

Threads: an executor thread runs the callbacks, which only store what arrives; all other methods belong to one caller's
thread and wait. Every wait ends with `Interrupted` as soon as the event given to the constructor is set.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from smolvla_ros.msg import ActionChunk, ExecutionStatus

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_POLL_S = 0.01
_SERVICE_TIMEOUT_S = 10.0
# Success has a topic of its own and can come a little later than the touch; a wrong cube has no success to wait for.
_VERDICT_S = 0.3

T = TypeVar("T")


class OperatorError(RuntimeError):
    """The arm does not do what an episode needs; the text says which node and what it answered."""


class Interrupted(Exception):
    """The work was told to stop."""


class Operator:
    """Talks to the nodes of one namespace. A context manager: entering it starts ROS, leaving it stops ROS."""

    def __init__(self, namespace: str, stop: threading.Event):
        self._namespace = namespace
        self._stop = stop
        self._since_ns = 0
        self.chunks: list[ActionChunk] = []
        self.frames: list[Image] = []
        self.statuses: list[ExecutionStatus] = []
        self.status: ExecutionStatus | None = None
        self._succeeded: bool | None = None
        self._touched: str | None = None

    def __enter__(self) -> Operator:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node = node = rclpy.create_node("operator", namespace=self._namespace)
        self._instruction = node.create_publisher(String, "instruction", LATCHED)
        node.create_subscription(ActionChunk, "action_chunk", lambda m: self._collect(self.chunks, m), 10)
        node.create_subscription(ExecutionStatus, "execution_status", self._on_status, 10)
        node.create_subscription(Bool, "task_success", lambda m: setattr(self, "_succeeded", m.data), LATCHED)
        node.create_subscription(String, "touched", lambda m: setattr(self, "_touched", m.data), LATCHED)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._executor.spin, name="operator executor")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.try_shutdown()

    # What a person would do.

    def say(self, instruction: str) -> None:
        """Publishes an instruction; '' asks for no further motion."""
        self._instruction.publish(String(data=instruction))

    def watch(self, topic: str) -> None:
        """Collects the images of `topic` in `frames`."""
        self._node.create_subscription(Image, topic, lambda m: self._collect(self.frames, m), qos_profile_sensor_data)

    def start_collecting(self) -> None:
        """Empties `chunks`, `frames` and `statuses`; from now on they hold what was observed after this moment."""
        self._since_ns = self._node.get_clock().now().nanoseconds
        self.chunks, self.frames, self.statuses = [], [], []

    def wait_until_active(self, node_name: str, timeout_s: float) -> None:
        """Waits for a node to come up.

        Raises:
            OperatorError: it did not within `timeout_s`, or it came up without becoming active: configuring failed,
                and the node has logged why.
        """
        client = self._node.create_client(GetState, f"{node_name}/get_state")
        self._wait_for(client.service_is_ready, timeout_s, f"{node_name} did not start within {timeout_s:g} s")
        # A node answers only once its automatic start is over, so the first answer is final.
        state = self._call(client, GetState.Request(), timeout_s).current_state
        if state.id != State.PRIMARY_STATE_ACTIVE:
            raise OperatorError(f"{node_name} is {state.label} instead of active; it says why in its log above")

    def set_active(self, node_name: str, active: bool) -> None:
        """Activates or deactivates a node."""
        wanted = Transition.TRANSITION_ACTIVATE if active else Transition.TRANSITION_DEACTIVATE
        client = self._node.create_client(ChangeState, f"{node_name}/change_state")
        self._wait_for(client.service_is_ready, _SERVICE_TIMEOUT_S, f"{node_name} has no change_state service")
        if not self._call(client, ChangeState.Request(transition=Transition(id=wanted))).success:
            raise OperatorError(f"{node_name} refused to {'activate' if active else 'deactivate'}")

    def reset_simulation(self, seed: int, target: str) -> None:
        """Lays out the world of `seed`, in which touching the cube of colour `target` is the task."""
        client = self._node.create_client(SetParameters, "sim_node/set_parameters")
        self._wait_for(client.service_is_ready, _SERVICE_TIMEOUT_S, "sim_node has no set_parameters service")
        values = [Parameter("seed", value=seed), Parameter("target", value=target)]
        request = SetParameters.Request(parameters=[value.to_parameter_msg() for value in values])
        for result in self._call(client, request).results:
            if not result.successful:
                raise OperatorError(f"sim_node refused seed {seed} or target '{target}': {result.reason}")
        client = self._node.create_client(Trigger, "sim_node/reset")
        self._wait_for(client.service_is_ready, _SERVICE_TIMEOUT_S, "sim_node has no reset service")
        answer = self._call(client, Trigger.Request())
        if not answer.success:
            raise OperatorError(f"sim_node did not reset: {answer.message}")
        # The answer can overtake the topics; what they said of the episode before must not count for this one.
        self._wait_for(
            lambda: self._succeeded is False and self._touched == "", _SERVICE_TIMEOUT_S, "sim_node published no reset"
        )

    def wait_for_touch(self, timeout_s: float) -> str:
        """Waits until a cube was touched and the simulation has judged it; its colour, or '' if none was in time."""
        deadline = time.monotonic() + timeout_s
        while not self._touched and time.monotonic() < deadline:
            self.pause(_POLL_S)
        judged = time.monotonic() + _VERDICT_S
        while self._touched and not self._succeeded and time.monotonic() < judged:
            self.pause(_POLL_S)
        return self._touched or ""

    def pause(self, duration_s: float) -> None:
        """Lets time pass."""
        if self._stop.wait(duration_s):
            raise Interrupted

    @property
    def succeeded(self) -> bool:
        """What the simulation says of the task since the reset."""
        return bool(self._succeeded)

    def _on_status(self, message: ExecutionStatus) -> None:
        self.status = message
        self._collect(self.statuses, message)

    def _collect(self, messages: list[Any], message: Any) -> None:
        if Time.from_msg(message.header.stamp).nanoseconds >= self._since_ns:
            messages.append(message)

    # Waiting.

    def _wait_for(self, condition: Callable[[], bool], timeout_s: float, problem: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise OperatorError(problem)
            self.pause(_POLL_S)

    def _call(self, client: Any, request: Any, timeout_s: float = _SERVICE_TIMEOUT_S) -> Any:
        future = client.call_async(request)
        self._wait_for(future.done, timeout_s, f"{client.srv_name} did not answer within {timeout_s:g} s")
        self._node.destroy_client(client)
        return future.result()


def to_array(image: Image) -> NDArray[np.uint8]:
    """An rgb8 image message of the simulation as uint8 [height, width, 3]."""
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)[:, : 3 * image.width].reshape(
        image.height, image.width, 3
    )
