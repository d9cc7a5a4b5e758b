"""What all nodes share: lifecycle with automatic bring-up, errors told in one line."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, cast

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidTopicNameException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_msgs.msg import String

from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.node import NodeParameterSet
from smolvla_ros.parameters.robot import RobotParameters
from smolvla_ros.qos import LATCHED
from smolvla_ros.robot import RobotConfigError

from .boundary import GuardedNode
from .parameters import NodeParameters

_Set = TypeVar("_Set", bound=NodeParameterSet)
_LIFECYCLE_SERVICES = (
    "change_state", "get_state", "get_available_states", "get_available_transitions", "get_transition_graph",
)  # fmt: skip
_SUCCESS, _ERROR = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.ERROR


@dataclass
class Stage:
    """What was begun in `configure` or in `activate`, and has to be undone, even if it failed half way."""

    begun: bool = False
    releases: ExitStack = field(default_factory=ExitStack)


class ManagedNode(GuardedNode, LifecycleNode, Generic[_Set]):
    """A lifecycle node with declared parameters.

    Subclasses set `PARAMETERS` and override `configure`, `activate`, `deactivate` and `cleanup`. Those raise one of
    `USER_ERRORS` for what the user can mend: it is logged as one line and the transition fails. Any other exception is
    a bug: it is logged with its traceback, the node is deactivated, cleaned up and unconfigured. They run in the
    executor's thread.

    Publishers, subscriptions, services and timers that are created in `configure` are destroyed after `cleanup`, those
    created in `activate` after `deactivate`, and so is what a failed transition had created.

    What a node runs with is told as JSON on the latched topic `~/description`, so that a bag explains itself.

    Attributes:
        parameters: the settings it is configured with; replaced as a whole when live ones change.
    """

    PARAMETERS: ClassVar[type[NodeParameterSet]]
    parameters: _Set
    USER_ERRORS: ClassVar[tuple[type[Exception], ...]] = (
        ParameterError, RobotConfigError, InvalidTopicNameException,
    )  # fmt: skip

    def __init__(self, name: str, **kwargs: Any):
        self._configured, self._activated = Stage(), Stage()
        self._owner: Stage | None = None  # of what is created now
        super().__init__(name, **kwargs)
        self._guard_lifecycle_services()
        self._descriptions = self.create_publisher(String, "~/description", LATCHED)
        self._declared: NodeParameters[_Set] = NodeParameters(
            self,
            cast(type[_Set], self.PARAMETERS),  # a ClassVar cannot hold a type variable
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
        """Stops the threads; sends the last safe word. Also after `activate` failed half way."""

    def cleanup(self) -> None:
        """Lets go of what `configure` loaded, also after it failed half way."""

    def parameters_changed(self, names: set[str]) -> None:
        """Live parameters were changed; `parameters` has their new values."""

    def description(self) -> dict[str, Any]:
        """What `~/description` tells beside the node's name and parameters; asked while the node is configured."""
        return {}

    def describe(self) -> None:
        """Publishes `~/description` anew."""
        self._descriptions.publish(String(data=json.dumps({**self.facts(), **self.description()})))

    def facts(self) -> dict[str, Any]:
        """What every node's description tells."""
        values = self.parameters.values()
        del values["autostart"], values["exit_on_failed_start"]  # how it was started, not what it does
        return {
            "node": self.get_fully_qualified_name(),
            "use_sim_time": self.get_parameter("use_sim_time").value,
            "parameters": values,
        }

    def defer(self, release: Callable[[], object]) -> None:
        """To be called in `configure` or `activate`: is undone with what is created there."""
        if self._owner is not None:
            self._owner.releases.callback(release)

    def create_publisher(self, *args: Any, **kwargs: Any) -> Any:
        return self._owned(super().create_publisher(*args, **kwargs), self.destroy_publisher)

    def create_subscription(self, *args: Any, **kwargs: Any) -> Any:
        return self._owned(super().create_subscription(*args, **kwargs), self.destroy_subscription)

    def create_service(self, *args: Any, **kwargs: Any) -> Any:
        return self._owned(super().create_service(*args, **kwargs), self.destroy_service)

    def create_timer(self, *args: Any, **kwargs: Any) -> Any:
        return self._owned(super().create_timer(*args, **kwargs), self.destroy_timer)

    def set_parameters_atomically(self, parameter_list: list[Any]) -> SetParametersResult:
        """Whoever sets parameters comes by here: one value that is what it was changes nothing and is no fault."""
        changes = self._declared.meant(parameter_list)
        return super().set_parameters_atomically(changes) if changes else SetParametersResult(successful=True)

    def set_parameters(self, parameter_list: list[Any]) -> list[SetParametersResult]:
        """One by one, as rclpy does it."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def destroy_node(self) -> None:
        """Also of the state machine, which rclpy forgets: it would keep the node's shared memory on the machine."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    # Lifecycle.

    @property
    def state_label(self) -> str:
        return str(self._state_machine.current_state[1])

    def bring_up(self, configuring: AbstractContextManager[None] | None = None) -> bool:
        """Configures, within `configuring`, and activates the node, unless the parameter `autostart` says otherwise.

        Returns whether the process is to go on: without `exit_on_failed_start` it does, whatever came of it.
        """
        if not self.get_parameter("autostart").value:
            self.get_logger().info("waiting to be configured (parameter 'autostart' is false)")
            return True
        with configuring or nullcontext():
            result = self.trigger_configure()
        if result == _SUCCESS:
            result = self.trigger_activate()
        return result == _SUCCESS or not self.get_parameter("exit_on_failed_start").value

    def bring_down(self) -> None:
        """Deactivates and cleans up whatever is up, in that order, whatever fails on the way."""
        for label, trigger in (("active", self.trigger_deactivate), ("inactive", self.trigger_cleanup)):
            if self.state_label == label:
                self.boundary.guarded(trigger)()
        self._deactivate()
        self._clean_up()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._attempt("configure", self._configure)
        if result != _SUCCESS:
            self._clean_up()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._attempt("activate", self._activate)
        if result != _SUCCESS:
            self._deactivate()
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._deactivate()

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._clean_up()

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._deactivate()
        return self._clean_up()

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a bug in a transition: nothing of the node lives on, and it may be configured again."""
        self._deactivate()
        self._clean_up()
        return _SUCCESS

    def _configure(self) -> None:
        self.parameters = self._declared.read()
        with self._owning(self._configured):
            self.configure()
        self.describe()

    def _activate(self) -> None:
        with self._owning(self._activated):
            self.activate()
        self.describe()

    def _deactivate(self) -> TransitionCallbackReturn:
        return self._undo("deactivate", self.deactivate, self._activated)

    def _clean_up(self) -> TransitionCallbackReturn:
        return self._undo("clean up", self.cleanup, self._configured)

    def _undo(self, what: str, action: Callable[[], None], stage: Stage) -> TransitionCallbackReturn:
        """There is no refusal to go down: what fails is told, and all the rest is done."""
        if not stage.begun:
            return _SUCCESS
        stage.begun = False
        results = (self._attempt(what, action), self._attempt(what, stage.releases.close))
        return _SUCCESS if set(results) == {_SUCCESS} else _ERROR

    def _attempt(self, what: str, action: Callable[[], object]) -> TransitionCallbackReturn:
        try:
            action()
        except self.USER_ERRORS as error:
            problems = error.problems if isinstance(error, ParameterError) else [" ".join(str(error).split())]
            for problem in problems:
                self.get_logger().error(f"cannot {what}: {problem}")
            return TransitionCallbackReturn.FAILURE
        except Exception:  # rclpy would swallow it without a word
            self.get_logger().fatal(f"bug while trying to {what}:\n{traceback.format_exc()}")
            return _ERROR
        return _SUCCESS

    @contextmanager
    def _owning(self, stage: Stage) -> Iterator[None]:
        self._owner, stage.begun = stage, True
        try:
            yield
        finally:
            self._owner = None

    def _owned(self, entity: Any, destroy: Callable[[Any], object]) -> Any:
        self.defer(lambda: destroy(entity))
        return entity

    def _on_parameters_changed(self, names: set[str]) -> None:
        self.parameters = self._declared.read()
        self.parameters_changed(names)
        self.describe()

    def _guard_lifecycle_services(self) -> None:
        """rclpy creates them past `create_service`. A transition that the present state does not have is refused; in
        rclpy 7 it ends the process, and an empty request means transition 0, which no state has.
        """
        change_state = self._service_change_state.callback

        def checked(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
            wanted = request.transition
            for id_, label, *_ in self._state_machine.available_transitions:
                if (wanted.label or label) == label and (wanted.id or id_) == id_ and (wanted.label or wanted.id):
                    return change_state(request, response)
            asked = repr(wanted.label[:50]) if wanted.label else wanted.id or "without id and label"
            text = f"transition {asked} refused: state is {self.state_label}"
            self.get_logger().warning(text, throttle_duration_sec=1.0)
            response.success = False
            return response

        self._service_change_state.callback = checked
        for service in self._services:
            if service.srv_name.rpartition("/")[2] in _LIFECYCLE_SERVICES:
                service.callback = self._guarded_service(service.callback)
