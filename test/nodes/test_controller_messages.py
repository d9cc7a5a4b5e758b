"""Status and diagnostics of the controller as messages, and the settings that parameters give."""

import math
import platform

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from smolvla_ros.execution import status as core
from smolvla_ros.execution.chunk import Chunk, Rejection
from smolvla_ros.execution.controller import Controller
from smolvla_ros.execution.limits import JointLimits
from smolvla_ros.execution.settings import ControllerSettings
from smolvla_ros.msg import ExecutionStatus
from smolvla_ros.nodes.control_thread import Periodicity
from smolvla_ros.nodes.controller_messages import diagnostics, fill_status
from smolvla_ros.nodes.controller_settings import settings_from
from smolvla_ros.parameters import ParameterError
from smolvla_ros.parameters.controller import ControllerParameters
from smolvla_ros.robot.joint_limits import limits_from

LIMITS = JointLimits(("a", "b"), *(np.full(2, value) for value in (-1.0, 1.0, 3.0, 20.0, 0.5, 0.5, 0.5)))
REGULAR = Periodicity(100.0, 0.5, 1000, 3)


@pytest.fixture
def following():
    node = Controller(ControllerSettings(LIMITS, 0.01))
    node.activate(10**12, 0)
    for _ in range(3):
        node.receive_joint_positions(np.zeros(2), 10**12, 0)
    node.receive_chunk(Chunk(7, 3, 10**12, 40_000_000, np.zeros((10, 2))), 10**12, 0)
    node.step(10**12 + 10_000_000, 10_000_000)
    return node


def values_of(status):
    return {pair.key: pair.value for pair in status.values}


def test_states_and_reasons_have_the_numbers_of_the_message():
    for state in core.ControllerState:
        assert getattr(ExecutionStatus, state.name) == state
    for reason in core.Reason:
        assert getattr(ExecutionStatus, reason.name) == reason


def test_the_status_message_says_what_is_executed(following):
    message = ExecutionStatus()
    fill_status(message, following.status(), missed_ticks=4, dry_run=True)
    assert (message.state, message.reason, message.detail) == (ExecutionStatus.FOLLOWING, ExecutionStatus.NONE, "")
    assert (message.session, message.sequence, message.row, message.remaining_rows) == (7, 3, 0, 9)
    assert (message.last_session, message.last_sequence, message.last_rejection) == (7, 3, "")
    assert message.remaining_s == pytest.approx(0.39)
    assert message.rows_received == message.rows_executed + message.rows_discarded + message.rows_queued == 10
    assert (message.missed_ticks, message.dry_run) == (4, True)


def test_the_status_message_names_the_chunk_refused_last_while_the_one_before_is_executed(following):
    following.reject_chunk(Rejection.NOT_FINITE, 7, 4)
    message = ExecutionStatus()
    fill_status(message, following.status(), missed_ticks=0, dry_run=False)
    assert (message.session, message.sequence) == (7, 3)
    assert (message.last_session, message.last_sequence, message.last_rejection) == (7, 4, "not_finite")


def test_diagnostics_are_ok_while_following(following):
    execution, thread = diagnostics("/controller_node", following.status(), LIMITS, REGULAR, 100.0, 1).status
    assert execution.level == thread.level == DiagnosticStatus.OK
    assert values_of(thread)["missed_ticks"] == "3"


@pytest.mark.parametrize(("publishers", "level"), [(1, DiagnosticStatus.OK), (0, DiagnosticStatus.WARN)])
def test_waiting_for_a_chunk_of_the_policy_that_runs_is_no_trouble(publishers, level):
    controller = Controller(ControllerSettings(LIMITS, 0.01))
    controller.activate(10**12, 10**12)
    for tick in range(1, 6):
        now_ns = 10**12 + tick * 10**7
        controller.receive_joint_positions(np.zeros(len(LIMITS.joints)), now_ns, now_ns)
        controller.step(now_ns, now_ns)
    execution, _ = diagnostics("/controller_node", controller.status(), LIMITS, REGULAR, 100.0, publishers).status
    assert values_of(execution)["reason"] == "waiting_for_chunk" and execution.level == level


def test_diagnostics_warn_of_a_hold_and_count_refusals_by_reason(following):
    following.reject_chunk(Rejection.NOT_FINITE, 7, 4)
    following.stop()
    refused = {"zero_stamp": 4}
    execution, _ = diagnostics("/controller_node", following.status(), LIMITS, REGULAR, 100.0, 1, refused).status
    assert execution.level == DiagnosticStatus.WARN
    assert values_of(execution)["joint_states_rejected_zero_stamp"] == "4"
    assert values_of(execution)["reason"] == "stop_requested"
    assert values_of(execution)["chunks_rejected_not_finite"] == "1"


@pytest.mark.parametrize(
    ("mean_hz", "deviation_hz", "level"),
    [
        (96.0, 1.0, DiagnosticStatus.OK),
        (94.0, 1.0, DiagnosticStatus.WARN),
        (89.0, 1.0, DiagnosticStatus.WARN),
        (100.0, 6.0, DiagnosticStatus.WARN),
        (100.0, 11.0, DiagnosticStatus.WARN),
    ],
)
def test_an_irregular_control_thread_asks_for_a_look_and_is_no_error_as_busy_machines_have_it(
    following, mean_hz, deviation_hz, level
):
    periodicity = Periodicity(mean_hz, deviation_hz, 1000, 0)
    _, thread = diagnostics("/controller_node", following.status(), LIMITS, periodicity, 100.0, 1).status
    assert thread.level == level and thread.hardware_id == platform.node()


def parameters(**changes):
    return ControllerParameters.from_values({"joints": ["a"], **changes})


def test_limits_given_as_parameters_lose_the_margin():
    values = parameters(**{
        "joint.a.min_position": -1.0, "joint.a.max_position": 2.0, "joint.a.position_margin": 0.1,
        "joint.a.max_velocity": 3.0,
    })  # fmt: skip
    limits = limits_from(values, None)
    assert (limits.lower[0], limits.upper[0], limits.velocity[0]) == (-0.9, 1.9, 3.0)


def test_the_tighter_of_description_and_parameters_counts():
    urdf = '<robot><joint name="a" type="revolute"><limit lower="-2" upper="2" velocity="5"/></joint></robot>'
    values = parameters(**{
        "joint.a.min_position": -1.0, "joint.a.max_position": 3.0, "joint.a.max_velocity": 4.0,
    })  # fmt: skip
    limits = limits_from(values, urdf)
    assert (limits.lower[0], limits.upper[0], limits.velocity[0]) == (-1.0, 2.0, 4.0)


def test_a_joint_without_limits_is_named_with_its_remedy():
    with pytest.raises(ParameterError) as refusal:
        limits_from(parameters(), None)
    assert len(refusal.value.problems) == 2
    assert "set 'joint.a.min_position' and 'joint.a.max_position'" in str(refusal.value)


def test_a_continuous_joint_needs_position_limits_as_parameters():
    urdf = '<robot><joint name="a" type="continuous"><limit velocity="5"/></joint></robot>'
    with pytest.raises(ParameterError, match="no position limits"):
        limits_from(parameters(), urdf)


def test_every_live_parameter_reaches_the_settings():
    changed = {"merge_rule": "average", "ease_in_rows": 9, "state_timeout_s": 0.5, "alignment": "stamp"}
    settings = settings_from(parameters(**changed), LIMITS)
    for name, value in changed.items():
        assert getattr(settings, name) == value
    assert math.isclose(settings.period_s, 0.01)
    live = {parameter.name for parameter in ControllerParameters.declared() if parameter.live}
    assert all(hasattr(settings, name) for name in live)


def test_a_commanded_joint_that_another_one_moves_is_refused_with_the_name_of_that_one():
    limit = '<limit lower="-1" upper="1" velocity="1"/>'
    urdf = (f'<robot><joint name="a" type="revolute">{limit}<mimic joint="knuckle"/></joint>'
            f'<joint name="knuckle" type="revolute">{limit}</joint>%s</robot>')  # fmt: skip
    with pytest.raises(ParameterError, match="name 'knuckle' in its place"):
        limits_from(parameters(), urdf % "")
    limits_from(parameters(), urdf % '<ros2_control><joint name="a" mimic="false"/></ros2_control>')


@pytest.mark.parametrize("speed", ["0", "-1", "0.0"])
def test_a_placeholder_of_the_description_gives_way_to_a_parameter_and_is_named_without_one(speed):
    urdf = f'<robot><joint name="a" type="revolute"><limit lower="0" upper="0" velocity="{speed}"/></joint></robot>'
    given = {"joint.a.min_position": -1.0, "joint.a.max_position": 2.0, "joint.a.max_velocity": 3.0}
    limits = limits_from(parameters(**given), urdf)
    assert (limits.lower[0], limits.upper[0], limits.velocity[0]) == (-1.0, 2.0, 3.0)
    with pytest.raises(ParameterError) as refusal:
        limits_from(parameters(), urdf)
    positions, velocity = refusal.value.problems
    assert "the URDF (robot_description) says lower=\"0\" upper=\"0\"" in positions
    assert f'says velocity="{speed}"' in velocity and "set 'joint.a.max_velocity'" in velocity


@pytest.mark.parametrize(("errors", "level", "text"), [("0", DiagnosticStatus.OK, "following"),
    ("2", DiagnosticStatus.WARN, "following; 2 internal errors: see the log")])
def test_what_must_not_happen_is_counted_in_the_diagnostics_and_asks_for_a_look(following, errors, level, text):
    health = {"internal_errors": errors, "requests_refused": "0"}
    execution, _ = diagnostics("/controller_node", following.status(), LIMITS, REGULAR, 100.0, 1, {}, health).status
    assert (execution.level, execution.message) == (level, text)
    assert values_of(execution)["internal_errors"] == errors
