"""Parameters and lifecycle of every node, in this process: what is refused, what may change while running."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import rclpy
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from rclpy.wait_for_message import wait_for_message
from std_msgs.msg import String
from std_srvs.srv import Trigger

from smolvla_ros.nodes.lifecycle import ManagedNode
from smolvla_ros.parameters import ParameterError, ParameterSet, parameter, records
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.parameters.node import NodeParameterSet
from smolvla_ros.parameters.robot import RobotParameters
from smolvla_ros.qos import LATCHED
from smolvla_ros.robot import RobotConfig, RobotConfigError


@dataclass(frozen=True)
class ExampleJoint(ParameterSet):
    gain: float = parameter(1.0, "Gain.", minimum=0.0)


@dataclass(frozen=True)
class ExampleParameters(NodeParameterSet):
    rate_hz: float = parameter(30.0, "Rate.", "Hz", 1.0, 100.0, live=True)
    joints: tuple[str, ...] = parameter(("a",), "Joints.")
    joint: Mapping[str, ExampleJoint] = records(ExampleJoint, over="joints")
    mode: str = parameter("a", "Mode.", choices=("a", "b"))
    tags: tuple[str, ...] = parameter((), "Tags.")
    rule: str = parameter("off", "Rule.", choices=("off", "on", "fast"))
    cores: tuple[int, ...] = parameter((-1,), "Cores.")


class Example(ManagedNode[ExampleParameters]):
    PARAMETERS = ExampleParameters

    def __init__(self, **kwargs):
        self.calls, self.changed = [], set()
        super().__init__("example", **kwargs)

    def configure(self):
        self.calls.append("configure")

    def activate(self):
        self.calls.append("activate")

    def deactivate(self):
        self.calls.append("deactivate")

    def cleanup(self):
        self.calls.append("cleanup")

    def parameters_changed(self, names):
        self.changed = names


@pytest.fixture
def make_node():
    context = Context()
    rclpy.init(context=context, args=[])
    nodes = []

    def make(node_class=Example, **overrides):
        parameters = [RosParameter(name.replace("__", "."), value=value) for name, value in overrides.items()]
        nodes.append(node_class(context=context, parameter_overrides=parameters))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown(context=context)


def test_a_node_brings_itself_up_and_down_in_order(make_node):
    node = make_node()
    node.bring_up()
    assert node.state_label == "active"
    node.bring_down()
    assert node.calls == ["configure", "activate", "deactivate", "cleanup"]


def test_a_node_told_not_to_start_waits_for_its_manager(make_node):
    node = make_node(autostart=False)
    node.bring_up()
    assert node.state_label == "unconfigured" and node.calls == []


def test_a_node_that_cannot_start_ends_its_process_only_if_it_is_told_to(make_node):
    assert make_node(mode="c").bring_up()
    assert not make_node(mode="c", exit_on_failed_start=True).bring_up()
    assert make_node(exit_on_failed_start=True).bring_up()


def test_a_node_that_waits_for_the_clock_says_so_once_in_a_while(make_node):
    node, told = make_node(use_sim_time=True), []
    node.get_logger = lambda: SimpleNamespace(warning=lambda text, **_: told.append(text))
    node._look_at_clock()
    assert told == ["no /clock yet, which use_sim_time waits for: nobody publishes it"]


def test_values_reach_configure_complete_and_checked(make_node):
    node = make_node(joints=["a", "b"], joint__b__gain=2, rate_hz=50)
    node.bring_up()
    assert node.parameters.joint["a"].gain == 1.0
    assert node.parameters.joint["b"].gain == 2.0
    assert node.parameters.rate_hz == 50.0


@pytest.mark.parametrize(
    "overrides",
    [
        {"rate_hz": 500.0},
        {"rate_hz": float("nan")},
        {"rate_hz": "fast"},
        {"mode": "c"},
        {"joint__a__gain": -1.0},
        {"rate": 30.0},
        {"joint__b__gain": 1.0},
    ],
)
def test_a_bad_override_leaves_the_node_unconfigured_and_alive(make_node, overrides):
    node = make_node(**overrides)
    node.bring_up()
    assert node.state_label == "unconfigured"
    assert "configure" not in node.calls


def test_a_bad_override_can_be_mended_and_configured_again(make_node):
    node = make_node(rate_hz=500.0)
    node.bring_up()
    assert node.set_parameters([RosParameter("rate_hz", value=60.0)])[0].successful
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.parameters.rate_hz == 60.0


def test_parameters_of_the_robot_in_a_shared_section_are_no_unknown_parameters(make_node):
    assert any(parameter.name == "camera.<camera>.topic" for parameter in RobotParameters.declared())
    node = make_node(cameras=["front"], camera__front__topic="x")
    node.bring_up()
    assert node.state_label == "active"


def test_live_parameters_change_while_active_and_the_node_hears_of_it(make_node):
    node = make_node()
    node.bring_up()
    assert node.set_parameters([RosParameter("rate_hz", value=20.0)])[0].successful
    assert node.changed == {"rate_hz"} and node.parameters.rate_hz == 20.0


def test_setting_everything_to_what_it_is_changes_nothing_as_when_a_dump_is_loaded(make_node):
    node = make_node(joints=["a", "b"])
    node.bring_up()
    before = node.parameters
    # `ros2 param load` makes false of 'off', and rclpy itself has a read-only parameter.
    dump = before.values() | {"rule": False, "start_type_description_service": True}
    results = node.set_parameters([RosParameter(name, value=value) for name, value in dump.items()])
    assert [result.reason for result in results if not result.successful] == []
    assert node.changed == set() and node.parameters == before


def test_a_word_that_yaml_takes_for_a_switch_and_an_integer_for_a_double_are_taken_as_they_were_meant(make_node):
    node = make_node(rule=True)
    node.bring_up()
    assert node.parameters.rule == "on"
    assert node.set_parameters([RosParameter("rate_hz", value=20)])[0].successful
    assert node.parameters.rate_hz == 20.0
    assert not node.set_parameters([RosParameter("rule", value=False)])[0].successful  # not live
    node.bring_down()
    assert node.set_parameters([RosParameter("rule", value=False)])[0].successful
    assert node.get_parameter("rule").value == "off"


@pytest.mark.parametrize("name, value", [("rate_hz", 0.5), ("rate_hz", "x"), ("mode", "b"), ("mode", "c")])
def test_other_changes_are_refused_while_configured_and_change_nothing(make_node, name, value):
    node = make_node()
    node.bring_up()
    before = node.get_parameter(name).value
    result = node.set_parameters([RosParameter(name, value=value)])[0]
    assert not result.successful and name in result.reason
    assert node.get_parameter(name).value == before


def test_several_changes_at_once_are_refused_together_if_one_is_bad(make_node):
    node = make_node()
    node.bring_up()
    changes = [RosParameter("rate_hz", value=20.0), RosParameter("mode", value="b")]
    assert not node.set_parameters_atomically(changes).successful
    assert node.get_parameter("rate_hz").value == 30.0


def test_a_node_tells_what_it_runs_with_to_whoever_comes_later(make_node):
    node = make_node()
    node.bring_up()
    node.set_parameters([RosParameter("rate_hz", value=20.0)])
    listener = rclpy.create_node("listener", context=node.context)
    received, message = wait_for_message(String, listener, "/example/description", qos_profile=LATCHED, time_to_wait=10)
    listener.destroy_node()
    assert received
    assert json.loads(message.data) == {
        "node": "/example",
        "use_sim_time": False,
        "parameters": {"rate_hz": 20.0, "joints": ["a"], "joint.a.gain": 1.0, "mode": "a", "tags": [], "rule": "off",
                       "cores": [-1]},
    }  # fmt: skip


def test_descriptors_tell_unit_and_range(make_node):
    descriptor = make_node().describe_parameter("rate_hz")
    assert descriptor.description == "Rate. [Hz]"
    bounds = descriptor.floating_point_range[0]
    assert (bounds.from_value, bounds.to_value) == (1.0, 100.0)


class Fragile(Example):
    def configure(self):
        raise RuntimeError("a bug")


def test_a_bug_while_configuring_ends_unconfigured_with_everything_cleaned_up(make_node):
    node = make_node(Fragile)
    node.bring_up()
    assert node.state_label == "unconfigured"
    assert "cleanup" in node.calls


class Owner(Example):
    """Creates one of each in both states, and fails where it is told to."""

    fails_in = ""

    def create(self):
        self.create_publisher(String, "p", 1)
        self.create_subscription(String, "s", print, 1)
        self.create_service(Trigger, "v", print)
        self.create_timer(10.0, print)
        self.defer(lambda: self.calls.append("released"))

    def configure(self):
        self.create()
        self.step("configure")

    def activate(self):
        self.create()
        self.step("activate")

    def deactivate(self):
        self.step("deactivate")

    def cleanup(self):
        self.step("cleanup")

    def description(self):
        if self.fails_in == "describe" and "activate" in self.calls:
            raise FileNotFoundError("a dangling link")
        return {}

    def step(self, name):
        self.calls.append(name)
        if self.fails_in == name:
            raise RuntimeError("a bug")

    @property
    def entities(self):
        return [len(list(these)) for these in (self.publishers, self.subscriptions, self.services, self.timers)]


def test_what_a_state_creates_lives_as_long_as_the_state(make_node):
    node = make_node(Owner)
    before = node.entities
    node.bring_up()
    assert node.entities == [count + 2 for count in before]
    node.trigger_deactivate()
    assert node.entities == [count + 1 for count in before]
    node.trigger_cleanup()
    assert node.entities == before
    assert node.calls == ["configure", "activate", "deactivate", "released", "cleanup", "released"]


@pytest.mark.parametrize("place", ["configure", "activate", "describe", "deactivate", "cleanup"])
def test_a_bug_in_any_transition_leaves_nothing_behind_and_the_node_can_be_brought_up_again(make_node, place):
    node = make_node(Owner)
    before = node.entities
    node.fails_in = place
    node.bring_up()
    node.bring_down()
    assert node.state_label == "unconfigured" and node.entities == before
    ends = [call for call in node.calls if call in ("deactivate", "cleanup")]
    assert ends == (["cleanup"] if place == "configure" else ["deactivate", "cleanup"])
    node.fails_in = ""
    node.bring_up()
    assert node.state_label == "active"


@pytest.mark.parametrize("topic", ["a b", "/", "a//b", "1a", "a/", "~", "a-b", "{x}"])
def test_a_topic_that_is_none_is_refused_in_one_sentence_with_the_parameter(topic):
    with pytest.raises(ParameterError) as refusal:
        ControllerParameters.from_values({"joints": ["a"], "command_topic": topic})
    (problem,) = refusal.value.problems
    assert problem.startswith(f"parameter 'command_topic' is '{topic}', expected a topic name")


def test_a_camera_whose_name_is_no_topic_needs_one():
    values = {"joints": ["a"], "cameras": ["left eye"]}
    with pytest.raises(RobotConfigError, match="set 'camera.left eye.topic'"):
        RobotConfig.from_parameters(RobotParameters.from_values(values))
    RobotConfig.from_parameters(RobotParameters.from_values({**values, "camera.left eye.topic": "left_eye"}))


def test_a_request_without_a_transition_is_refused(make_node):
    node = make_node()
    node.bring_up()
    assert not node._service_change_state.callback(ChangeState.Request(), ChangeState.Response()).success
    assert node.state_label == "active"


def test_a_transition_that_the_state_does_not_have_is_refused_and_the_node_lives_on(make_node):
    node = make_node()
    node.bring_up()
    request = ChangeState.Request()
    request.transition.id = request.transition.TRANSITION_ACTIVATE
    assert not node._service_change_state.callback(request, ChangeState.Response()).success
    request.transition.id = request.transition.TRANSITION_DEACTIVATE
    assert node._service_change_state.callback(request, ChangeState.Response()).success
    assert node.state_label == "inactive"
