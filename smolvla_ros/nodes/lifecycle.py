"""What all nodes share: lifecycle with automatic bring-up, errors told in one line, an orderly end.

`main(NodeClass)` runs a node in the calling thread until SIGINT or SIGTERM and returns 0. rclpy's own signal handlers
shut the context down at once, so that nothing could be published any more; here a signal only raises a flag, the node
is deactivated first (the safety action), and a second Ctrl-C during the teardown changes nothing.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Thread
from typing import Any, ClassVar, Generic, TypeVar

import rclpy
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_msgs.msg import String

from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.node import NodeParameterSet
from smolvla_ros.parameters.robot import RobotParameters
from smolvla_ros.robot import RobotConfigError

from .parameters import NodeParameters
from .qos import LATCHED
from .stop_signals import StopSignals

_SPIN_PERIOD_S = 0.1
_LEAVE_TIMEOUT_S = 1.0

_Set = TypeVar("_Set", bound=NodeParameterSet)


class ManagedNode(LifecycleNode, Generic[_Set]):
    """A lifecycle node with declared parameters.

    Subclasses set `PARAMETERS` and override `configure`, `activate`, `deactivate` and `cleanup`. Those raise one of
    `USER_ERRORS` for what the user can mend: it is logged as one line and the transition fails. Any other exception is
    a bug: it is logged with its traceback and the node returns to unconfigured. They run in the executor's thread.

    What a node runs with is told as JSON on the latched topic `~/description`, so that a bag explains itself.

    Attributes:
        parameters: the settings it is configured with; replaced as a whole when live ones change.
    """

    PARAMETERS: ClassVar[type[NodeParameterSet]]
    parameters: _Set
    USER_ERRORS: ClassVar[tuple[type[Exception], ...]] = (ParameterError, RobotConfigError)

    def __init__(self, name: str, **kwargs: Any):
        super().__init__(name, **kwargs)
        self._refuse_impossible_transitions()
        self._descriptions = self.create_publisher(String, "~/description", LATCHED)
        self._declared = NodeParameters(
            self,
            self.PARAMETERS,
            tolerated=RobotParameters,
            is_configured=lambda: self.state_label in ("inactive", "active"),
            on_change=self._on_parameters_changed,
        )

    # What a subclass fills in.

    def configure(self) -> None:
        """Creates everything that `parameters` ask for; nothing is sent yet."""

    def activate(self) -> None:
        """Starts the threads."""

    def deactivate(self) -> None:
        """Stops the threads; sends the last safe word."""

    def cleanup(self) -> None:
        """Destroys what `configure` created, also after it failed half way."""

    def parameters_changed(self, names: set[str]) -> None:
        """Live parameters were changed; `parameters` has their new values."""

    def description(self) -> dict[str, Any]:
        """What `~/description` tells beside the node's name and parameters; asked while the node is configured."""
        return {}

    def describe(self) -> None:
        """Publishes `~/description` anew."""
        values = self.parameters.values()
        del values["autostart"]  # how it was started, not what it does
        facts = {
            "node": self.get_fully_qualified_name(),
            "use_sim_time": self.get_parameter("use_sim_time").value,
            "parameters": values,
            **self.description(),
        }
        self._descriptions.publish(String(data=json.dumps(facts)))

    def destroy_node(self) -> None:
        """Also of the state machine, which rclpy forgets: it would keep the node's shared memory on the machine."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    # Lifecycle.

    @property
    def state_label(self) -> str:
        return str(self._state_machine.current_state[1])

    def bring_up(self, configuring: AbstractContextManager[None] | None = None) -> None:
        """Configures, within `configuring`, and activates the node, unless the parameter `autostart` says otherwise."""
        if not self.get_parameter("autostart").value:
            self.get_logger().info("waiting to be configured (parameter 'autostart' is false)")
            return
        with configuring or nullcontext():
            result = self.trigger_configure()
        if result == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def bring_down(self) -> None:
        """Deactivates and cleans up whatever is up, in that order."""
        if self.state_label == "active":
            self.trigger_deactivate()
        if self.state_label == "inactive":
            self.trigger_cleanup()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._attempt("configure", self._configure)
        if result != TransitionCallbackReturn.SUCCESS:
            self._attempt("clean up", self.cleanup)
            return result
        self.describe()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._attempt("activate", self.activate)
        if result == TransitionCallbackReturn.SUCCESS:
            self.describe()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt("deactivate", self.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt("clean up", self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if state.label == "active":
            self._attempt("deactivate", self.deactivate)
        return self._attempt("clean up", self.cleanup)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._attempt("clean up", self.cleanup)

    def _configure(self) -> None:
        self.parameters = self._declared.read()
        self.configure()

    def _attempt(self, what: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            action()
        except self.USER_ERRORS as error:
            problems = error.problems if isinstance(error, ParameterError) else [str(error)]
            for problem in problems:
                self.get_logger().error(f"cannot {what}: {problem}")
            return TransitionCallbackReturn.FAILURE
        except Exception:  # rclpy would swallow it without a word
            self.get_logger().fatal(f"bug while trying to {what}:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _on_parameters_changed(self, names: set[str]) -> None:
        self.parameters = self._declared.read()
        self.parameters_changed(names)
        self.describe()

    def _refuse_impossible_transitions(self) -> None:
        """Makes a transition that the present state does not have a refusal; in rclpy 7 it ends the process."""
        change_state = self._service_change_state.callback

        def guarded(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
            possible = self._state_machine.available_transitions
            wanted = request.transition
            if not any(wanted.label in ("", label) and wanted.id in (0, id_) for id_, label, *_ in possible):
                self.get_logger().warning(
                    f"transition {wanted.label or wanted.id} refused: state is {self.state_label}"
                )
                response.success = False
                return response
            return change_state(request, response)

        self._service_change_state.callback = guarded


def main(
    node_class: type[ManagedNode[Any]],
    args: list[str] | None = None,
    executor_class: type[Executor] = SingleThreadedExecutor,
) -> int:
    """Runs a node until SIGINT or SIGTERM; the exit code (0 after either signal)."""
    signals = StopSignals()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = node_class()
    executor = executor_class()
    executor.add_node(node)
    node.bring_up(configuring=signals.calling(lambda: _leave(node, executor)))  # loading a policy takes seconds
    while not signals.requested:
        # Not spin_once: it returns after each callback, and to begin anew costs more than most callbacks.
        executor.spin_until_future_complete(Future(), timeout_sec=_SPIN_PERIOD_S)
    node.bring_down()
    _destroy(node, executor)
    return 0


def _destroy(node: ManagedNode[Any], executor: Executor) -> None:
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.try_shutdown()


def _leave(node: ManagedNode[Any], executor: Executor) -> None:
    """Ends the process out of a signal handler, with code 0, while the node is being configured: nothing runs yet.

    In a thread of its own, because the main thread may hold a lock of rclpy.
    """
    node.get_logger().info("told to stop while starting")
    destruction = Thread(target=_destroy, args=(node, executor), daemon=True)
    destruction.start()
    destruction.join(_LEAVE_TIMEOUT_S)
    os._exit(0)
