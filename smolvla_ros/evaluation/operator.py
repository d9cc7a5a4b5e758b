"""The operator: a ROS node that says instructions, resets the simulation and reads what the arm reports.

Threads are those of `ArmClient`. Every wait ends with `Interrupted` as soon as the event given to the constructor is
set.
"""

from __future__ import annotations

import threading
from typing import Any, Self

import numpy as np
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from smolvla_ros.client import ArmClient, ClientError
from smolvla_ros.msg import ActionChunk, ExecutionStatus, TaskVerdict
from smolvla_ros.qos import LATCHED
from smolvla_ros.sim.tasks import Asked
from smolvla_ros.stamps import stamp_ns

_SERVICE_TIMEOUT_S = 10.0


class OperatorError(RuntimeError):
    """The arm does not do what an episode needs; the text says which node and what it answered."""


class Interrupted(Exception):
    """The work was told to stop."""


class Operator(ArmClient):
    """Talks to the nodes of one namespace. A context manager: entering it starts ROS, leaving it stops ROS."""

    def __init__(self, namespace: str, stop: threading.Event):
        def check() -> None:
            if stop.is_set():
                raise Interrupted

        super().__init__("operator", namespace, check)
        self._since_ns = 0
        self.chunks: list[ActionChunk] = []
        self.frames: list[Image] = []
        self.statuses: list[ExecutionStatus] = []
        self.status: ExecutionStatus | None = None
        self.verdict: TaskVerdict | None = None

    def __enter__(self) -> Self:
        super().__enter__()
        node = self.node
        self._instruction = node.create_publisher(String, "instruction", LATCHED)
        node.create_subscription(ActionChunk, "action_chunk", lambda m: self._collect(self.chunks, m), 10)
        node.create_subscription(ExecutionStatus, "execution_status", self._on_status, 10)
        node.create_subscription(TaskVerdict, "task_verdict", lambda m: setattr(self, "verdict", m), LATCHED)
        return self

    # What a person would do.

    def say(self, instruction: str) -> None:
        """Publishes an instruction; '' asks for no further motion."""
        self._instruction.publish(String(data=instruction))

    def watch(self, topic: str) -> None:
        """Collects the images of `topic` in `frames`."""
        self.node.create_subscription(Image, topic, lambda m: self._collect(self.frames, m), qos_profile_sensor_data)

    def start_collecting(self) -> None:
        """Empties `chunks`, `frames` and `statuses`; from now on they hold what was observed after this moment."""
        self._since_ns = self.node.get_clock().now().nanoseconds
        self.chunks, self.frames, self.statuses = [], [], []

    def wait_until_active(self, node_name: str, timeout_s: float) -> None:
        """Waits for a node to come up.

        Raises:
            OperatorError: it did not within `timeout_s`, or it came up without becoming active: configuring failed,
                and the node has logged why.
        """
        problem = f"{node_name} did not start within {timeout_s:g} s"
        # A node answers only once its automatic start is over, so the first answer is final.
        state = self._ask(GetState, f"{node_name}/get_state", GetState.Request(), problem, timeout_s).current_state
        if state.id != State.PRIMARY_STATE_ACTIVE:
            raise OperatorError(f"{node_name} is {state.label} instead of active; it says why in its log above")

    def set_active(self, node_name: str, active: bool) -> None:
        """Activates or deactivates a node."""
        wanted = Transition.TRANSITION_ACTIVATE if active else Transition.TRANSITION_DEACTIVATE
        request = ChangeState.Request(transition=Transition(id=wanted))
        if not self._ask(ChangeState, f"{node_name}/change_state", request).success:
            raise OperatorError(f"{node_name} refused to {'activate' if active else 'deactivate'}")

    def reset_simulation(self, seed: int, asked: Asked) -> None:
        """Lays out the world of `seed`, in which `asked` is the task."""
        self._set(asked, seed=seed)
        self.verdict = None
        answer = self._ask(Trigger, "sim_node/reset", Trigger.Request())
        if not answer.success:
            raise OperatorError(f"sim_node did not reset: {answer.message}")
        self._wait_for_start()

    def change_task(self, asked: Asked) -> None:
        """Makes `asked` the task, in the world as it is."""
        self.verdict = None
        self._set(asked)
        self._wait_for_start()

    def _set(self, asked: Asked, **more: int) -> None:
        wanted: dict[str, int | str] = {"task": asked.task, **more}
        wanted |= {name: value for name, value in (("target", asked.colour), ("place", asked.place)) if value}
        values = [Parameter(name, value=value) for name, value in wanted.items()]
        request = SetParametersAtomically.Request(parameters=[value.to_parameter_msg() for value in values])
        result = self._ask(SetParametersAtomically, "sim_node/set_parameters_atomically", request).result
        if not result.successful:
            raise OperatorError(f"sim_node refused {wanted}: {result.reason}")

    def _wait_for_start(self) -> None:
        # The answer can overtake the topic; what it said of the episode before must not count for this one.
        def at_start() -> bool:
            verdict = self.verdict
            return verdict is not None and not (verdict.decided or verdict.reached or verdict.touched)

        if not self.wait_for(at_start, _SERVICE_TIMEOUT_S):
            raise OperatorError("sim_node published no new task")

    def wait_for_verdict(self, timeout_s: float) -> TaskVerdict:
        """Waits until the simulation has decided on the task; what it says then, or when the time is up."""
        self.wait_for(lambda: self.verdict and self.verdict.decided, timeout_s)
        if self.verdict is None:
            raise OperatorError("sim_node says nothing of the task")
        return self.verdict

    def _on_status(self, message: ExecutionStatus) -> None:
        self.status = message
        self._collect(self.statuses, message)

    def _collect(self, messages: list[Any], message: Any) -> None:
        if stamp_ns(message.header.stamp) >= self._since_ns:
            messages.append(message)

    def _ask(
        self, kind: Any, service: str, request: Any, problem: str = "", timeout_s: float = _SERVICE_TIMEOUT_S
    ) -> Any:
        try:
            return self.call(kind, service, request, timeout_s)
        except ClientError as error:
            raise OperatorError(problem or str(error)) from error


def to_array(image: Image) -> NDArray[np.uint8]:
    """An rgb8 image message of the simulation as uint8 [height, width, 3]."""
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)[:, : 3 * image.width].reshape(
        image.height, image.width, 3
    )
